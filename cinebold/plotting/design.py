"""What a run's design looks like: films, feature time courses, volumes that were left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cinebold.plotting.style import CYCLE, FAINT, INK, MUTED, drawing

AS_LINES = 8  #: spaces with more columns than this are drawn as an image
_INCHES_A_LETTER = 0.066  #: at 7.5 points, for names without many wide letters
_LEAST_LETTERS = 5  #: of a shortened name


def design_figure(
    time_s: np.ndarray,
    columns: Mapping[str, np.ndarray],
    has_film: np.ndarray,
    films: Sequence[tuple[str, float, float]],
    out_png: str | Path,
    *,
    title: str,
    names: Mapping[str, Sequence[str]] | None = None,
    keep: np.ndarray | None = None,
    time_label: str = "time in the run (s)",
) -> Path:
    """Films on a time line, under it one panel a feature space with its columns in standard units.

    Parameters
    ----------
    time_s : (n_volumes,) time of each volume in seconds
    columns : feature space -> (n_volumes, k); up to 8 columns are drawn as curves, more as an image
    has_film : (n_volumes,) bool; the columns are standardised over, and drawn at, these volumes only
    films : (label, start, end) of each showing, in seconds
    names : feature space -> k labels
    keep : (n_volumes,) bool; volumes that are left out are shaded
    """
    time_s = np.asarray(time_s, dtype=float)
    has_film = np.asarray(has_film, dtype=bool)
    step = float(np.median(np.diff(time_s))) if time_s.size > 1 else 1.0
    left_out = np.zeros(time_s.size, dtype=bool) if keep is None else ~np.asarray(keep, dtype=bool)
    heights = [0.24] + [0.35 + 0.22 * min(np.shape(values)[1], AS_LINES) for values in columns.values()]
    gap, head, foot, left, right, width = 0.16, 0.42, 0.5, 1.45, 0.15, 9.0
    height = head + foot + sum(heights) + gap * len(columns)
    with drawing(out_png, width, height) as figure:
        figure.text(0.012, 1 - 0.5 * head / height, title, fontsize=11, fontweight="bold", va="center")
        top = height - head
        panels = []
        for panel_height in heights:
            box = (
                left / width,
                (top - panel_height) / height,
                1 - (left + right) / width,
                panel_height / height,
            )
            panels.append(figure.add_axes(box))
            top -= panel_height + gap
        span_s = time_s[-1] - time_s[0] + step
        _draw_films(panels[0], films, (width - left - right) / span_s)
        for axes, colour, (space, values) in zip(panels[1:], CYCLE * 8, columns.items(), strict=False):
            labels = list((names or {}).get(space, ())) or [str(i + 1) for i in range(np.shape(values)[1])]
            draw_space(
                axes, time_s, standardised(np.asarray(values, dtype=float), has_film), labels, colour, step
            )
            axes.set_ylabel(space, fontsize=9, fontweight="bold", color=colour)
            axes.yaxis.set_label_coords(-1.3 / (width - left - right), 0.5)
        for axes in panels:
            axes.set_xlim(time_s[0] - step / 2, time_s[-1] + step / 2)
            axes.tick_params(labelbottom=axes is panels[-1], bottom=axes is panels[-1])
            for spine in ("left", *(("bottom",) if axes is not panels[-1] else ())):
                axes.spines[spine].set_visible(False)
            for start, end in stretches(left_out):
                axes.axvspan(
                    time_s[start] - step / 2, time_s[end - 1] + step / 2, color=INK, alpha=0.13, linewidth=0
                )
        panels[-1].set_xlabel(time_label + (", shaded: volumes left out" if left_out.any() else ""))
    return Path(out_png)


def _draw_films(axes, films: Sequence[tuple[str, float, float]], inches_per_s: float) -> None:
    """A bar a showing; its name where it has room, shortened where that helps."""
    unnamed = 0
    for i, (label, start, end) in enumerate(films):
        axes.axvspan(start, end, color=(MUTED, "#8f9aa5")[i % 2], linewidth=0)
        text = _fitting(label, (end - start) * inches_per_s)
        unnamed += not text
        axes.text(
            (start + end) / 2,
            0.5,
            text,
            transform=axes.get_xaxis_transform(),
            color="white",
            fontsize=7.5,
            ha="center",
            va="center",
            clip_on=True,
        )
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    title = f"{len(films)} films" if unnamed else "films"
    axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8, color=MUTED)


def _fitting(name: str, inches: float) -> str:
    """As much of a film's name as a bar has room for; nothing where that would say nothing.

    >>> _fitting("clips/film-01.mp4", 2.0), _fitting("clips/film-01.mp4", 0.5), _fitting("clips/film-01.mp4", 0.1)
    ('clips/film-01.mp4', 'film-01', '')
    """
    room = int(inches / _INCHES_A_LETTER)
    stem = PurePosixPath(name).stem
    for text in (name, PurePosixPath(name).name, stem):
        if len(text) <= room:
            return text
    return f"{stem[: room - 1]}…" if room >= _LEAST_LETTERS else ""


def draw_space(axes, time_s, values, labels, colour: str, step: float) -> None:
    """Columns in standard units: curves under each other, or an image where they are many.

    Parameters
    ----------
    time_s, values : (n_times,), (n_times, n_columns)
    step : seconds between two times
    """
    n_columns = values.shape[1]
    if n_columns > AS_LINES:
        extent = (time_s[0] - step / 2, time_s[-1] + step / 2, n_columns - 0.5, -0.5)
        axes.imshow(
            values.T, aspect="auto", cmap="PuOr_r", vmin=-3, vmax=3, extent=extent, interpolation="nearest"
        )
        axes.set_yticks([0, n_columns - 1], [labels[0], labels[-1]], fontsize=7.5)
        return
    spacing = 5.0
    for i in range(n_columns):
        base = -i * spacing
        axes.axhline(base, color=FAINT, linewidth=0.6)
        axes.plot(time_s, np.clip(values[:, i], -spacing, spacing) + base, color=colour, linewidth=1.0)
    axes.set_yticks([-i * spacing for i in range(n_columns)], labels[:n_columns], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-(n_columns - 1) * spacing - 0.75 * spacing, 0.75 * spacing)


def standardised(values: np.ndarray, has_film: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance over the volumes with a film; NaN, which is not drawn, elsewhere."""
    result = np.full(values.shape, np.nan)
    if has_film.any():
        shown = values[has_film]
        spread = shown.std(axis=0)
        result[has_film] = (shown - shown.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return result


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and one-past-last index of every run of True.

    >>> stretches(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, dtype=int), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
