"""The scorecard as tables that can be read, as plain data for templates.

It is read without knowledge of its claims: a verdict that is not known here is shown with its reason, if it has one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..analysis.claims import CYCLES, FAILS, HOLDS, UNDECIDED
from .run_view import OPTIMIZERS

Data = Mapping[str, Any]
Entries = Mapping[str, Data]  # measurements of one claim by run, or by group of runs

RATES = "larger-lr"
"""The claim that is about several runs at once; all others are about one."""

VERDICTS = (HOLDS, UNDECIDED, FAILS)

RELATIONS = {"<=": "at most", ">=": "at least"}


def entries(card: Data, claim: str) -> dict[str, Data]:
    """Return the measurements of a claim by run; those of a claim about learning rates by the names of its runs."""
    if claim == RATES:
        return {", ".join(group["runs"]): group for group in card["learning_rates"]}
    return {run: found[claim] for run, found in card["runs"].items() if claim in found}


def count(found: Entries) -> dict[str, Any]:
    """Return the runs with their values by verdict, the number of those that have one, and the rest with its reasons."""
    known = {verdict: [run for run, entry in found.items() if entry["verdict"] == verdict] for verdict in VERDICTS}
    rest: dict[str, list[str]] = {}
    for run, entry in found.items():
        if entry["verdict"] not in VERDICTS:
            reason = f" ({entry['reason']})" if entry.get("reason") else ""
            rest.setdefault(f"{entry['verdict']}{reason}", []).append(run)
    labelled = {
        verdict: [f"{run} ({number(found[run]['value'])})" for run in names] for verdict, names in known.items()
    }
    return labelled | {
        "scored": sum(map(len, known.values())),
        "rest": [f"{why}: {', '.join(runs)}" for why, runs in rest.items()],
    }


def by_optimizer(runs: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the names of runs by optimizer, from gradient descent to RMSProp, then any others.

    Args:
        runs: descriptions of the runs (`run_description.described`).
    """
    present = dict.fromkeys(run["optimizer"] for run in runs.values())
    known = [name[0].upper() + name[1:] for name in OPTIMIZERS.values()]
    optimizers = dict.fromkeys([*(name for name in known if name in present), *present])
    return {
        optimizer: [name for name, run in runs.items() if run["optimizer"] == optimizer] for optimizer in optimizers
    }


def tables(card: Data, runs: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the scorecard as one table per optimizer: its claims over all of its runs, and each run's own values."""
    listed = {*card["runs"], *card.get("unscored", [])}
    scored = {name: run for name, run in runs.items() if name in listed}
    return [_table(optimizer, names, card, runs) for optimizer, names in by_optimizer(scored).items()]


def _table(optimizer: str, names: Sequence[str], card: Data, runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    measured = {
        claim: {label: entry for label, entry in entries(card, claim).items() if _first(claim, label, entry) in names}
        for claim in card["claims"]
    }
    claims = [claim for claim, found in measured.items() if found]
    single, reasons = [claim for claim in claims if claim != RATES], unscored(card, names)
    return {
        "optimizer": optimizer,
        "anchor": anchor_of(optimizer),
        "rows": [_row(claim, card, measured[claim], anchor_of(optimizer)) for claim in claims],
        "claims": single,
        "unscored": [f"{name} ({reason})" for name, reason in reasons.items()],
        "runs": [
            {
                "name": name,
                "words": f"{runs[name]['problem']}, {runs[name]['settings']}",
                "cells": [_cell(measured[claim].get(name)) for claim in single] if name in card["runs"] else [],
                "unscored": reasons.get(name, ""),
            }
            for name in names
        ],
    }


def _first(claim: str, label: str, entry: Data) -> str:
    return entry["runs"][0] if claim == RATES else label


def _row(claim: str, card: Data, found: Entries, anchor: str) -> dict[str, Any]:
    said, counted = card["claims"][claim], count(found)
    values = {run: entry["value"] for run, entry in found.items() if entry.get("value") is not None}
    pick = max if said["relation"] == "<=" else min
    worst = pick(values, key=lambda run: values[run]) if values else None
    return {
        "claim": claim,
        "anchor": f"{anchor}-{claim}",
        "statement": said["statement"],
        "measured": said["number"],
        "threshold": threshold(card, claim),
        "held": f"{len(counted[HOLDS])} of {counted['scored']}",
        "worst": f"{worst} ({number(values[worst])})" if worst else "",
        "undecided": counted[UNDECIDED],
        "rest": counted["rest"],
        "failing": counted[FAILS],
    }


def _cell(entry: Data | None) -> dict[str, str]:
    """Return a verdict as the name of a class, and a value; both empty where the claim does not apply."""
    if entry is None:
        return {"verdict": "", "value": ""}
    value = entry.get("value")
    return {
        "verdict": entry["verdict"] if entry["verdict"] in VERDICTS else "unscored",
        "value": "–" if value is None else number(value),
    }


def threshold(card: Data, claim: str, entry: Data | None = None) -> str:
    """Return what a claim requires of its number, in words; of a measurement, if one is given that has its own limit."""
    said = card["claims"][claim]
    limit = (entry or {}).get("threshold", said["threshold"])
    return f"{RELATIONS[said['relation']]} {limit:.3g}"


def unscored(card: Data, names: Sequence[str]) -> dict[str, str]:
    """Return why runs are not scored, by run, of those that are not."""
    cycles = card.get("cycles", {})
    return {
        name: f"{cycles[name]} of {CYCLES} cycles" if name in cycles else "not scored"
        for name in card.get("unscored", [])
        if name in names
    }


def number(value: float) -> str:
    """Return a value to three digits."""
    return f"{value:.3g}"


def anchor_of(text: str) -> str:
    """Return a text as the name of a place in a page."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")
