"""The gallery in Markdown: every figure of a profile with its claim and its command, and the scorecard as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..analysis.claims import FAILS, HOLDS, UNDECIDED
from ..config import catalogue  # the settings of a job hold what it uses of it


def gallery(profile: str, figures: Mapping[str, str], card: Mapping[str, Any], *, command: str = "") -> str:
    """Return the page, which belongs beside the figures' files.

    Args:
        figures: slug in the catalogue of each figure, by its own name.
        card: the scorecard.
        command: arguments after `snakemake --cores all <rule>` for this profile.
    """
    return "\n".join([*_head(profile), *_pictures(figures, command), *_scorecard(card), ""])


def _head(profile: str) -> Iterator[str]:
    yield f"# Figures of the {profile} profile"
    yield ""
    yield "Made by the workflow; captions, which say what would falsify each figure, are in `workflow/report/`."


def _pictures(figures: Mapping[str, str], command: str) -> Iterator[str]:
    for category in dict.fromkeys(drawing.category for drawing in catalogue.CATALOGUE.values()):
        slugs = [slug for slug, drawing in catalogue.CATALOGUE.items() if drawing.category == category]
        members = [name for slug in slugs for name, drawn in figures.items() if drawn == slug]
        if not members:
            continue
        yield from ("", f"## {category}", "", "| figure | claim | made alone by |", "| --- | --- | --- |")
        for name in members:
            rule = f"snakemake --cores all figure_{name.replace('-', '_')}{command}"
            yield f'| <img src="{name}.png" alt="{name}" width="480"> | {catalogue.CATALOGUE[figures[name]].claim} | `{rule}` |'


def _scorecard(card: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Scorecard", "")
    yield "The paper's claims, measured in every run to which they apply. Predictions are compared with Gaussian time averages;"
    yield "a verdict that half or twice their width would change is *undecided*."
    yield from ("", '<img src="scorecard.png" alt="claims by runs" width="720">', "")
    yield "| claim | measured | threshold | holds | undecided | fails in |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, claim in card["claims"].items():
        entries = {run: found[name] for run, found in card["runs"].items() if name in found}
        if name == "larger-lr":
            entries = {", ".join(group["runs"]): group for group in card["learning_rates"]}
        if entries:
            yield _row(name, claim, entries)
    yield from _published(card)
    yield from _misses(card)
    for run, step in card["diverged"].items():
        yield from ("", f"{run} diverged at step {step}; what is measured of it is measured up to there.")


def _row(name: str, claim: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> str:
    by = {
        verdict: [run for run, e in entries.items() if e["verdict"] == verdict] for verdict in (HOLDS, UNDECIDED, FAILS)
    }
    failing = "; ".join(f"{run} ({entries[run]['value']:.2g})" for run in by[FAILS])
    return (
        f"| **{name}**: {claim['statement']} | {claim['number']} | {claim['relation']} {claim['threshold']:g} "
        f"| {len(by[HOLDS])} of {len(entries)} | {', '.join(by[UNDECIDED])} | {failing} |"
    )


def _published(card: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        f"| {run} | {claim} | {entry['value']:.3g} | {entry['published']:.3g} |"
        for run, found in card["runs"].items()
        for claim, entry in found.items()
        if "published" in entry
    ]
    if rows:
        yield from (
            "",
            "Beside the published plots:",
            "",
            "| run | claim | measured | published |",
            "| --- | --- | --- | --- |",
        )
        yield from rows


def _misses(card: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "",
        "Where the central flow fails: the time-averaged loss exceeds its prediction by a fifth or more.",
        "",
    )
    if not card["misses"]:
        yield "Nowhere in this profile."
        return
    yield from ("| run | step | excess of the loss | for steps |", "| --- | --- | --- | --- |")
    for run, found in card["misses"].items():
        worst: Sequence[Mapping[str, Any]] = sorted(found, key=lambda miss: -miss["excess"])[:3]
        for miss in worst:
            yield f"| {run} | {miss['step']} | {miss['excess']:.0%} | {miss['length']} |"
