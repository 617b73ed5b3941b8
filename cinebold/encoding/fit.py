"""Fit, test and save an encoding model: designs and responses of some runs in, maps and a model out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cinebold.design.delays import delays_in_volumes
from cinebold.design.hrf import hrf_kernel
from cinebold.design.run_design import RunDesign
from cinebold.encoding.diagnostics import describe_fit, edge_shares, edge_warnings, predicted_voxels
from cinebold.encoding.estimators import estimator
from cinebold.encoding.film_ceilings import find_repeats
from cinebold.encoding.folds import outer_folds, whole_set
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.permutation import draw_test
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.tile_fit import FitMaps, FitPlan, fit_tile
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError, SettingError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodingResult:
    """What a fit gives back."""

    maps: dict[str, np.ndarray]  #: r, rsquared, alpha, ... (docs/outputs.md) -> (n_targets,) float32
    model: EncodingModel  #: fitted on all runs
    diagnostics: dict[str, Any]  #: JSON-able
    warnings: list[str]


def fit_encoding_model(
    designs: Sequence[RunDesign],
    responses: Sequence[np.ndarray],
    settings: EncodingSettings,
    delays_s: Sequence[float],
    *,
    progress: bool = False,
    device: str = "cpu",
) -> EncodingResult:
    """Fit a voxelwise encoding model and score it on held-out data.

    Runs (or films) are held out as `settings.cross_validation` says. Scale, principal components and each voxel's
    alpha are learned on the other rows alone, alpha by inner folds among them (`folds.inner_folds`); r and R2
    pool the held-out runs, each centred on its mean. The model that is given back is fitted on all runs (those
    that a split does not test), with alphas chosen by inner folds over all.

    Several feature spaces stand side by side, each divided by the root of its total variance on the training
    rows, so that the penalty weighs equally on them. p values come from circular shifts or permuted blocks of
    the held-out predictions (`permutation.draw_test`). "lstm" is fitted by `lstm.fit.fit_lstm_model`.

    Parameters
    ----------
    designs : one a run, in any order
    responses : one (n_volumes, n_targets) array or memory map a run, of any floating width; only `voxel_tile`
        columns at a time are read. A column that is constant or not finite in any run has NaN in every map and is
        counted.
    delays_s : seconds, rounded to volumes; not used where features are convolved (`settings.hrf`)
    device : "cpu" or "cuda[:N]", for networks, estimators and permutations

    Raises
    ------
    InputError : one run only, runs that do not fit together, no rows left to train on
    SettingError : settings that do not go together
    """
    if settings.estimator == "lstm":
        from cinebold.encoding.lstm.fit import fit_lstm_model

        return fit_lstm_model(designs, responses, settings, delays_s, progress=progress, device=device)
    order = sorted(range(len(designs)), key=lambda index: designs[index].label)
    designs = [designs[index] for index in order]
    if len(responses) != len(designs):
        raise InputError(
            f"{len(designs)} designs but {len(responses)} response arrays: one of each is needed a run."
        )
    responses = [responses[index] for index in order]
    n_targets = check_runs(designs, responses)
    _check_spaces(settings, designs[0])
    kind = estimator(settings.estimator)
    alphas = tuple(sorted(settings.alphas if settings.alphas is not None else kind.default_alphas))
    delays = delays_in_volumes(delays_s, designs[0].tr_s) if settings.hrf == "none" else (0,)
    reach = delays if settings.hrf == "none" else range(len(hrf_kernel(settings.hrf, designs[0].tr_s)))

    rows = stack_rows(designs, reach, settings.include_rest)
    folds = outer_folds(rows, max(reach), settings.cross_validation)
    held_out = np.any([fold.test for fold in folds], axis=0)
    test, warnings = draw_test(settings, rows, designs, held_out, device)
    tiles = [
        slice(start, min(start + settings.voxel_tile, n_targets))
        for start in range(0, n_targets, settings.voxel_tile)
    ]
    with one_thread_products() as n_threads:
        everything = whole_set(rows, max(reach), settings.cross_validation)
        plan = FitPlan(
            settings=settings,
            alphas=alphas,
            rows=rows,
            outer=tuple(prepare_training(fold, rows, designs, delays, settings, device) for fold in folds),
            final=prepare_training(everything, rows, designs, delays, settings, device),
            test=test,
            repeats=tuple(find_repeats(rows, designs, in_pairs=settings.ceiling == "pairs")),
        )
        maps = FitMaps(plan, n_targets)
        # Threads would only queue for a device, and its settings are the process's.
        at_once = n_threads if device == "cpu" else 1
        run_tiles(lambda part: fit_tile(plan, maps, part, responses), tiles, at_once, progress)

    return finish_fit(maps, designs, delays, warnings)


def finish_fit(
    maps: FitMaps, designs: Sequence[RunDesign], delays: Sequence[int], warnings: Sequence[str] = ()
) -> EncodingResult:
    """What a fit gives back, once all tiles have been filled in; its warnings are logged."""
    plan, found, warnings = maps.plan, maps.by_statistic(), list(warnings)
    n_invalid = int((~maps.valid).sum())
    if n_invalid:
        warnings.append(
            f"{n_invalid} of {len(maps.valid)} targets are constant or not finite in a run; they are NaN in all "
            "maps."
        )
    predicted = predicted_voxels(found["rsquared"], found.get("q"), plan.settings.q)
    shares = edge_shares(plan.alphas, maps.alpha_index, predicted)
    warnings += edge_warnings(plan.settings.estimator, plan.alphas, shares)
    diagnostics = describe_fit(plan, delays, maps, shares)
    model = _assemble_model(maps, designs, delays, diagnostics)
    for warning in warnings:
        logger.warning(warning)
    return EncodingResult(
        maps={name: values.astype(np.float32) for name, values in found.items()},
        model=model,
        diagnostics=diagnostics,
        warnings=warnings,
    )


def _assemble_model(
    maps: FitMaps,
    designs: Sequence[RunDesign],
    delays: Sequence[int],
    diagnostics: dict[str, Any],
) -> EncodingModel:
    """Weights by space and delay, in units of the scores before they were divided by their space's unit."""
    final, n_targets = maps.plan.final, maps.weights.shape[1]
    by_delay = maps.weights.reshape(len(delays), -1, n_targets)
    weights, first = {}, 0
    for space, reducer in final.reducers.items():
        last = first + reducer.n_components
        weights[space] = np.ascontiguousarray(
            by_delay[:, first:last].transpose(1, 0, 2) / np.float32(reducer.unit), dtype=np.float32
        )
        first = last
    return EncodingModel(
        reducers=final.reducers,
        delays=tuple(delays),
        tr_s=designs[0].tr_s,
        weights=weights,
        intercept=maps.intercept,
        names={space: tuple(designs[0].names.get(space, ())) for space in final.reducers},
        card=diagnostics,
        hrf=maps.plan.settings.hrf,
    )


