"""What a figure shows of a feature series: its columns, its strongest classes, or its principal components."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cinebold.design.loadings import with_fixed_sign
from cinebold.features.scenes import names_classes
from cinebold.features.series import FeatureSeries
from cinebold.plotting.design import AS_LINES, draw_space, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS = 400  #: of film time; more windows are averaged
_COMPONENTS, _CLASSES = 8, 10
_LETTERS = 24  #: of the name of a row


@dataclass(frozen=True, eq=False)
class Rows:
    """Time courses for display."""

    names: tuple[str, ...]
    times_s: np.ndarray  #: (n_bins,) their middles
    values: np.ndarray  #: (n_bins, n_rows)
    what: str  #: in words, for the caption

    @property
    def are_curves(self) -> bool:
        """Curves, or the rows of a heat map."""
        return self.what.startswith("its columns")

    def draw(self, axes: "Axes", colour: str) -> None:
        """In standard units over the film; a heat map ends at three of them on both sides."""
        step_s = self.times_s[1] - self.times_s[0]
        names = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name in self.names]
        values = standardised(self.values, np.ones(len(self.values), dtype=bool))
        if self.are_curves:
            draw_space(axes, self.times_s, values, names, colour, step_s)
            return
        extent = (self.times_s[0] - step_s / 2, self.times_s[-1] + step_s / 2, len(names) - 0.5, -0.5)
        axes.imshow(
            values.T, aspect="auto", cmap="PuOr_r", vmin=-3, vmax=3, extent=extent, interpolation="nearest"
        )
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.tick_params(axis="y", length=0)


def rows_of(series: FeatureSeries) -> Rows:
    """Up to 8 columns as they are; of classes the 10 with the highest scores, in the order in which they peak; of
    everything else the first 8 principal components of this film's standardised columns.

    The components are made for the picture: they are not those of the model. Of more than 400 windows, neighbours
    are averaged.

    Raises ValueError for a series of one window, which has no time course.
    """
    if len(series.times_s) < 2:
        raise ValueError("one window stands for the whole film, so there is no time course")
    times_s, values = _averaged(series)
    if values.shape[1] <= AS_LINES:
        rows = Rows(tuple(series.names), times_s, values, "its columns")
    elif names_classes(series.names):
        rows = _classes(series.names, times_s, values)
    else:
        rows = _components(times_s, values)
    if len(times_s) == len(series.times_s):
        return rows
    return replace(rows, what=f"{rows.what}, {len(series.times_s):,} windows averaged to {len(times_s)}")


def _classes(names: Sequence[str], times_s: np.ndarray, values: np.ndarray) -> Rows:
    strongest = np.argsort(-values.max(axis=0), kind="stable")[:_CLASSES]
    shown = strongest[np.argsort(values[:, strongest].argmax(axis=0), kind="stable")]
    chosen = tuple(names[column] for column in shown)
    return Rows(
        chosen,
        times_s,
        values[:, shown],
        f"the {len(chosen)} of {len(names)} classes with the highest scores",
    )


def _components(times_s: np.ndarray, values: np.ndarray) -> Rows:
    """By the products of windows, which are few where columns are many."""
    scaled = standardised(values, np.ones(len(values), dtype=bool))
    variances, directions = np.linalg.eigh(scaled @ scaled.T)
    variances, directions = variances[::-1], directions[:, ::-1]
    total = max(float(variances.sum()), np.finfo(float).tiny)
    n = max(1, min(_COMPONENTS, int((variances > 1e-9 * total).sum())))
    loadings = directions[:, :n].T @ scaled
    signs = np.where((with_fixed_sign(loadings) == loadings).all(axis=1), 1.0, -1.0)
    shares = 100 * variances[:n] / total
    names = tuple(f"pc {number}, {share:.0f} %" for number, share in enumerate(shares, 1))
    what = f"the first {n} principal components of {values.shape[1]} columns"
    return Rows(names, times_s, directions[:, :n] * signs, what)


def _averaged(series: FeatureSeries) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of at most 400 bins, float64."""
    n_windows = len(series.times_s)
    each = -(-n_windows // _MOST_BINS)
    starts = np.arange(0, n_windows, each)
    counts = np.diff([*starts, n_windows])
    times_s = np.add.reduceat(series.times_s, starts) / counts
    values = np.add.reduceat(series.values, starts, axis=0, dtype=np.float64) / counts[:, None]
    return times_s, values
