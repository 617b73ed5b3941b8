"""Fit, test and save an encoding model: designs and responses of some runs in, maps and a model out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cinebold.design.delays import delays_in_volumes
from cinebold.design.run_design import RunDesign
from cinebold.encoding import significance
from cinebold.encoding.diagnostics import describe_fit, edge_shares, edge_warnings, predicted_voxels
from cinebold.encoding.estimators import estimator
from cinebold.encoding.folds import leave_one_run_out, whole_set
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.noise_ceilings import Repeat, find_repeats, repeat_ceiling
from cinebold.encoding.rows import Rows, stack_rows
from cinebold.encoding.scores import held_out_r, held_out_rsquared
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.encoding.training import PreparedTraining, held_out_sums, prepare_training, train
from cinebold.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodingResult:
    """What a fit gives back."""

    maps: dict[str, np.ndarray]  #: r, rsquared, alpha[, p, q, z][, noiseceiling] -> (n_targets,) float32
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
) -> EncodingResult:
    """Fit a voxelwise encoding model and score it on held-out runs.

    Every run is held out in turn. Scale, principal components and each voxel's alpha are learned on the other
    runs alone, alpha by leave-one-run-out among them (`folds.inner_folds`); r and R2 pool the held-out runs,
    each centred on its mean. The model that is given back is fitted on all runs, with alphas chosen by
    leave-one-run-out over all.

    Several feature spaces stand side by side, each divided by the root of its total variance on the training
    rows, so that the penalty weighs equally on them. p values come from circular shifts
    (`significance.ShiftTest`).

    Parameters
    ----------
    designs : one a run, in any order
    responses : one (n_volumes, n_targets) array or memory map a run, of any floating width; only `voxel_tile`
        columns at a time are read. A column that is constant or not finite in any run has NaN in every map and is
        counted.
    delays_s : seconds, rounded to volumes

    Raises
    ------
    InputError : one run only, runs that do not fit together, no rows left to train on
    """
    order = sorted(range(len(designs)), key=lambda index: designs[index].label)
    designs = [designs[index] for index in order]
    if len(responses) != len(designs):
        raise InputError(
            f"{len(designs)} designs but {len(responses)} response arrays: one of each is needed a run."
        )
    responses = [responses[index] for index in order]
    n_targets = _check_runs(designs, responses)
    kind = estimator(settings.estimator)
    alphas = tuple(sorted(settings.alphas if settings.alphas is not None else kind.default_alphas))
    delays = delays_in_volumes(delays_s, designs[0].tr_s)

    rows = stack_rows(designs, delays, settings.include_rest)
    folds = leave_one_run_out(rows, max(delays))
    repeats = find_repeats(rows, designs)
    test, warnings = None, []
    if settings.n_permutations:
        minimum = int(np.ceil(settings.minimum_shift_s / designs[0].tr_s))
        lengths = [design.n_volumes for design in designs]
        shifts, warnings = significance.draw_shifts(lengths, minimum, settings.n_permutations, settings.seed)
        test = significance.ShiftTest(shifts)

    tiles = [
        slice(start, min(start + settings.voxel_tile, n_targets))
        for start in range(0, n_targets, settings.voxel_tile)
    ]
    with one_thread_products() as n_threads:
        final = prepare_training(whole_set(rows, max(delays)), rows, designs, delays, settings)
        outer = [prepare_training(fold, rows, designs, delays, settings) for fold in folds]
        maps = _Maps(n_targets, final.features.shape[1], settings.n_permutations > 0, bool(repeats))

        def fit_tile(part: slice) -> None:
            _fit_tile(maps, part, responses, rows, outer, final, alphas, test, repeats)

        run_tiles(fit_tile, tiles, n_threads, progress)

    result_maps = maps.by_statistic(alphas, settings.n_permutations)
    n_invalid = int((~maps.valid).sum())
    if n_invalid:
        warnings.append(
            f"{n_invalid} of {n_targets} voxels are constant or not finite in a run; they are NaN in all "
            "maps."
        )
    predicted = predicted_voxels(maps.rsquared, result_maps.get("q"), settings.q)
    shares = edge_shares(alphas, maps.alpha_index, predicted)
    warnings += edge_warnings(settings.estimator, alphas, shares)
    diagnostics = describe_fit(settings, alphas, delays, rows, outer, final, repeats, maps, shares)
    model = _assemble_model(final, maps, designs, delays, diagnostics)
    for warning in warnings:
        logger.warning(warning)
    return EncodingResult(
        maps={name: values.astype(np.float32) for name, values in result_maps.items()},
        model=model,
        diagnostics=diagnostics,
        warnings=warnings,
    )


class _Maps:
    """The results, filled in tile by tile."""

    def __init__(self, n_targets: int, n_columns: int, permutations: bool, ceiling: bool) -> None:
        self.valid = np.zeros(n_targets, dtype=bool)
        self.r = np.full(n_targets, np.nan)
        self.rsquared = np.full(n_targets, np.nan)
        self.alpha_index = np.zeros(n_targets, dtype=np.int64)
        self.weights = np.full((n_columns, n_targets), np.nan, dtype=np.float32)
        self.intercept = np.full(n_targets, np.nan, dtype=np.float32)
        self.n_at_least = np.zeros(n_targets, dtype=np.int64) if permutations else None
        self.ceiling = np.full(n_targets, np.nan) if ceiling else None

    def by_statistic(self, alphas: Sequence[float], n_permutations: int) -> dict[str, np.ndarray]:
        """The maps under the names that users see."""
        alpha = np.where(self.valid, np.asarray(alphas)[self.alpha_index], np.nan)
        found = {"r": self.r, "rsquared": self.rsquared, "alpha": alpha}
        if n_permutations:
            p = np.where(self.valid, significance.p_values(self.n_at_least, n_permutations), np.nan)
            found |= {
                "p": p,
                "q": significance.benjamini_hochberg(p),
                "z": significance.z_values(p, n_permutations),
            }
        if self.ceiling is not None:
            found["noiseceiling"] = self.ceiling
        return found


def _fit_tile(
    maps: _Maps,
    part: slice,
    responses: Sequence[np.ndarray],
    rows: Rows,
    outer: Sequence[PreparedTraining],
    final: PreparedTraining,
    alphas: Sequence[float],
    test: significance.ShiftTest | None,
    repeats: Sequence[Repeat],
) -> None:
    """All that is to be known of some voxels, from one reading of their responses."""
    y, means, valid = _read_tile(responses, rows, part)
    if not valid.any():
        return
    y = y[:, valid]
    targets = np.arange(part.start, part.stop)[valid]

    held_out, predictions = [], []
    for prepared in outer:
        trained = train(prepared, y, alphas)
        held_out.append(held_out_sums(prepared, trained, y))
        if test is not None:
            run = rows.labels.index(prepared.fold.name)
            predictions.append(prepared.features[rows.run == run] @ trained.weights)
    r = held_out_r(held_out)
    maps.r[targets] = r
    maps.rsquared[targets] = held_out_rsquared(held_out)
    if test is not None:
        in_run = [rows.run == run for run in range(len(rows.labels))]
        maps.n_at_least[targets] = significance.shifted_r_at_least(
            test, r, [y[mask] for mask in in_run], predictions, [rows.used[mask] for mask in in_run]
        )
    if repeats:
        maps.ceiling[targets] = repeat_ceiling(y, repeats)

    trained = train(final, y, alphas)
    maps.alpha_index[targets] = trained.alpha_index
    maps.weights[:, targets] = trained.weights
    maps.intercept[targets] = (
        trained.statistics.mean_y + means[valid] - trained.statistics.mean_x @ trained.weights
    )
    maps.valid[targets] = True


def _read_tile(
    responses: Sequence[np.ndarray], rows: Rows, part: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses of some voxels in float64, each run on its provisional mean over the rows that are used.

    Raw BOLD of mean 10,000 and deviation 100 would lose digits in sums of squares. Unused rows that are not
    finite are set to 0, as nothing reads them.

    Returns
    -------
    (n_rows, n_targets), the mean of the provisional means over used rows (n_targets,), and which voxels are
    finite and vary in every run (n_targets,)
    """
    tiles, valid = [], True
    mean = np.zeros(part.stop - part.start)
    for run, response in enumerate(responses):
        used = rows.used[rows.run == run]
        tile = np.array(response[:, part], dtype=np.float64)
        scored = tile[used]
        valid = valid & np.isfinite(scored).all(axis=0) & (scored.max(axis=0) > scored.min(axis=0))
        with np.errstate(invalid="ignore"):
            run_mean = scored.mean(axis=0)
        mean += run_mean * used.sum() / rows.used.sum()
        with np.errstate(invalid="ignore"):
            tile -= run_mean
        tile[~used] = np.nan_to_num(tile[~used], nan=0.0, posinf=0.0, neginf=0.0)
        tiles.append(tile)
    return np.concatenate(tiles), mean, valid


def _assemble_model(
    final: PreparedTraining,
    maps: _Maps,
    designs: Sequence[RunDesign],
    delays: tuple[int, ...],
    diagnostics: dict[str, Any],
) -> EncodingModel:
    """Weights by space and delay, in units of the scores before they were divided by their space's unit."""
    n_targets = maps.weights.shape[1]
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
        delays=delays,
        tr_s=designs[0].tr_s,
        weights=weights,
        intercept=maps.intercept,
        names={space: tuple(designs[0].names.get(space, ())) for space in final.reducers},
        card=diagnostics,
    )


def _check_runs(designs: Sequence[RunDesign], responses: Sequence[np.ndarray]) -> int:
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
                f"Run {design.label} has {response.shape[1]} voxels, run {first.label} has "
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
