"""Run statistics: all that linear models need to know of a run, and sums of them.

Training statistics of a fold are sums over runs; nothing is ever subtracted. Any estimator, any alpha and the
held-out scores follow from them (Liland et al., 2024; Engstrom & Jensen, 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

#: A column whose squares about the means are a smaller share of its squares does not vary: what is left is rounding.
_CONSTANT = 1e-12

#: So many columns of Y are multiplied by compiled functions.
_WORTH_COMPILING = 1024


@dataclass(frozen=True)
class RunStatistics:
    """Sums over some rows of one run, in float64. Statistics of disjoint rows add up."""

    n: int
    sum_x: np.ndarray  #: (n_features,)
    sum_y: np.ndarray  #: (n_targets,)
    xx: np.ndarray  #: (n_features, n_features), X'X
    xy: np.ndarray  #: (n_features, n_targets), X'Y
    yy: np.ndarray  #: (n_targets,), sums of squares

    def __add__(self, other: "RunStatistics") -> "RunStatistics":
        return RunStatistics(
            self.n + other.n,
            self.sum_x + other.sum_x,
            self.sum_y + other.sum_y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def of_columns(self, columns: np.ndarray) -> "RunStatistics":
        """The statistics of some columns of X: blocks of what is there."""
        return RunStatistics(
            self.n,
            self.sum_x[columns],
            self.sum_y,
            np.ascontiguousarray(self.xx[np.ix_(columns, columns)]),
            self.xy[columns],
            self.yy,
        )

    def about(self, mean_x: np.ndarray, mean_y: np.ndarray) -> "RunStatistics":
        """The sums of x - mean_x and y - mean_y over the same rows."""
        outer = np.outer(mean_x, self.sum_x)
        return RunStatistics(
            self.n,
            self.sum_x - self.n * mean_x,
            self.sum_y - self.n * mean_y,
            self.xx - outer - outer.T + self.n * np.outer(mean_x, mean_x),
            self.xy - np.outer(mean_x, self.sum_y - self.n * mean_y) - np.outer(self.sum_x, mean_y),
            self.yy - 2 * mean_y * self.sum_y + self.n * mean_y**2,
        )


@dataclass(frozen=True)
class CentredStatistics:
    """What a least-squares problem with one free intercept a run amounts to."""

    n: int
    mean_x: np.ndarray  #: (n_features,) over all rows
    mean_y: np.ndarray  #: (n_targets,) over all rows
    gram: np.ndarray  #: (n_features, n_features), X'X with each run centred
    cross: np.ndarray  #: (n_features, n_targets), X'Y with each run centred
    total: np.ndarray  #: (n_targets,), sums of squares with each run centred


def accumulate(
    features: np.ndarray,
    responses: np.ndarray,
    xx: np.ndarray | None = None,
    dtype: type = np.float64,
    panels: np.ndarray | None = None,
) -> RunStatistics:
    """The statistics of some rows of a run.

    Parameters
    ----------
    features : (n_samples, n_features)
    responses : (n_samples, n_targets), of any width; sums are float64
    xx : X'X when it is known from another tile of voxels
    dtype : of the products; float32 keeps six digits of sums over a run
    panels : `shared_panels` of the features
    """
    x = np.asarray(features, dtype=dtype)
    y = np.asarray(responses, dtype=dtype)
    xy, sum_y, yy = _products(x, y, panels)
    return RunStatistics(
        n=len(x),
        sum_x=x.sum(axis=0, dtype=np.float64),
        sum_y=sum_y,
        xx=(x.T @ x).astype(np.float64, copy=False) if xx is None else xx,
        xy=xy,
        yy=yy,
    )


def shared_panels(features: np.ndarray, responses: np.ndarray, dtype: type) -> np.ndarray | None:
    """What `accumulate` makes of the features of a run first: for many tiles of responses it is made once.

    Parameters
    ----------
    responses : the first tile
    """
    if dtype != np.float32 or not _in_one_pass(responses):
        return None
    from cinebold.encoding.one_pass import panels_of

    return panels_of(features)


def _in_one_pass(responses: np.ndarray) -> bool:
    """Whether the compiled products serve, and there is enough for them to do."""
    if responses.dtype != np.float32 or responses.shape[1] < _WORTH_COMPILING:
        return False
    from cinebold.encoding.one_pass import serves

    return serves(responses)


def _products(
    x: np.ndarray, y: np.ndarray, panels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'Y, sums of Y and of its squares."""
    if _in_one_pass(y):
        from cinebold.encoding.one_pass import products_in_one_pass

        return products_in_one_pass(x, y, panels)
    return (
        (x.T @ y).astype(np.float64, copy=False),
        y.sum(axis=0, dtype=np.float64),
        np.einsum("tv,tv->v", y, y).astype(np.float64, copy=False),
    )


def centred(runs: Sequence[RunStatistics]) -> CentredStatistics:
    """Pool runs, each centred on its own means, as responses are z-scored a run and offsets between runs mean
    nothing.

    Each item is the sum over all rows of one run that take part.
    """
    pooled = reduce(RunStatistics.__add__, runs)
    gram, cross, total = pooled.xx.copy(), pooled.xy.copy(), pooled.yy.copy()
    for run in runs:
        gram -= np.outer(run.sum_x, run.sum_x) / run.n
        cross -= np.outer(run.sum_x, run.sum_y / run.n)
        total -= run.sum_y**2 / run.n
    return _pooled_sums(pooled, gram, cross, total)


def about_means(
    runs: Sequence[RunStatistics], means: Sequence[tuple[np.ndarray, np.ndarray]]
) -> CentredStatistics:
    """Pool runs, each about means that are known from elsewhere, such as the run's rows in training."""
    pooled = reduce(RunStatistics.__add__, runs)
    shifted = reduce(RunStatistics.__add__, (run.about(*mean) for run, mean in zip(runs, means, strict=True)))
    return _pooled_sums(pooled, shifted.xx, shifted.xy, shifted.yy)


def _pooled_sums(
    pooled: RunStatistics, gram: np.ndarray, cross: np.ndarray, total: np.ndarray
) -> CentredStatistics:
    constant = np.diag(gram) <= _CONSTANT * np.diag(pooled.xx)
    if constant.any():
        gram[constant], gram[:, constant], cross[constant] = 0, 0, 0
    return CentredStatistics(
        pooled.n, pooled.sum_x / pooled.n, pooled.sum_y / pooled.n, gram, cross, np.maximum(total, 0)
    )
