"""What each feature space adds to a joint model's held-out score, from the sums of the held-out runs.

Three answers to different questions. The product measure shares out the joint score: its parts sum to it. The
unique variance is what is lost when a space is left out and the rest is fitted anew. The partial measures say
the same relative to what the other spaces leave unexplained. All may be negative, and none is clipped.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from cinebold.encoding.preprocessing import columns_of_spaces
from cinebold.encoding.scores import HeldOutSums, held_out_rsquared
from cinebold.encoding.statistics import RunStatistics
from cinebold.encoding.training_sets import PreparedTraining
from cinebold.errors import InputError


@dataclass(frozen=True)
class SpaceSums:
    """Sums over rows of one held-out run, with the prediction as a sum of its spaces' parts; they add up over folds.

    All are about common means, as in `scores.HeldOutSums`.
    """

    n: int
    response_squared: np.ndarray  #: (n_targets,) sum of (y - mean)^2
    product: np.ndarray  #: (n_spaces, n_targets) sum of y * part, both centred
    part_products: np.ndarray  #: (n_spaces, n_spaces, n_targets) sum of part * part, both centred
    response_sum: np.ndarray | float = 0.0  #: (n_targets,)
    part_sums: np.ndarray | float = 0.0  #: (n_spaces, n_targets)

    def __add__(self, other: "SpaceSums") -> "SpaceSums":
        names = [field.name for field in fields(self)]
        return SpaceSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def centred(self) -> "SpaceSums":
        """The same about the rows' own means."""
        parts = self.part_sums + np.zeros_like(self.product)
        return SpaceSums(
            self.n,
            np.maximum(self.response_squared - self.response_sum**2 / self.n, 0),
            self.product - self.response_sum * parts / self.n,
            self.part_products - parts[:, np.newaxis] * parts / self.n,
        )

    @property
    def joint(self) -> HeldOutSums:
        """The sums of the whole prediction."""
        own = self.centred()
        squared = np.maximum(own.part_products.sum(axis=(0, 1)), 0)
        return HeldOutSums(own.n, own.response_squared, own.product.sum(axis=0), squared)


def space_sums(weights: np.ndarray, test: RunStatistics, columns: Mapping[str, np.ndarray]) -> SpaceSums:
    r"""The sums of one held-out run from its statistics: no prediction is formed.

    With e and H the test X'y and X'X, :math:`y'\hat y_k = w_k' e_k` and :math:`\hat y_k'\hat y_l = w_k' H_{kl} w_l`.

    Parameters
    ----------
    weights : (n_columns, n_targets) of the joint model
    test : statistics of one run's held-out rows, as of `training.held_out_statistics`
    columns : which columns are each space's, as of `columns_of_spaces`; together all of them
    """
    parts = list(columns.values())
    product = np.stack([(weights[part] * test.xy[part]).sum(axis=0) for part in parts])
    products = np.empty((len(parts), len(parts), weights.shape[1]))
    for k, part in enumerate(parts):
        fitted = test.xx[:, part] @ weights[part]  # (n_columns, n_targets)
        for other_k, other in enumerate(parts):
            products[other_k, k] = (weights[other] * fitted[other]).sum(axis=0)
    sums = np.stack([test.sum_x[part] @ weights[part] for part in parts])
    return SpaceSums(test.n, test.yy, product, products, test.sum_y, sums)


def space_sums_of_predictions(responses: np.ndarray, parts: Sequence[np.ndarray]) -> SpaceSums:
    """The same sums from predictions: responses and each space's part of it, (n_samples, n_targets) each."""
    y = responses - responses.mean(axis=0)
    centred = np.stack([part - part.mean(axis=0) for part in parts])
    return SpaceSums(
        len(y),
        (y**2).sum(axis=0),
        np.einsum("tv,ktv->kv", y, centred),
        np.einsum("ktv,ltv->klv", centred, centred),
    )


def product_measure_rsquared(runs: Sequence[SpaceSums]) -> np.ndarray:
    r"""Each space's part of the held-out R2; the parts sum to `scores.held_out_rsquared`.

    .. math:: R^2_k = \frac{\sum_t \hat y_k(t) \, (2 y(t) - \hat y(t))}{\sum_t y(t)^2}

    Pratt (1987); Dupré la Tour et al. (2022), NeuroImage 264, 119728. NaN where the response is constant.

    Returns
    -------
    (n_spaces, n_targets)
    """
    runs = [run.centred() for run in runs]
    explained = sum(2 * run.product - run.part_products.sum(axis=1) for run in runs)
    total = sum(run.response_squared for run in runs)
    return explained / np.where(total > 0, total, np.nan)


