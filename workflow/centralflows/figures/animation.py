"""Figures that grow with time, as looping GIFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .style import picture, styled

FRAMES, SECONDS, REST, DPI = 60, 6.0, 1.5, 80.0


@styled()
def animate(figure: Figure, path: Path, *, identifier: str, frames: int = FRAMES) -> None:
    """Write a GIF in which every curve of a finished figure grows from the first step to the last.

    The x axis of all panels is time, and axes keep the limits of the whole figure. The identifier, of the figure's
    inputs and of the code that draws it, becomes the file's comment.
    """
    curves = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) > 2]
    whole = [np.array(line.get_data(), dtype=float) for line in curves]
    figure.canvas.draw()  # fixes the layout and the limits for the frames
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.autoscale(False)
    first, last = min(x.min() for x, _ in whole), max(x.max() for x, _ in whole)
    images = []
    for time in np.linspace(first, last, frames + 1)[1:]:
        for line, (x, y) in zip(curves, whole, strict=True):
            line.set_data(x[x <= time], y[x <= time])
        images.append(picture(figure, dpi=DPI))
    palette = images[-1].quantize(64)  # one palette for all frames, so that no colour flickers
    pictures = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [int(1000 * SECONDS / frames)] * (frames - 1) + [int(1000 * REST)]
    path.parent.mkdir(parents=True, exist_ok=True)
    timing = {"append_images": pictures[1:], "duration": durations, "loop": 0}
    pictures[0].save(path, save_all=True, **timing, optimize=True, comment=identifier)
