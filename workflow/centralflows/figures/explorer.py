"""The explorer: one HTML page of all runs of a profile, which needs no server and no network.

The plots are Bokeh's. Its script adds 1.3 MB to a page, that of plotly 4.7 MB; linked cursors (one `Span` in several
panels) and linked ranges are part of its models; and its document is plain JSON, whose only arbitrary parts are the
models' numbers, which are counted anew here. So equal runs give equal bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bokeh.document import Document
from bokeh.models import ColumnDataSource, CrosshairTool, CustomJS, Range1d, Span
from bokeh.plotting import figure
from bokeh.resources import Resources
from matplotlib.colors import to_hex

from ..analysis.crossings import EDGE
from .explorer_data import packed
from .run_description import described
from .run_view import Run
from .scorecard_tables import by_optimizer, entries, number, threshold, unscored
from .style import CENTRAL, DISCRETE, MODES, STABLE
from .templating import rendered

PANELS = {
    "loss": "training loss",
    "spectrum": "leading effective eigenvalues",
    "variance": "variance along eigenvectors of Σ [loss]",
    "distance": "distance to the optimizer [weight]",
}
"""Titles of the panels by name."""

COLUMNS = ("xs", "ys", "color", "width", "dash", "alpha")
"""What a panel's source holds of each curve."""

STYLES: dict[str, dict[str, Any]] = {
    "raw": {"color": to_hex(DISCRETE), "width": 1, "dash": [], "alpha": 0.45},
    "average": {"width": 3.5, "dash": [], "alpha": 0.5},
    "mode": {"width": 1.5, "dash": [], "alpha": 0.85},
    "predicted": {"width": 1.8, "dash": [5, 3], "alpha": 1},
    "central": {"color": to_hex(CENTRAL), "width": 1.8, "dash": [5, 3], "alpha": 1},
    "stable": {"color": to_hex(STABLE), "width": 1.8, "dash": [8, 4], "alpha": 1},
    "ablated": {"color": to_hex(STABLE), "width": 1.8, "dash": [8, 3, 2, 3], "alpha": 1},
    "stationary": {"color": to_hex(CENTRAL), "width": 1.8, "dash": [2, 2], "alpha": 1},
    "stationary-ablated": {"color": to_hex(STABLE), "width": 1.8, "dash": [2, 2], "alpha": 1},
}
"""Lines by style; those without a colour have that of their mode, and all have that of their run if several are shown."""


NOTHING: dict[str, Any] = {"claims": {}, "runs": {}, "learning_rates": []}
"""A scorecard on which nothing was measured."""


def explorer(
    title: str,
    runs: Mapping[str, Run],
    *,
    widths: Mapping[str, float] | None = None,
    card: Mapping[str, Any] = NOTHING,
    gallery: str = "",
) -> str:
    """Return the page, in HTML.

    Args:
        title: of what the runs are.
        runs: trajectories of each run by process, with the discrete run, as `Experiment.run` returns or `open_run` opens
            them.
        widths: of the time averages of each run [steps]; 12 by default.
        card: the scorecard of the runs.
        gallery: address of a page that it links to.
    """
    widths = dict.fromkeys(runs, 12.0) if widths is None else widths
    shown = {name: {**described(run), **packed(run, widths[name])} for name, run in runs.items()}
    data = {
        "runs": shown,
        "styles": STYLES,
        "colors": [to_hex(color) for color in MODES],
        "claims": {claim: said["statement"] for claim, said in card["claims"].items()},
        "card": {name: scored(card, name) for name in runs},
        "unscored": unscored(card, list(runs)),
        "bokeh": document(),
    }
    return rendered(
        "explorer.html",
        title=title,
        gallery=gallery,
        groups=by_optimizer(shown),
        runs=shown,
        panels=PANELS,
        library="\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw),
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def scored(card: Mapping[str, Any], run: str) -> dict[str, list[str]]:
    """Return verdict, value and threshold of each claim of the scorecard that applies to a run."""
    found = {}
    for claim in card["claims"]:
        for label, entry in entries(card, claim).items():
            if label == run or run in entry.get("runs", ()):
                value = entry.get("value")
                found[claim] = [entry["verdict"], "" if value is None else number(value), threshold(card, claim, entry)]
    return found


def document() -> dict[str, Any]:
    """Return the empty panels: Bokeh's document, and the number of the root of each panel by its name."""
    steps = Range1d(0, 1, name="steps")
    # The page moves the cursor's values; the span is one model in all panels, so the cursor is in all of them.
    cursor = Span(dimension="height", line_color="#555555", line_width=1, line_dash=[2, 2], name="cursor")
    cursor.js_on_change("location", CustomJS(code="window.explorer.readout(cb_obj.location)"))
    roots = {name: _panel(name, title, steps, cursor) for name, title in PANELS.items()}
    held = Document(title="explorer")
    for root in roots.values():
        held.add_root(root)
    text = json.dumps(
        {"document": held.to_json(deferred=False), "roots": {name: root.id for name, root in roots.items()}}
    )
    return json.loads(renumbered(text))


def renumbered(text: str) -> str:
    """Return the JSON of models with their numbers counted from 1 in order of appearance.

    Bokeh counts the models of a process, so a second page of one process would differ from the first.
    """
    known: dict[str, str] = {}
    return re.sub(r'"p\d+"', lambda found: known.setdefault(found[0], f'"p{len(known) + 1}"'), text)


def _panel(name: str, title: str, steps: Range1d, cursor: Span) -> figure:
    panel = figure(
        name=name,
        title=title,
        height=300,
        sizing_mode="stretch_width",
        x_range=steps,
        x_axis_label="step",
        tools="xpan,box_zoom,xwheel_zoom,reset",
        active_drag="box_zoom",
        active_scroll=None,
        toolbar_location="above",
    )
    source = ColumnDataSource({column: [] for column in COLUMNS}, name=f"{name} curves")
    panel.multi_line(
        "xs", "ys", source=source, line_color="color", line_width="width", line_dash="dash", line_alpha="alpha"
    )
    if name == "spectrum":
        panel.add_layout(Span(location=EDGE, dimension="width", line_color="black", line_dash=[2, 3], line_width=1))
    panel.add_tools(CrosshairTool(dimensions="height", overlay=cursor))
    panel.toolbar.logo = None
    panel.title.text_font_size, panel.title.text_font_style = "13px", "normal"
    panel.outline_line_color = None
    panel.grid.grid_line_color = "#eeeeee"
    return panel
