"""Which layer of a network predicts a voxel best: layer assignment and its centre of mass."""

from collections.abc import Sequence

import numpy as np

from cinebold.encoding.significance import benjamini_hochberg
from cinebold.errors import InputError, SettingError


def best_layer(
    scores: np.ndarray,
    significant: np.ndarray,
    *,
    margin: float = 0.0,
    layers: Sequence[float] | None = None,
) -> np.ndarray:
    """The layer whose model has the highest held-out score, where that is to be believed.

    The layer assignment of Wen et al. (2018), Cereb. Cortex 28, 4136-4160. Layers must have been fitted with
    the same folds and as many components each, or the widest wins for its width. Layers within `margin` of
    the best are not told from it: the voxel then has no best layer. A tie is no best layer either.

    Parameters
    ----------
    scores : (n_layers, n_targets) held-out r or R2; a voxel with a NaN has no best layer
    significant : (n_targets,) bool, voxels that any layer predicts, as of `significant_in_any_layer`
    margin : least lead over the second best, in the units of the scores
    layers : (n_layers,) numbers of the layers, rising; 1, 2, ... unless given

    Returns
    -------
    (n_targets,) the layer's number; NaN where there is none

    >>> best_layer(np.array([[0.1, 0.3, 0.2], [0.4, 0.3, 0.1]]), np.array([True, True, False]))
    array([ 2., nan, nan])
    """
    scores, significant, numbers = _checked(scores, significant, layers)
    if not margin >= 0:
        raise SettingError(f"The margin between layers must be at least 0, got {margin}.")
    finite = np.isfinite(scores).all(axis=0)
    ranked = np.sort(np.where(finite, scores, 0.0), axis=0)
    lead = ranked[-1] - ranked[-2]
    clear = finite & significant & (lead > 0) & (lead >= margin)
    best = np.where(finite, scores, 0.0).argmax(axis=0)
    return np.where(clear, numbers[best], np.nan)


def centre_of_mass_layer(
    scores: np.ndarray,
    significant: np.ndarray,
    *,
    layers: Sequence[float] | None = None,
    baseline: float | np.ndarray = 0.0,
) -> np.ndarray:
    r"""The mean of the layers' numbers, weighted by how far their scores are above the baseline.

    .. math:: c = \frac{\sum_l l \, \max(s_l - b, 0)}{\sum_l \max(s_l - b, 0)}

    Unlike the best layer it uses the whole profile, and a small change of scores changes it little. Layers
    are alike, so that all of them predict most voxels, which draws the centre to the middle: a baseline
    further up, such as half of the voxel's best score, shows the profile's peak more sharply.

    Parameters
    ----------
    scores, significant, layers : as in `best_layer`
    baseline : one score, or (n_targets,)

    Returns
    -------
    (n_targets,) ; NaN where not significant, where a score is NaN, and where no layer is above the baseline
    """
    scores, significant, numbers = _checked(scores, significant, layers)
    weights = np.maximum(scores - baseline, 0.0)  # NaN stays NaN
    total = weights.sum(axis=0)
    usable = significant & (total > 0)
    return (numbers @ weights) / np.where(usable, total, np.nan)


def significant_in_any_layer(p: np.ndarray, q: float = 0.05) -> np.ndarray:
    """Voxels that some layer predicts, at a false discovery rate over voxels.

    A voxel's p is its least over layers times their number (Bonferroni), as the best of several layers is
    more often good by chance than one layer; this holds however alike the layers are. Then Benjamini &
    Hochberg (1995) over voxels.

    Parameters
    ----------
    p : (n_layers, n_targets); NaN counts as no evidence, a voxel of NaN only is not counted

    Returns
    -------
    (n_targets,) bool
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 2:
        raise InputError(f"Expected p of shape (n_layers, n_targets), got {p.shape}.")
    tested = np.isfinite(p).any(axis=0)
    least = np.where(np.isfinite(p), p, np.inf).min(axis=0)
    adjusted = np.where(tested, np.minimum(least * len(p), 1.0), np.nan)
    return benjamini_hochberg(adjusted) <= q


def _checked(
    scores: np.ndarray, significant: np.ndarray, layers: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or len(scores) < 2:
        raise InputError(
            f"Layers are compared by scores of shape (n_layers, n_targets), at least two layers; got {scores.shape}."
        )
    significant = np.asarray(significant)
    if significant.dtype != bool or significant.shape != scores.shape[1:]:
        raise InputError(
            f"The significance mask must be {scores.shape[1]} values True or False, got {significant.dtype} of "
            f"shape {significant.shape}."
        )
    numbers = np.arange(1, len(scores) + 1) if layers is None else np.asarray(layers)
    if numbers.shape != (len(scores),) or (np.diff(numbers) <= 0).any():
        raise InputError(f"Expected {len(scores)} rising layer numbers, got {numbers.tolist()}.")
    return scores, significant, numbers.astype(np.float64)
