"""What a reader wants to know about a fit, as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.encoding import noise_ceilings
from cinebold.encoding.rows import Rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import PreparedTraining

if TYPE_CHECKING:
    from cinebold.encoding.fit import _Maps

EDGE_SHARE = 0.01
_PREDICTED_RSQUARED = 0.05


def predicted_voxels(rsquared: np.ndarray, q: np.ndarray | None, level: float) -> np.ndarray:
    """(n_targets,) bool: the voxels that the model predicts, by their q, or by a held-out R2 above .05 if not
    tested.

    Only they say whether the grid of alphas is wide enough: what cannot be predicted may choose any.
    """
    return np.nan_to_num(rsquared, nan=-1.0) > _PREDICTED_RSQUARED if q is None else q < level


def edge_shares(alphas: Sequence[float], alpha_index: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The share of the predicted voxels that choose each end of the grid."""
    if len(alphas) < 2 or not predicted.any():
        return {}
    chosen = alpha_index[predicted]
    return {"least": float((chosen == 0).mean()), "largest": float((chosen == len(alphas) - 1).mean())}


def edge_warnings(estimator: str, alphas: Sequence[float], shares: dict[str, float]) -> list[str]:
    """A sentence for each end of the grid that more than 1 % of the predicted voxels choose."""
    return [
        f"{share:.1%} of the predicted voxels choose the {edge} alpha of the grid "
        f"({alphas[0 if edge == 'least' else -1]:g}): widen the grid of the {estimator} alphas."
        for edge, share in shares.items()
        if share > EDGE_SHARE
    ]


def describe_fit(
    settings: EncodingSettings,
    alphas: Sequence[float],
    delays: Sequence[int],
    rows: Rows,
    outer: Sequence[PreparedTraining],
    final: PreparedTraining,
    repeats: Sequence[noise_ceilings.Repeat],
    maps: "_Maps",
    shares: dict[str, float],
) -> dict[str, Any]:
    """The model card's facts about the fit."""
    counts = np.bincount(maps.alpha_index[maps.valid], minlength=len(alphas))
    facts: dict[str, Any] = {
        "estimator": settings.estimator,
        "alphas": [float(alpha) for alpha in alphas],
        "alpha_counts": [int(count) for count in counts],
        "alpha_edge_shares": shares,
        "alpha_choice": "largest R2 pooled over the inner held-out runs, ties to the larger alpha",
        "pca": settings.pca,
        "standardise": settings.standardise,
        "delays_volumes": [int(delay) for delay in delays],
        "cross_validation": "leave-one-run-out",
        "r": "response and prediction z-scored in each held-out run, then pooled",
        "rsquared": "1 - SSE / SST pooled over held-out runs, each centred on its mean; not clipped",
        "runs": list(rows.labels),
        "n_rows": int(rows.used.sum()),
        "n_rows_of_run": {
            label: int((rows.used & (rows.run == run)).sum()) for run, label in enumerate(rows.labels)
        },
        "n_rows_total": len(rows),
        "include_rest": settings.include_rest,
        "n_targets": int(maps.valid.size),
        "n_targets_not_finite": int((~maps.valid).sum()),
        "seed": settings.seed,
        "folds": [_describe_training(prepared) for prepared in outer],
        "final": _describe_training(final),
    }
    if settings.n_permutations:
        facts["significance"] = {
            "test": "circular shifts of the held-out predictions within runs, one-sided on the pooled r, "
            "permuted r multiplied by sqrt(2) for the coupling of leave-one-run-out folds",
            "n_permutations": settings.n_permutations,
            "minimum_shift_s": settings.minimum_shift_s,
            "q": settings.q,
            "q_method": "Benjamini-Hochberg",
        }
    if repeats:
        facts["noise_ceiling"] = {
            "estimator": "sqrt(max(mean correlation of the responses to a film shown in two runs, 0))",
            "units": "r of a single showing",
            "n_pairs": len(repeats),
            "n_volumes": int(sum(len(repeat.first) for repeat in repeats)),
            "films": sorted({repeat.film_id for repeat in repeats}),
        }
    return facts


def _describe_training(prepared: PreparedTraining) -> dict[str, Any]:
    return {
        "held_out": prepared.fold.name if prepared.fold.test.any() else None,
        "n_train": int(prepared.fold.train.sum()),
        "n_test": int(prepared.fold.test.sum()),
        "n_excluded_same_film": prepared.fold.n_excluded,
        "inner_scheme": prepared.fold.inner_scheme,
        "n_inner_folds": len(prepared.fold.inner),
        "n_components": {space: reducer.n_components for space, reducer in prepared.reducers.items()},
        **prepared.solver.diagnostics(),
    }
