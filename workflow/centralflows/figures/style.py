"""The style of all figures, with the same colour for the same process everywhere.

Discrete runs are solid and blue, with faint raw curves under thick Gaussian time averages of the same hue; central
flows are dashed black; stable and ablated flows are dashed red; the edge of stability is dotted. Where runs at several
learning rates are compared, the smallest is blue, the next orange, then green, and the central flow of each is dashed in
a darker shade. A curve that ends before the others has a cross at its end. The colours are distinct for colour-blind
readers.

Figures are drawn and saved within `styled()`, and pyplot does not know of them: nothing of the user's matplotlib
changes, and none of its settings changes a figure.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PALETTE = to_rgba_array([
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
])[:, :3].tolist()  # fmt: skip
"""Colours and sizes are seaborn's for papers. They are written out, as seaborn takes longer to load than to draw with."""
DISCRETE, STABLE, CENTRAL = PALETTE[0], "#c4281f", "black"
MODES = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[4], PALETTE[5], PALETTE[9], PALETTE[8], PALETTE[6])
"""Colours of eigenvalues, learning rates, units and weights, in their order."""

_RED = {"color": STABLE, "lw": 1.6, "ls": (0, (4, 2))}
LINES = {
    "discrete": {"color": DISCRETE, "lw": 1.3},
    "stable": _RED,
    "ablated": _RED,
    "stationary-ablated": _RED,
    "central": {"color": CENTRAL, "lw": 1.6, "ls": (0, (3, 1.5))},
    "stationary": {"color": CENTRAL, "lw": 1.6, "ls": (0, (3, 1.5))},
    "flow": {"color": CENTRAL, "lw": 1.6},
    "raw": {"color": DISCRETE, "lw": 0.9, "alpha": 0.4},
    "average": {"color": DISCRETE, "lw": 3.0, "alpha": 0.9},
    "edge": {"color": "black", "lw": 1.0, "ls": (0, (1, 1.5)), "zorder": 1},
}

PANEL = (3.3, 2.7)  # inches
LONGEST = 1600  # pixels of the longer side of a PNG
FEW = 80  # steps; a curve of fewer has a mark at each
DENSE = 20_000  # number of points in a panel above which its lines are pixels within the SVG

_INK = ".15"
_RC = {
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "axes.axisbelow": True,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": ".8",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.8,
    "lines.solid_capstyle": "round",
    "xtick.major.size": 4.8,
    "ytick.major.size": 4.8,
    "xtick.minor.size": 3.2,
    "ytick.minor.size": 3.2,
    "xtick.major.width": 1.0,
    "ytick.major.width": 1.0,
    "xtick.minor.width": 0.8,
    "ytick.minor.width": 0.8,
    "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9.6,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "svg.fonttype": "path",  # the picture does not depend on the installed fonts
    "svg.hashsalt": "centralflows",
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "path.simplify_threshold": 0.2,
}
_SETTINGS = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"} | _RC


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style in a block or in a decorated function, whatever matplotlib's settings are, and restore them."""
    with matplotlib.rc_context(_SETTINGS):
        yield


class Picture(Figure):
    """A figure that notebooks display.

    Attributes:
        ends: what its curves that end early are, each with the reason.
    """

    def __init__(self, **options: object):
        super().__init__(**options)
        FigureCanvasAgg(self)
        self.ends: dict[str, str] = {}

    def _repr_png_(self) -> bytes:
        with styled():
            return pixels(self, dpi=self.dpi)


class Panel(Axes):
    """Axes that notebooks display, with all of their figure.

    Attributes:
        over_time: whether the x axis is time.
    """

    over_time = False

    def _repr_png_(self) -> bytes:
        return Picture._repr_png_(self.figure)


def panels(
    columns: int, rows: int = 1, *, width: float = PANEL[0], height: float = PANEL[1], **grid: object
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of panels, and its axes row by row."""
    figure = Picture(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, subplot_kw={"axes_class": Panel}, **grid)
    return figure, list(axes.flat)


def finish(
    axes: Axes, *, title: str, ylabel: str = "", xlabel: str = "step", legend: str | None = None, ncols: int = 1
) -> None:
    """Set title, labels and frame of a panel whose x axis is time."""
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.margins(x=0)
    axes.over_time = True
    if sum(len(line.get_xdata()) for line in axes.lines) > DENSE:
        for line in axes.lines:
            line.set_rasterized(True)
    if legend:
        axes.legend(loc=legend, handlelength=2.2, ncols=ncols, columnspacing=1.2)
    axes.spines[["top", "right"]].set_visible(False)


def darker(color: Any) -> tuple[float, ...]:
    """Return the shade in which the flow of a run of this colour is drawn."""
    return tuple(0.55 * part for part in to_rgb(color))


def unify(figure: Figure) -> None:
    """Give all panels over time the same range, and mark the steps of curves of fewer than 80."""
    over_time = [axes for axes in figure.axes if getattr(axes, "over_time", False) and np.isfinite(axes.dataLim.x0)]
    if over_time:
        first, last = min(a.dataLim.x0 for a in over_time), max(a.dataLim.x1 for a in over_time)
        for axes in over_time:
            axes.set_xlim(first, last if last > first else first + 1)
            for line in axes.lines:
                solid = line.get_linestyle() == "-" and line.get_marker() == "None"
                if solid and 2 < len(line.get_xdata()) < FEW:
                    line.set(marker=".", markersize=3)


def legend_below(axes: Axes, *, ncols: int = 2) -> None:
    """Draw the legend of a panel below it, where it cannot cover a curve."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=ncols, handlelength=1.6, columnspacing=1.0)


def shared_legend(figure: Figure, *axes: Axes) -> None:
    """Draw one legend of the distinct lines of some panels below all panels, where it cannot cover a curve."""
    lines = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    rows = -(-len(lines) // max(1, int(figure.get_figwidth() / 2.0)))
    columns = -(-len(lines) // rows)  # rows of nearly equal length
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, handlelength=2.2)


def note(figure: Figure, text: str) -> None:
    """Write a remark above a figure, above those that it already has."""
    before = figure.get_suptitle()
    figure.suptitle(f"{text}\n{before}" if before else text, fontsize=9, color="#555555", x=0.005, ha="left")


def settle(figure: Figure) -> None:
    """Arrange a finished figure for good: repeated layouts differ in their last digits, and saved files with them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


@styled()
def save(figure: Figure, path: Path | str, *, identifier: str | None = None) -> None:
    """Write a figure as SVG or PNG (of 256 colours, a third of the size); the same figure has the same bytes.

    Args:
        path: of the file, which ends in ".svg" or ".png".
        identifier: of its inputs and of the code that draws it, for the file's metadata.

    Raises:
        ValueError: the file has another ending.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path}: figures are saved as .svg or .png; figure.savefig(...) writes other formats")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        dpi = min(float(_RC["savefig.dpi"]), LONGEST / max(figure.get_size_inches()))
        texts = PngInfo()
        if identifier:
            texts.add_text("Identifier", identifier)
        picture(figure, dpi=dpi).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True, pnginfo=texts)
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Identifier": identifier})
    # Trailing blanks differ between platforms' path writers.
    path.write_bytes(re.sub(rb"[ \t]+\n", b"\n", buffer.getvalue()))


def picture(figure: Figure, *, dpi: float) -> Image.Image:
    """Return the figure as pixels."""
    return Image.open(io.BytesIO(pixels(figure, dpi=dpi))).convert("RGB")


def pixels(figure: Figure, *, dpi: float) -> bytes:
    """Return the figure as a PNG of all colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
