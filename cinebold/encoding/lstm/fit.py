"""Fit, test and save an LSTM encoder: as `fit.fit_encoding_model`, with a linear ridge beside it."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from cinebold.design.delays import delays_in_volumes
from cinebold.design.hrf import hrf_kernel
from cinebold.design.run_design import RunDesign
from cinebold.encoding.diagnostics import describe_fit, edge_shares, edge_warnings, predicted_voxels
from cinebold.encoding.fit import EncodingResult, fit_encoding_model
from cinebold.encoding.folds import TrainingSet, outer_folds, whole_set
from cinebold.encoding.lstm.model import LSTMModel
from cinebold.encoding.lstm.network import LSTMSettings, repeatable_products
from cinebold.encoding.lstm.training import READOUT_ALPHAS, TrainedNetworks, train_networks
from cinebold.encoding.permutation import draw_test
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.tile_fit import FitMaps, FitPlan, fit_tile
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import SettingError

logger = logging.getLogger(__name__)


def fit_lstm_model(
    designs: Sequence[RunDesign],
    responses: Sequence[np.ndarray],
    settings: EncodingSettings,
    delays_s: Sequence[float],
    *,
    progress: bool = False,
    device: str = "cpu",
    lstm: LSTMSettings = LSTMSettings(),  # noqa: B008 (frozen)
) -> EncodingResult:
    """Fit an LSTM encoder and score it on held-out data, and a linear ridge with the same folds beside it.

    The network reads the component scores of all feature spaces, each space divided by its unit, without delays: it
    finds the lag by itself. Its states are read out by ridge, each voxel's alpha chosen by inner folds
    (`training.TrainedNetworks`). Rows, folds, reducers, scores and permutation test are those of the ridge,
    so that the maps of both can be compared voxel by voxel. Rows that are not scored stay in the sequences.

    The networks learn from components of the responses, so their cost does not grow with the voxels: for four runs of
    900 volumes and 80 columns an epoch of a training set's three inner networks takes about a tenth of a second
    on one core, validation included. What is left is ridge on `n_hidden` columns for every voxel.

    Parameters
    ----------
    settings : `alphas`, `hrf` and `alpha_unit` are of the ridge alone
    delays_s : of the ridge; rows and folds of both follow from them
    device : where the networks learn, "cpu" or "cuda[:N]"

    Returns
    -------
    maps as of any estimator, but no alpha (it says something about the states, not about the features), and
    `r_desc-ridge`, `rsquared_desc-ridge`; `model` is an `LSTMModel`

    Raises
    ------
    InputError, SettingError : as `fit_encoding_model`, and where feature spaces are to be compared
    """
    for name in ("variance_partitioning", "layers"):
        if getattr(settings, name):
            raise SettingError(f"{name} is for linear estimators: choose another than lstm, or leave it out.")
    ridge = fit_encoding_model(
        designs,
        responses,
        replace(settings, estimator="ridge"),
        delays_s,
        progress=progress,
        device=device,
    )
    order = sorted(range(len(designs)), key=lambda index: designs[index].label)
    designs = [designs[index] for index in order]
    responses = [responses[index] for index in order]
    settings = replace(settings, estimator="lstm")
    if settings.hrf == "none":
        delays: Sequence[int] = delays_in_volumes(delays_s, designs[0].tr_s)
    else:
        delays = range(len(hrf_kernel(settings.hrf, designs[0].tr_s)))
    rows = stack_rows(designs, delays, settings.include_rest)
    folds = outer_folds(rows, max(delays), settings.cross_validation)
    everything = whole_set(rows, max(delays), settings.cross_validation)
    n_targets = responses[0].shape[1]
    undelayed = replace(settings, estimator="ridge", alphas=None, alpha_unit="relative", hrf="none")

    def networks_of(fold: TrainingSet) -> TrainedNetworks:
        prepared = prepare_training(fold, rows, designs, (0,), undelayed)
        return train_networks(prepared, rows, designs, responses, lstm, seed=settings.seed, device=device)

    with one_thread_products() as n_threads, repeatable_products():
        # On a GPU the networks take turns: its streams would add up in another order.
        at_once = n_threads if device == "cpu" else 1
        *outer, final = _all_of(networks_of, [*folds, everything], at_once, progress)
        plan = FitPlan(
            settings=settings,
            alphas=READOUT_ALPHAS if lstm.readout_alphas is None else lstm.readout_alphas,
            rows=rows,
            outer=tuple(networks.states for networks in outer),
            final=final.states,
            test=draw_test(settings, rows, designs, np.any([fold.test for fold in folds], axis=0))[0],
            repeats=(),
        )
        maps = FitMaps(plan, n_targets)
        maps.weights = np.full((final.states.features.shape[1], n_targets), np.nan, dtype=np.float32)
        tiles = [
            slice(start, min(start + settings.voxel_tile, n_targets))
            for start in range(0, n_targets, settings.voxel_tile)
        ]
        run_tiles(lambda part: fit_tile(plan, maps, part, responses), tiles, n_threads, progress)

    found = maps.by_statistic()
    del found["alpha"]
    found = {name: values.astype(np.float32) for name, values in found.items()}
    if "noiseceiling" in ridge.maps:
        ceiling = ridge.maps["noiseceiling"]
        found["noiseceiling"] = ceiling
        found["rnorm"] = found["r"] / np.where(ceiling >= settings.ceiling_floor, ceiling, np.nan)
    for name in ("r", "rsquared"):
        found[f"{name}_desc-ridge"] = ridge.maps[name]
    predicted = predicted_voxels(found["rsquared"], found.get("q"), settings.q)
    comparison, warnings = _compare(found, ridge.maps, predicted, settings.q)
    shares = edge_shares(plan.alphas, maps.alpha_index, predicted)
    # The least alpha of the default grid is next to none: there is nothing to widen.
    told = shares if lstm.readout_alphas is not None else {"largest": shares.get("largest", 0.0)}
    warnings = [*ridge.warnings, *warnings, *edge_warnings("lstm read-out", plan.alphas, told)]
    for warning in warnings[len(ridge.warnings) :]:
        logger.warning(warning)
    diagnostics = _describe(plan, maps, shares, [*outer, final], lstm, device)
    diagnostics |= {"lstm_minus_ridge": comparison, "ridge": ridge.diagnostics}
    if "noise_ceiling" in ridge.diagnostics:
        diagnostics["noise_ceiling"] = ridge.diagnostics["noise_ceiling"]
    model = LSTMModel(
        reducers=final.states.reducers,
        tr_s=designs[0].tr_s,
        network=final.network,
        readout=maps.weights[: final.network.n_hidden].copy(),
        intercept=maps.intercept,
        names={space: tuple(designs[0].names.get(space, ())) for space in final.states.reducers},
        card=diagnostics,
    )
    return EncodingResult(maps=found, model=model, diagnostics=diagnostics, warnings=warnings)


def _all_of(
    work: Callable[[TrainingSet], TrainedNetworks], folds: Sequence[TrainingSet], at_once: int, progress: bool
) -> list[TrainedNetworks]:
    """The networks of all folds, so many at once, each with one thread."""
    with ThreadPoolExecutor(max(min(at_once, len(folds)), 1)) as threads:
        done = threads.map(work, folds)
        if progress:
            from tqdm import tqdm

            done = tqdm(done, total=len(folds), desc="LSTM", unit="fold")
        return list(done)


def _compare(
    maps: dict[str, np.ndarray], ridge: dict[str, np.ndarray], predicted: np.ndarray, q: float
) -> tuple[dict[str, Any], list[str]]:
    """LSTM against ridge over the voxels that either predicts, and a warning where the network adds nothing."""
    either = predicted | predicted_voxels(ridge["rsquared"], ridge.get("q"), q)
    if not either.any():
        return {"n_voxels": 0}, ["Neither the LSTM nor the ridge beside it predicts any voxel."]
    gain = maps["r"][either].astype(np.float64) - ridge["r"][either]
    gain_rsquared = maps["rsquared"][either].astype(np.float64) - ridge["rsquared"][either]
    comparison = {
        "voxels": "those that either model predicts",
        "n_voxels": int(either.sum()),
        "mean_r_difference": float(gain.mean()),
        "mean_rsquared_difference": float(gain_rsquared.mean()),
        "share_of_voxels_with_higher_r": float((gain > 0).mean()),
    }
    if gain.mean() > 0:
        return comparison, []
    return comparison, [
        f"The LSTM is not better than the linear ridge: over the {either.sum()} voxels that either predicts its "
        f"held-out r is {-gain.mean():.3f} lower on average; prefer the ridge unless you have a reason."
    ]


def _describe(
    plan: FitPlan,
    maps: FitMaps,
    shares: dict[str, float],
    networks: Sequence[TrainedNetworks],
    lstm: LSTMSettings,
    device: str,
) -> dict[str, Any]:
    """The facts of `describe_fit`, with those of the networks in place of delays."""
    facts = describe_fit(plan, (), maps, shares)
    for name in ("delays_volumes", "hrf"):
        del facts[name]
    facts["alpha_choice"] = "of the read-out from the states: " + facts["alpha_choice"]
    facts["alpha_unit"] = "relative"
    for training, own in zip([*facts["folds"], facts["final"]], networks, strict=True):
        training |= own.diagnostics()
    settings = asdict(lstm)
    settings["readout_alphas"] = [float(alpha) for alpha in plan.alphas]
    return facts | {
        "lstm": settings
        | {
            "device": device,
            "validation": "inner folds in turn; the epoch of the largest R2 pooled over them, then all training rows",
            "repeatable": device == "cpu" or "CUBLAS_WORKSPACE_CONFIG" in os.environ,
        }
    }
