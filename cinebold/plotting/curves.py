"""Histograms and curves: scores, chosen alphas, the profile over delays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.plotting.style import BLUE, CYCLE, FAINT, INK, MUTED, ORANGE, drawing


def score_histogram(
    values: np.ndarray,
    out_png: str | Path,
    *,
    title: str,
    xlabel: str,
    significant: np.ndarray | None = None,
    significant_label: str = "significant",
    null_values: np.ndarray | None = None,
    noun: str = "voxels",
) -> Path:
    """How a score is distributed over voxels, on a logarithmic count axis so that the tail can be seen.

    Parameters
    ----------
    values : (n_targets,) scores; NaN is left out
    significant : (n_targets,) bool, drawn in the second colour on top of all
    null_values : scores that chance alone gives, any number; drawn as a line scaled to the number of voxels
    noun : what the targets are called
    """
    values = np.asarray(values, dtype=float).ravel()
    finite = np.isfinite(values)
    shown = values[finite]
    with drawing(out_png, 6.2, 3.1) as figure:
        axes = figure.add_axes((0.135, 0.175, 0.835, 0.7))
        axes.set_title(title, pad=9)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(f"number of {noun}")
        if not shown.size:
            _say(axes, f"none of the {noun} has a value")
            return Path(out_png)
        low, high = float(shown.min()), float(shown.max())
        if null_values is not None and np.size(null_values):
            low, high = min(low, float(np.min(null_values))), max(high, float(np.max(null_values)))
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, 61)
        counts, _ = np.histogram(shown, edges)
        axes.stairs(
            counts, edges, fill=True, color="#b9c4ce", label=f"all {shown.size:,} {noun}", baseline=0.5
        )
        if significant is not None and np.any(significant):
            chosen = values[finite & np.asarray(significant, dtype=bool).ravel()]
            axes.stairs(
                np.histogram(chosen, edges)[0],
                edges,
                fill=True,
                color=ORANGE,
                baseline=0.5,
                label=f"{chosen.size:,} {significant_label}",
            )
        if null_values is not None and np.size(null_values):
            expected = np.histogram(null_values, edges)[0] * (shown.size / np.size(null_values))
            axes.stairs(expected, edges, color=INK, linewidth=1.1, baseline=None, label="expected by chance")
        axes.set_yscale("log")
        axes.set_ylim(0.7, counts.max() * 4)
        axes.set_xlim(edges[0], edges[-1])
        axes.axvline(0, color=INK, linewidth=0.8)
        median = float(np.median(shown))
        axes.axvline(median, color=BLUE, linewidth=1.2, linestyle=(0, (4, 2)), label=f"median {median:.3f}")
        _plain_counts(axes)
        axes.legend(loc="upper right", fontsize=8, handlelength=1.4)
    return Path(out_png)


def alpha_histogram(
    alphas: np.ndarray,
    grid: Sequence[float],
    out_png: str | Path,
    *,
    title: str = "Chosen regularisation",
    unit: str = "unit-free",
    noun: str = "voxels",
) -> Path:
    """How often each alpha of the grid was chosen; the two ends of the grid are hatched in the second colour.

    Parameters
    ----------
    alphas : (n_targets,) chosen values; NaN is left out
    grid : the values to choose from; empty: the distinct values of `alphas`
    unit : what alphas are in
    noun : what the targets are called
    """
    alphas = np.asarray(alphas, dtype=float).ravel()
    alphas = alphas[np.isfinite(alphas)]
    steps = np.unique(np.asarray(grid, dtype=float)) if len(grid) else np.unique(alphas)
    with drawing(out_png, 6.2, 3.1) as figure:
        axes = figure.add_axes((0.135, 0.19, 0.835, 0.685))
        axes.set_title(title, pad=9)
        axes.set_ylabel(f"share of {noun} (%)")
        axes.set_xlabel(f"alpha ({unit}; stronger regularisation to the right)")
        if not alphas.size or not steps.size:
            _say(axes, f"none of the {noun} has a chosen alpha")
            return Path(out_png)
        nearest = np.abs(_log10(alphas)[:, None] - _log10(steps)[None, :]).argmin(axis=1)
        share = 100.0 * np.bincount(nearest, minlength=steps.size) / alphas.size
        at_edge = np.zeros(steps.size, dtype=bool)
        at_edge[[0, -1]] = steps.size > 1
        places = np.arange(steps.size)
        axes.bar(places[~at_edge], share[~at_edge], width=0.82, color=BLUE)
        bars = axes.bar(
            places[at_edge], share[at_edge], width=0.82, color="white", edgecolor=ORANGE, hatch="////"
        )
        for bar, value in zip(bars, share[at_edge], strict=True):
            axes.annotate(
                f"{value:.1f} %",
                (bar.get_x() + bar.get_width() / 2, value),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=ORANGE,
            )
        every = max(1, int(np.ceil(steps.size / 11)))
        labelled = (
            places[::every] if (steps.size - 1) % every == 0 else np.append(places[:-every:every], places[-1])
        )
        axes.set_xticks(labelled, [_power(steps[i]) for i in labelled], fontsize=8)
        axes.set_xlim(-0.7, steps.size - 0.3)
        axes.set_ylim(0, max(share.max() * 1.18, 1e-9))
        axes.text(
            0.995,
            1.045,
            "hatched: the ends of the grid",
            transform=axes.transAxes,
            ha="right",
            fontsize=8,
            color=ORANGE,
        )
    return Path(out_png)


def delay_profile(
    weight_rms: np.ndarray,
    delays_s: Sequence[float],
    out_png: str | Path,
    *,
    spaces: Sequence[str],
    title: str = "Weights over delays",
) -> Path:
    """The size of the weights at each delay, one line a feature space; a check of the haemodynamic lag.

    Parameters
    ----------
    weight_rms : (n_spaces, n_delays) root mean square of the weights over components and voxels
    delays_s : delay of each column, in seconds
    """
    weight_rms = np.atleast_2d(np.asarray(weight_rms, dtype=float))
    delays_s = np.asarray(delays_s, dtype=float)
    with drawing(out_png, 6.2, 3.1) as figure:
        axes = figure.add_axes((0.135, 0.175, 0.835, 0.7))
        axes.set_title(title, pad=9)
        axes.axvspan(4, 6, color="#eef1f4", zorder=0)
        axes.text(
            5,
            0.02,
            "usual HRF peak",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=7.5,
            color=MUTED,
        )
        for space, profile, colour, marker in zip(
            spaces, weight_rms, _repeated(CYCLE), _repeated("osD^vP"), strict=False
        ):
            top = np.nanmax(profile) if np.isfinite(profile).any() else 0
            axes.plot(
                delays_s,
                profile / top if top > 0 else profile,
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.8,
                label=space,
            )
        axes.set_ylim(0, 1.3)  # room for the legend
        axes.set_yticks(np.linspace(0, 1, 6))
        margin = 0.6 if delays_s.size < 2 else 0.4
        axes.set_xlim(min(delays_s.min() - margin, 3.6), max(delays_s.max() + margin, 6.4))
        axes.set_xticks(delays_s, [f"{d:g}" for d in np.round(delays_s, 2)])
        axes.set_xlabel("delay between film and response (s)")
        axes.set_ylabel("RMS weight, relative to its peak")
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="upper right", fontsize=8, ncols=min(len(spaces), 3))
    return Path(out_png)


def _repeated(items):
    while True:
        yield from items


def _log10(values: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(values, 1e-30))


def _power(value: float) -> str:
    exponent = np.log10(value) if value > 0 else np.nan
    if np.isfinite(exponent) and abs(exponent - round(exponent)) < 1e-6 and abs(exponent) > 2:
        return "10" + str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{float(f'{value:.2g}'):g}"


def _plain_counts(axes) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _say(axes, sentence: str) -> None:
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])
