"""The content of the gallery, as plain data for its templates: headline figures, the archive by part, the scorecard."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree

from ..analysis.claims import FAILS, HOLDS, UNDECIDED
from .scorecard_tables import RATES, VERDICTS, Data, anchor_of, count, entries, number, tables, threshold, unscored


def content(settings: Data, card: Data, runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return everything that the gallery shows.

    Args:
        settings: see `config.job_settings.gallery`.
        card: the scorecard.
        runs: descriptions of the runs (`run_description.described`).
    """
    figures = [_figure(figure, settings, card, runs) for figure in settings["figures"]]
    first = {figure["slug"]: figure for figure in reversed(figures)}
    return {
        "profile": settings["profile"],
        "headlines": [{**first[slug], "paragraph": text} for slug, text in settings["headlines"] if slug in first],
        "parts": [
            {"title": title, "anchor": anchor_of(title), "figures": list(members)}
            for title, members in groupby(figures, key=lambda figure: figure["category"])
        ],
        "scorecard": tables(card, runs),
        "published": _published(card),
        "published_values": _beside(card),
        "misses": _misses(card),
        "ends": _ends(card),
    }


# -- figures ---------------------------------------------------------------------------------------------------------


def _figure(figure: Data, settings: Data, card: Data, runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    caption = paragraphs(figure["caption"])
    return {
        **figure,
        "picture": f"{figure['name']}.png",
        "vector": f"{figure['name']}.svg",
        "film": f"{figure['name']}.gif" if figure["moves"] else "",
        "caption": caption[:-1],
        "falsified": caption[-1],
        "runs": in_words(figure["runs"], runs),
        "verdicts": [_verdict(claim, figure["runs"], card, runs) for claim in figure["scored"]],
        "command": f"snakemake --cores all figure_{figure['name'].replace('-', '_')}{settings['command']}",
        "published_values": [row for row in _beside(card) if row["figure"] == figure["name"]],
    }


def paragraphs(caption: str) -> list[str]:
    """Return the paragraphs of a caption in reStructuredText as plain text, without the one that names the runs.

    The last one says what would falsify the figure.
    """
    tree = publish_doctree(caption, settings_overrides={"report_level": 4, "file_insertion_enabled": False})
    texts = (" ".join(paragraph.astext().split()) for paragraph in tree.findall(nodes.paragraph))
    return [text for text in texts if "{{" not in text]


def in_words(names: Sequence[str], runs: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the problems that some runs solve, each with the settings of its runs by name, in their order."""
    problems: dict[str, dict[str, str]] = {}
    for name in names:
        problems.setdefault(runs[name]["problem"], {})[name] = runs[name]["settings"]
    return [{"problem": problem, "runs": members} for problem, members in problems.items()]


def _verdict(claim: str, names: Sequence[str], card: Data, runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what the scorecard says of a claim in the runs that a figure shows."""
    found = {
        label: entry
        for label, entry in entries(card, claim).items()
        if (len(set(names) & set(entry["runs"])) > 1 if claim == RATES else label in names)
    }
    counted, short = count(found), [f"{name} ({reason})" for name, reason in unscored(card, names).items()]
    told = {
        "claim": claim,
        "anchor": f"{anchor_of(runs[names[0]]['optimizer'])}-{claim}" if found else "scorecard",
        "verdict": _common(counted),
    }
    if len(found) == 1 and counted["scored"] and (len(names) == 1 or claim == RATES):  # there is nothing to count
        (entry,) = found.values()
        return told | {
            "text": f"{entry['verdict']} ({number(entry['value'])}; needs {threshold(card, claim, entry)})",
            "others": [],
        }
    if not found and len(names) == 1 and short:
        return told | {"text": f"not scored ({unscored(card, names)[names[0]]})", "others": []}
    others = {"fails in": counted[FAILS], "undecided in": counted[UNDECIDED], "not scored:": short}
    listed = [f"{words} {', '.join(members)}" for words, members in others.items() if members]
    return told | {"text": _held(counted, found or short), "others": [*listed, *counted["rest"]]}


def _held(counted: Data, applies: Collection[str]) -> str:
    """Return in how many runs a claim holds; why there is no such number if it was scored in none."""
    if counted["scored"]:
        return f"holds in {len(counted[HOLDS])} of {counted['scored']}"
    return "not scored" if applies else "does not apply"


def _common(counted: Data) -> str:
    """Return the verdict that all runs have that have one; "mixed" if they differ, "unscored" if there is none."""
    present = [verdict for verdict in VERDICTS if counted[verdict]]
    return present[0] if len(present) == 1 else "mixed" if present else "unscored"


# -- beside the paper, and where the central flow fails ----------------------------------------------------------------


def _published(card: Data) -> list[dict[str, str]]:
    """Return the measurements for which the paper's plots show a number."""
    return [
        {"run": run, "claim": claim, "measured": number(entry["value"]), "published": number(entry["published"])}
        for run, found in card["runs"].items()
        for claim, entry in found.items()
        if "published" in entry
    ]


def _beside(card: Data) -> list[dict[str, str]]:
    """Return the numbers in the paper's plots that figures of the profile show too, by figure, as text."""
    return [
        {"figure": row["figure"], "quantity": row["quantity"]}
        | {key: "–" if row[key] is None else number(row[key]) for key in ("paper", "ours", "ratio")}
        for row in card.get("published_values", [])
    ]


def _misses(card: Data, *, most: int = 3) -> list[dict[str, str]]:
    """Return the largest failures of the central flow in each run."""
    return [
        {"run": run, "step": str(miss["step"]), "excess": f"{miss['excess']:.0%}", "length": str(miss["length"])}
        for run, found in card["misses"].items()
        for miss in sorted(found, key=lambda miss: -miss["excess"])[:most]
    ]


def _ends(card: Data) -> list[str]:
    """Return which runs and central flows ended before their last step."""
    ends = [
        f"{run} diverged at step {step}; what is measured of it is measured up to there."
        for run, step in card["diverged"].items()
    ]
    return ends + [
        f"The central flow of {run} stopped: {stops['central']}"
        for run, stops in card["stopped"].items()
        if "central" in stops
    ]
