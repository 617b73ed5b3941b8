"""The look of every figure: colours that colour-blind readers tell apart, one typeface, equal bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cinebold.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

INK = "#1f2933"  #: text
MUTED = "#66727f"  #: axes and secondary text
FAINT = "#d5dbe1"  #: grids, empty parts
BLUE, ORANGE = "#0072b2", "#d55e00"  #: the two accents
#: Okabe and Ito (2008), https://jfly.uni-koeln.de/color/, without black and yellow
CYCLE = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
#: One side of zero: from deep violet to pale yellow, none as dark as the sulci or as white as the page.
SEQUENTIAL = ("#4b1d6b", "#8a2981", "#c83e73", "#f2685c", "#fca668", "#fde7a9")
#: Both sides of zero: blue is negative, orange positive, the lighter the further from it.
DIVERGING = (
    *("#c4f1f9", "#6cc7e8", "#2f8fd0", "#2a5cb0", "#4a4a93", "#6a4775"),
    *("#8d3a54", "#b23a35", "#d95f28", "#f39a3a", "#fde08f"),
)

_SETTINGS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "white",  # opaque: the figure is legible on a dark page too
    "savefig.facecolor": "white",
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in the name of a film is a dollar sign
    "svg.hashsalt": "cinebold",
    "path.simplify": True,
}


@contextmanager
def drawing(out_png: str | Path, width_in: float, height_in: float, dpi: int = 130) -> Iterator["Figure"]:
    """A figure that is saved as `out_png` when the block ends without an error.

    The user's matplotlib settings and backend neither matter nor change, and the file holds no date.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    settings = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context(settings | _SETTINGS):
        figure = Figure(figsize=(width_in, height_in), dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()
        pixels = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    with atomic_path(out_png) as temporary:
        pixels.save(temporary, format="PNG", optimize=True)


def colour_map(symmetric: bool) -> "Colormap":
    """The diverging map for quantities with a meaningful zero in the middle, else the sequential one."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = DIVERGING if symmetric else SEQUENTIAL
    return LinearSegmentedColormap.from_list("cinebold", colours, N=256)