def product_measure_r(runs: Sequence[SpaceSums]) -> np.ndarray:
    r"""Each space's part of the held-out r; the parts sum to `scores.held_out_r`.

    .. math:: r_k = \sum_i \frac{n_i}{n} \frac{\sum_t \hat y_k y}{|\hat y| \, |y|}

    over the runs i, each centred. A run whose whole prediction is constant counts as 0.

    Returns
    -------
    (n_spaces, n_targets)
    """
    runs = [run.centred() for run in runs]
    total = np.zeros_like(runs[0].product)
    for run in runs:
        scale = np.sqrt(run.response_squared * run.joint.prediction_squared)
        r = np.divide(run.product, scale, out=np.zeros_like(run.product), where=scale > 0)
        total += run.n * np.where(run.response_squared > 0, r, np.nan)
    return total / sum(run.n for run in runs)


def partial_r(runs: Sequence[SpaceSums]) -> np.ndarray:
    r"""Correlation of the response with each space's part of the prediction, both freed of the other spaces' part.

    With y, a, z the response, the space's part and the sum of the other parts, centred in each run,

    .. math:: r_{ya \cdot z} = \frac{y'a - y'z \, z'a / z'z}
              {\sqrt{(y'y - (y'z)^2 / z'z) \, (a'a - (z'a)^2 / z'z)}},

    the mean of the runs with their numbers of rows as weights, as in `scores.held_out_r`. 0 in a run where the
    space's part is constant or a multiple of the others'; NaN where the response is constant.

    Returns
    -------
    (n_spaces, n_targets)
    """
    runs = [run.centred() for run in runs]
    total = np.zeros_like(runs[0].product)
    for run in runs:
        for k in range(len(run.product)):
            own = run.part_products[k, k]
            shared = run.part_products[k].sum(axis=0) - own  # z'a
            others = run.part_products.sum(axis=(0, 1)) - 2 * shared - own  # z'z
            product = run.product.sum(axis=0) - run.product[k]  # y'z
            inverse = np.divide(1.0, others, out=np.zeros_like(others), where=others > 1e-12 * own)
            left = run.response_squared - product**2 * inverse
            part = own - shared**2 * inverse
            usable = (part > 1e-10 * own) & (left > 1e-10 * run.response_squared)
            scale = np.sqrt(np.where(usable, left * part, 1.0))
            r = np.where(usable, (run.product[k] - product * shared * inverse) / scale, 0.0)
            total[k] += run.n * np.where(run.response_squared > 0, r, np.nan)
    return total / sum(run.n for run in runs)


def unique_rsquared(
    joint: Sequence[HeldOutSums], without: Mapping[str, Sequence[HeldOutSums]]
) -> dict[str, np.ndarray]:
    """R2 of all spaces less the R2 of the model that was fitted without the space, (n_targets,) each.

    Parameters
    ----------
    joint : the held-out runs of the model of all spaces
    without : the same runs of models fitted without each space, as by `restricted`
    """
    full = held_out_rsquared(joint)
    return {space: full - held_out_rsquared(runs) for space, runs in without.items()}


def partial_rsquared(
    joint: Sequence[HeldOutSums], without: Mapping[str, Sequence[HeldOutSums]]
) -> dict[str, np.ndarray]:
    """The share of the error of the model without the space that the space takes away, (n_targets,) each.

    1 - SSE(all) / SSE(without), which is unique R2 / (1 - R2 without). NaN where nothing is left to explain.
    """
    full = held_out_rsquared(joint)
    shares = {}
    for space, runs in without.items():
        left = 1 - held_out_rsquared(runs)
        shares[space] = 1 - (1 - full) / np.where(left > 0, left, np.nan)
    return shares


def restricted(prepared: PreparedTraining, spaces: Collection[str]) -> tuple[PreparedTraining, np.ndarray]:
    """The same training set with some of its feature spaces only, and their columns in it.

    Gram matrices are blocks of those that are there, and so are all statistics (`RunStatistics.of_columns`): the model
    of any subset of spaces is trained and scored by `training.train` and `training.held_out_sums` with alphas of its
    own and without another look at the responses.

    Raises
    ------
    InputError : no space, one that the training set does not have, or columns that were rotated
    """
    unknown = sorted(set(spaces) - set(prepared.reducers))
    if unknown or not spaces:
        raise InputError(
            f"Expected some of the feature spaces {', '.join(prepared.reducers)}, got "
            f"{', '.join(unknown) or 'none'}."
        )
    if prepared.rotation is not None:
        raise InputError("Columns that were rotated for the dual path cannot be told apart by feature space.")
    sizes = {space: reducer.n_components for space, reducer in prepared.reducers.items()}
    columns = columns_of_spaces(sizes, prepared.n_bases)
    chosen = np.sort(np.concatenate([columns[space] for space in sizes if space in spaces]))
    kept = {space: prepared.reducers[space] for space in sizes if space in spaces}
    return prepared.of_columns(chosen, kept), chosen
