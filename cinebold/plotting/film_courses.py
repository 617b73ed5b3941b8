"""Pictures of a film on a time line, and its features under each other on the same time line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cinebold.plotting.film_rows import Rows
from cinebold.plotting.style import CYCLE, INK, drawing
from cinebold.plotting.thumbnails import Thumbnail

_WIDTH_IN, _LEFT_IN, _RIGHT_IN = 9.0, 1.75, 0.15
_PICTURE_IN = 0.49
#: How much room a strip has, in heights of a picture; and that height in pixels.
STRIP_WIDTH = (_WIDTH_IN - _LEFT_IN - _RIGHT_IN) / _PICTURE_IN
PICTURE_HEIGHT = 96
MOST_LINES = 60  #: with more cuts, they are marked in the strip alone


def filmstrip_figure(
    pictures: Sequence[Thumbnail],
    duration_s: float,
    cuts_s: Sequence[float],
    out_png: str | Path,
    *,
    title: str,
) -> Path:
    """Pictures at even times, each in the middle of its part of the film; under them the cuts and the time in s."""
    head, foot = 0.42, 0.72
    height = head + _PICTURE_IN + 0.05 + foot
    width = _WIDTH_IN - _LEFT_IN - _RIGHT_IN
    with drawing(out_png, _WIDTH_IN, height) as figure:
        figure.text(0.012, 1 - 0.5 * head / height, title, fontsize=11, fontweight="bold", va="center")
        share = width / len(pictures)
        for number, one in enumerate(pictures):
            rows, columns = one.picture.shape[:2]
            box = min(share - 0.03, _PICTURE_IN * columns / rows)
            left = _LEFT_IN + (number + 0.5) * share - box / 2
            axes = figure.add_axes(
                (left / _WIDTH_IN, (foot + 0.05) / height, box / _WIDTH_IN, _PICTURE_IN / height)
            )
            axes.imshow(one.picture, interpolation="antialiased")
            axes.set_axis_off()
            axes.set_title(f"{one.time_s:.1f} s", loc="center", fontsize=6.5, fontweight="normal", pad=1.5)
        axes = figure.add_axes(
            (_LEFT_IN / _WIDTH_IN, 0.44 / height, width / _WIDTH_IN, (foot - 0.44) / height)
        )
        axes.vlines(list(cuts_s), 0, 1, color=INK, linewidth=0.8)
        axes.set_xlim(0, duration_s)
        axes.set_ylim(0, 1)
        axes.set_yticks([0.5], [f"{len(cuts_s)} cut{'' if len(cuts_s) == 1 else 's'}"], fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("film time (s)")
    return Path(out_png)


def courses_figure(
    spaces: Mapping[str, Rows],
    duration_s: float,
    cuts_s: Sequence[float],
    out_png: str | Path,
    *,
    title: str,
) -> Path:
    """One panel a feature space, all on the film's time line, every row in standard units.

    Cuts are thin vertical lines, unless there are more than 60.
    """
    heights = [
        0.3 + (0.22 * len(rows.names) if rows.are_curves else 0.155 * len(rows.names))
        for rows in spaces.values()
    ]
    head, foot, gap = 0.42, 0.5, 0.16
    height = head + foot + sum(heights) + gap * (len(spaces) - 1)
    with drawing(out_png, _WIDTH_IN, height) as figure:
        figure.text(0.012, 1 - 0.5 * head / height, title, fontsize=11, fontweight="bold", va="center")
        top = height - head
        for number, ((space, rows), tall) in enumerate(zip(spaces.items(), heights, strict=True)):
            axes = figure.add_axes(
                (
                    _LEFT_IN / _WIDTH_IN,
                    (top - tall) / height,
                    1 - (_LEFT_IN + _RIGHT_IN) / _WIDTH_IN,
                    tall / height,
                )
            )
            top -= tall + gap
            colour = CYCLE[number % len(CYCLE)]
            rows.draw(axes, colour)
            axes.set_ylabel(space, fontsize=9, fontweight="bold", color=colour)
            axes.yaxis.set_label_coords(-(_LEFT_IN - 0.22) / (_WIDTH_IN - _LEFT_IN - _RIGHT_IN), 0.5)
            axes.set_xlim(0, duration_s)
            last = number == len(spaces) - 1
            axes.tick_params(labelbottom=last, bottom=last)
            axes.spines["left"].set_visible(False)
            axes.spines["bottom"].set_visible(last)
            if len(cuts_s) <= MOST_LINES:
                for cut_s in cuts_s:
                    axes.axvline(cut_s, color=INK, linewidth=0.5, alpha=0.4)
            if last:
                axes.set_xlabel("film time (s)")
    return Path(out_png)
