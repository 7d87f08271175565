"""Films as looping GIFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .films import Film
from .style import picture, styled

FRAMES, SECONDS, REST, DPI = 60, 6.0, 1.5, 80.0


@styled()
def animate(film: Film, path: Path, *, identifier: str, frames: int = FRAMES) -> None:
    """Write a film as a GIF. Axes keep the limits of its figure.

    The identifier, of the figure's inputs and of the code that draws it, becomes the file's comment.
    """
    figure, at, (first, last) = film
    figure.canvas.draw()  # fixes the layout and the limits for the frames
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.autoscale(False)
    images = []
    for time in np.linspace(first, last, frames + 1)[1:]:
        at(time)
        images.append(picture(figure, dpi=DPI))
    palette = images[-1].quantize(64)  # one palette for all frames, so that no colour flickers
    pictures = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [int(1000 * SECONDS / frames)] * (frames - 1) + [int(1000 * REST)]
    path.parent.mkdir(parents=True, exist_ok=True)
    timing = {"append_images": pictures[1:], "duration": durations, "loop": 0}
    pictures[0].save(path, save_all=True, **timing, optimize=True, comment=identifier)