def _check_spaces(settings: EncodingSettings, design: RunDesign) -> None:
    """Refuse what needs several feature spaces where there is one, and layers that are not tested."""
    for name in ("variance_partitioning", "layers"):
        if getattr(settings, name) and len(design.features) < 2:
            raise SettingError(
                f"{name} compares feature spaces, and there is only {', '.join(design.features)}."
            )
    if settings.layers and not settings.n_permutations:
        raise SettingError("A map of layers needs a permutation test to say where it means anything.")


def check_runs(designs: Sequence[RunDesign], responses: Sequence[np.ndarray]) -> int:
    """The number of targets, after runs that do not fit together have been refused."""
    if not designs:
        raise InputError("No run was given: an encoding model needs at least two.")
    first = designs[0]
    labels = [design.label for design in designs]
    if len(set(labels)) < len(labels):
        raise InputError(f"Every run needs a label of its own, got {', '.join(labels)}.")
    for design, response in zip(designs, responses, strict=True):
        if response.ndim != 2 or len(response) != design.n_volumes:
            raise InputError(
                f"Run {design.label}: responses have shape {response.shape}, expected ({design.n_volumes}, "
                "n_targets)."
            )
        if response.shape[1] != responses[0].shape[1]:
            raise InputError(
                f"Run {design.label} has {response.shape[1]} targets, run {first.label} has "
                f"{responses[0].shape[1]}: "
                "prepare all runs with the same mask."
            )
        if abs(design.tr_s - first.tr_s) > 1e-4:
            raise InputError(
                f"Run {design.label} has a repetition time of {design.tr_s:g} s, run {first.label} of "
                f"{first.tr_s:g} s: "
                "runs of one model must share it."
            )
        shapes = {space: values.shape[1] for space, values in design.features.items()}
        if shapes != {space: values.shape[1] for space, values in first.features.items()} or not shapes:
            raise InputError(f"Run {design.label} has other feature spaces than run {first.label}: {shapes}.")
        for space, values in design.features.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f"Run {design.label}: the features of {space} are not all finite; extract them again."
                )
    return responses[0].shape[1]
