"""What a reader wants to know about a fit, as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cinebold.encoding.film_ceilings import CEILINGS
from cinebold.encoding.tile_fit import FitMaps, FitPlan
from cinebold.encoding.training_sets import PreparedTraining

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
        f"{share:.1%} of the predicted targets choose the {edge} alpha of the grid "
        f"({alphas[0 if edge == 'least' else -1]:g}): widen the grid of the {estimator} alphas."
        for edge, share in shares.items()
        if share > EDGE_SHARE
    ]


def describe_fit(
    plan: FitPlan, delays: Sequence[int], maps: FitMaps, shares: dict[str, float]
) -> dict[str, Any]:
    """The model card's facts about the fit."""
    settings, rows, alphas = plan.settings, plan.rows, plan.alphas
    counts = np.bincount(maps.alpha_index[maps.valid], minlength=len(alphas))
    facts: dict[str, Any] = {
        "estimator": settings.estimator,
        "alphas": [float(alpha) for alpha in alphas],
        "alpha_unit": settings.alpha_unit,
        "alpha_counts": [int(count) for count in counts],
        "alpha_edge_shares": shares,
        "alpha_choice": "largest R2 pooled over the inner held-out rows, ties to the larger alpha",
        "pca": settings.pca,
        "standardise": settings.standardise,
        "intercept": settings.intercept,
        "delays_volumes": [int(delay) for delay in delays],
        "hrf": settings.hrf,
        "cross_validation": asdict(settings.cross_validation)
        | {"test": list(settings.cross_validation.test)},
        "r": "response and prediction z-scored in each held-out run, then pooled",
        "rsquared": "1 - SSE / SST pooled over held-out runs, each centred on its mean; not clipped",
        "runs": list(rows.labels),
        "n_rows": int(rows.used.sum()),
        "n_rows_of_run": {
            label: int((rows.used & (rows.run == run)).sum()) for run, label in enumerate(rows.labels)
        },
        "n_rows_total": len(rows),
        "n_rows_scored": int(plan.scored.sum()),
        "include_rest": settings.include_rest,
        "n_targets": int(maps.valid.size),
        "n_targets_not_finite": int((~maps.valid).sum()),
        "seed": settings.seed,
        "folds": [
            _describe_training(prepared, freedom)
            for prepared, freedom in zip(plan.outer, maps.freedom[:-1], strict=True)
        ],
        "final": _describe_training(plan.final, maps.freedom[-1]),
    }
    if settings.estimator == "elastic_net":
        facts["l1_ratio"] = settings.l1_ratio
    if settings.estimator == "banded_ridge":
        facts["n_candidates"] = settings.n_candidates
    if plan.test is not None:
        facts |= {"permutation_scheme": settings.permutation_scheme, "significance": _describe_test(plan)}
    if plan.repeats:
        facts["noise_ceiling"] = {
            "estimator": f"sqrt(max(rho, 0)), rho the {CEILINGS[settings.ceiling]}",
            "method": settings.ceiling,
            "units": "r of a single showing",
            "n_repeats": len(plan.repeats),
            "n_showings": [len(repeat.showings) for repeat in plan.repeats],
            "n_volumes": int(sum(len(repeat) for repeat in plan.repeats)),
            "films": sorted({repeat.film_id for repeat in plan.repeats}),
            "floor": settings.ceiling_floor,
        }
    return facts


def _describe_test(plan: FitPlan) -> dict[str, Any]:
    settings = plan.settings
    how = "circular shifts" if settings.permutation_scheme == "circular-shift" else "permuted blocks"
    coupled = plan.test is not None and plan.test.coupling != 1
    facts: dict[str, Any] = {
        "test": f"{how} of the held-out predictions within runs, one-sided on the pooled r"
        + (", permuted r multiplied by sqrt(2) for the coupling of folds" if coupled else ""),
        "n_permutations": settings.n_permutations,
        "q": settings.q,
        "q_method": "Benjamini-Hochberg",
        "family_wise": "largest permuted r of all voxels",
    }
    if settings.permutation_scheme == "circular-shift":
        return facts | {"minimum_shift_s": settings.minimum_shift_s}
    return facts | {"block_volumes": list(plan.test.test.block_volumes)}


def _describe_training(prepared: PreparedTraining, freedom: np.ndarray) -> dict[str, Any]:
    known = freedom[np.isfinite(freedom)]
    return {
        "held_out": prepared.fold.name if prepared.fold.test.any() else None,
        "n_train": int(prepared.fold.train.sum()),
        "n_test": int(prepared.fold.test.sum()),
        "n_excluded_same_film": prepared.fold.n_excluded,
        "inner_scheme": prepared.fold.inner_scheme,
        "n_inner_folds": len(prepared.fold.inner),
        "n_components": {space: reducer.n_components for space, reducer in prepared.reducers.items()},
        "n_columns": sum(reducer.n_components for reducer in prepared.reducers.values()) * prepared.n_bases,
        "dual": prepared.rotation is not None,
        "effective_degrees_of_freedom": float(np.median(known)) if len(known) else None,
        **prepared.solver.diagnostics(),
    }
