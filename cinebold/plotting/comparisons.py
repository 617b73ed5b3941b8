"""Feature spaces beside each other, layers in a row, one model against another."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cinebold.plotting.style import BLUE, CYCLE, FAINT, INK, MUTED, ORANGE, drawing

_HEIGHT_IN = 0.24  #: of a bar


def space_bars(
    means: Mapping[str, Mapping[str, float]],
    out_png: str | Path,
    *,
    title: str,
    xlabel: str,
) -> Path:
    """The mean of one or more measures of each feature space, as horizontal bars.

    Parameters
    ----------
    means : measure -> feature space -> value; NaN has no bar
    """
    spaces = list(next(iter(means.values()), {}))
    slot = len(means) + 0.6
    height = 0.95 + _HEIGHT_IN * slot * len(spaces) + 0.1
    with drawing(out_png, 6.2, height) as figure:
        axes = figure.add_axes((0.24, 0.56 / height, 0.72, (height - 1.0) / height))
        figure.text(0.02, 1 - 0.22 / height, title, fontsize=10, fontweight="bold", va="center")
        for index, (measure, colour) in enumerate(zip(means, CYCLE, strict=False)):
            places = [slot * k + index for k in range(len(spaces))]
            values = [means[measure].get(space, np.nan) for space in spaces]
            axes.barh(places, np.nan_to_num(values), height=0.86, color=colour, label=measure)
        centre = (len(means) - 1) / 2
        axes.set_yticks([slot * k + centre for k in range(len(spaces))], spaces, fontsize=8.5)
        axes.set_ylim(slot * len(spaces) - 0.6, -0.9)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.08)
        axes.set_xlabel(xlabel)
        if len(means) > 1:
            figure.legend(
                loc="upper right", fontsize=8, ncols=len(means), handlelength=1.0, columnspacing=1.0,
                bbox_to_anchor=(0.985, 1.0),
            )  # fmt: skip
    return Path(out_png)


def space_distributions(
    values: Mapping[str, np.ndarray], out_png: str | Path, *, title: str, xlabel: str
) -> Path:
    """How a quantity is distributed over voxels in each feature space: median, middle half, middle nine tenths."""
    spaces = list(values)
    height = 1.05 + 0.42 * len(spaces)
    with drawing(out_png, 6.2, height) as figure:
        axes = figure.add_axes((0.24, 0.56 / height, 0.72, (height - 1.0) / height))
        figure.text(0.02, 1 - 0.22 / height, title, fontsize=10, fontweight="bold", va="center")
        for place, space in enumerate(spaces):
            finite = np.asarray(values[space], dtype=float)
            finite = finite[np.isfinite(finite)]
            if not finite.size:
                axes.text(
                    0.5, place, "no voxel has a value", color=MUTED, fontsize=8, va="center", ha="center"
                )
                continue
            p5, p25, p50, p75, p95 = np.percentile(finite, (5, 25, 50, 75, 95))
            axes.plot([p5, p95], [place, place], color=BLUE, linewidth=1.2)
            axes.barh(place, p75 - p25, left=p25, height=0.5, color="#9cc7e2")
            axes.plot([p50, p50], [place - 0.25, place + 0.25], color=ORANGE, linewidth=2.0)
        axes.set_yticks(range(len(spaces)), spaces, fontsize=8.5)
        axes.set_ylim(len(spaces) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(xlabel)
    return Path(out_png)


def layer_profile(
    scores: Mapping[str, float], counts: Sequence[int], out_png: str | Path, *, title: str
) -> Path:
    """Mean held-out r of each layer's own model, and in how many voxels the layer is the best one.

    Parameters
    ----------
    scores : layer -> mean r, in the order of the layers
    counts : voxels whose best layer it is
    """
    names, places = list(scores), np.arange(1, len(scores) + 1)
    with drawing(out_png, 6.2, 3.1) as figure:
        axes = figure.add_axes((0.125, 0.25, 0.74, 0.62))
        axes.set_title(title, pad=9)
        axes.plot(places, list(scores.values()), color=BLUE, marker="o", markersize=5, linewidth=1.8)
        axes.set_ylabel("mean held-out r", color=BLUE)
        known = np.nan_to_num(list(scores.values()))
        axes.set_ylim(min(0.0, float(known.min())), 1.15 * float(known.max()) if known.max() > 0 else None)
        long = max(map(len, names)) > 6
        axes.set_xticks(places, names, rotation=30 * long, ha="right" if long else "center", fontsize=8)
        axes.set_xlim(0.4, len(names) + 0.6)
        other = axes.twinx()
        other.bar(places, counts, width=0.72, color=ORANGE, alpha=0.35, zorder=0)
        other.set_ylim(0, max(1.0, 1.1 * max(counts)))
        other.set_ylabel("voxels whose best layer it is", color=ORANGE)
        other.spines["right"].set_visible(True)
        axes.set_zorder(other.get_zorder() + 1)
        axes.patch.set_visible(False)
    return Path(out_png)


def score_scatter(
    x: np.ndarray, y: np.ndarray, out_png: str | Path, *, title: str, xlabel: str, ylabel: str
) -> Path:
    """One score against another over voxels, as counts in hexagons; the line is where both are equal."""
    from matplotlib.ticker import FuncFormatter

    x, y = np.ravel(x), np.ravel(y)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    with drawing(out_png, 4.7, 4.1) as figure:
        axes = figure.add_axes((0.155, 0.135, 0.66, 0.77))
        axes.set_title(title, pad=9)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if not x.size:
            axes.text(0.5, 0.5, "no voxel has both", transform=axes.transAxes, ha="center", color=MUTED)
            return Path(out_png)
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        margin = 0.03 * (high - low or 1.0)
        extent = (low - margin, high + margin) * 2
        hexagons = axes.hexbin(
            x, y, gridsize=45, bins="log", mincnt=1, extent=extent, cmap="viridis", linewidths=0.1
        )
        axes.plot(extent[:2], extent[:2], color=INK, linewidth=0.9)
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[:2])
        bar = figure.add_axes((0.845, 0.135, 0.03, 0.77))
        figure.colorbar(hexagons, cax=bar)
        bar.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        bar.set_ylabel("number of voxels")
        bar.tick_params(labelsize=8, length=2.5)
    return Path(out_png)


def validation_curves(curves: Mapping[str, Sequence[float]], out_png: str | Path, *, title: str) -> Path:
    """The validation score after each epoch, one line a training set; a dot where training stopped to count.

    Parameters
    ----------
    curves : name of the training set -> score after 0, 1, 2, ... epochs
    """
    with drawing(out_png, 6.2, 3.1) as figure:
        axes = figure.add_axes((0.135, 0.175, 0.835, 0.7))
        axes.set_title(title, pad=9)
        for (name, curve), colour in zip(
            curves.items(), CYCLE * (1 + len(curves) // len(CYCLE)), strict=False
        ):
            values = np.asarray(curve, dtype=float)
            if not values.size:
                continue
            axes.plot(values, color=colour, linewidth=1.4, label=name)
            best = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
            axes.plot(best, values[best], "o", color=colour, markersize=5)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("epochs")
        axes.set_ylabel("R² on validation runs")
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        if len(curves) <= 8:
            axes.legend(loc="lower right", fontsize=7.5)
    return Path(out_png)
