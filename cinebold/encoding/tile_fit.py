"""All that is to be known of a tile of voxels, from one reading of their responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cinebold.encoding import layers, significance
from cinebold.encoding.film_ceilings import Repeat, film_ceiling
from cinebold.encoding.permutation import PermutationTest
from cinebold.encoding.preprocessing import columns_of_spaces
from cinebold.encoding.rows import Rows
from cinebold.encoding.scores import HeldOutSums, held_out_r, held_out_rsquared, standardise_fold
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import Trained, held_out_statistics, held_out_sums, train
from cinebold.encoding.training_sets import CellStatistics, PreparedTraining
from cinebold.encoding.variance_partitioning import (
    SpaceSums,
    partial_rsquared,
    product_measure_rsquared,
    restricted,
    space_sums,
    unique_rsquared,
)


@dataclass(frozen=True)
class FitPlan:
    """What every tile of voxels goes through."""

    settings: EncodingSettings
    alphas: tuple[float, ...]  #: rising
    rows: Rows
    outer: tuple[PreparedTraining, ...]
    final: PreparedTraining
    test: PermutationTest | None
    repeats: tuple[Repeat, ...]
    _restricted: dict[tuple[int, frozenset[str]], tuple[PreparedTraining, np.ndarray]] = field(
        default_factory=dict
    )

    def restricted(
        self, prepared: PreparedTraining, spaces: frozenset[str]
    ) -> tuple[PreparedTraining, np.ndarray]:
        """`variance_partitioning.restricted` of a fold, decomposed once for all tiles."""
        key = (id(prepared), spaces)
        if key not in self._restricted:
            self._restricted[key] = restricted(prepared, spaces)
        return self._restricted[key]

    @property
    def spaces(self) -> tuple[str, ...]:
        """The feature spaces, in the order of the columns."""
        return tuple(self.final.reducers)

    @property
    def scored(self) -> np.ndarray:
        """(n_rows,) bool: rows that a fold holds out."""
        return np.any([prepared.fold.test for prepared in self.outer], axis=0)


class FitMaps:
    """The results, filled in tile by tile."""

    def __init__(self, plan: FitPlan, n_targets: int) -> None:
        self.plan = plan
        self.valid = np.zeros(n_targets, dtype=bool)
        self.scores: dict[str, np.ndarray] = {}  #: name -> (n_targets,), allocated when first filled
        self.alpha = np.full(n_targets, np.nan)
        self.alpha_index = np.zeros(n_targets, dtype=np.int64)
        sizes = sum(reducer.n_components for reducer in plan.final.reducers.values())
        self.weights = np.full((sizes * plan.final.n_bases, n_targets), np.nan, dtype=np.float32)
        self.intercept = np.full(n_targets, np.nan, dtype=np.float32)
        #: (n_folds + 1, n_targets) effective degrees of freedom, the final model last
        self.freedom = np.full((len(plan.outer) + 1, n_targets), np.nan, dtype=np.float32)
        self.maxima: dict[int, np.ndarray] = {}  #: first target of a tile -> (n_permutations,) largest r

    def fill(self, name: str, targets: np.ndarray, values: np.ndarray) -> None:
        """Put a tile's values into the map `name`."""
        everywhere = self.scores.setdefault(name, np.full(len(self.valid), np.nan))
        everywhere[targets] = values

    def by_statistic(self) -> dict[str, np.ndarray]:
        """The maps under the names that users see."""
        plan = self.plan
        scores = {name: self.scores.get(name, np.full(len(self.valid), np.nan)) for name in ("r", "rsquared")}
        found = scores | {"alpha": self.alpha}
        if plan.test is not None and "p" in self.scores:
            p = self.scores["p"]
            n_permutations = plan.settings.n_permutations
            found |= {
                "p": p,
                "pfwe": significance.family_wise_p(found["r"], np.maximum.reduce(list(self.maxima.values()))),
                "q": significance.benjamini_hochberg(p),
                "z": significance.z_values(p, n_permutations),
            }
        if "noiseceiling" in self.scores:
            ceiling = self.scores["noiseceiling"]
            found["noiseceiling"] = ceiling
            floor = plan.settings.ceiling_floor
            found["rnorm"] = found["r"] / np.where(ceiling >= floor, ceiling, np.nan)
        found |= {name: values for name, values in sorted(self.scores.items()) if "_desc-" in name}
        if plan.settings.layers and all(f"p_desc-{space}" in found for space in plan.spaces):
            found |= _layer_maps(plan, found)
        return found


def fit_tile(plan: FitPlan, maps: FitMaps, part: slice, responses: Sequence[np.ndarray]) -> None:
    """Train and score all folds on some voxels, test them, and fit the final model."""
    y, means, valid = read_tile(responses, plan.rows, part, plan.settings.intercept)
    if valid.any():
        targets = np.arange(part.start, part.stop)[valid]
        fit_targets(plan, maps, targets, y[:, valid], means[valid])


def fit_targets(plan: FitPlan, maps: FitMaps, targets: np.ndarray, y: np.ndarray, means: np.ndarray) -> None:
    """As `fit_tile`, for responses that have been read.

    Parameters
    ----------
    targets : (n_targets,) where the results go in the maps
    y : (n_rows, n_targets) about provisional means, or what stands for them in `PreparedTraining.statistics`
    means : (n_targets,) the provisional means
    """
    settings = plan.settings
    spaces = _SpaceScores(plan, len(targets)) if settings.variance_partitioning or settings.layers else None

    held_out = _HeldOut(plan, y.shape, plan.test is not None)
    for number, prepared in enumerate(plan.outer):
        cells = prepared.statistics(y, sorted({*prepared.train, *prepared.test}))
        trained = train(prepared, y, plan.alphas, cells)
        held_out.add(prepared, trained.weights, y, cells)
        maps.freedom[number, targets] = _freedom(prepared, trained)
        if spaces is not None:
            spaces.add(prepared, trained.weights, y, cells)
    r = held_out.r()
    maps.fill("r", targets, r)
    maps.fill("rsquared", targets, held_out.rsquared())
    if plan.test is not None:
        n_at_least, maps.maxima[int(targets[0])] = plan.test.permute(
            plan.rows, plan.scored, y, held_out.predictions, r
        )
        maps.fill("p", targets, significance.p_values(n_at_least, settings.n_permutations))
    if spaces is not None:
        for name, values in spaces.results(y, held_out).items():
            maps.fill(name, targets, values)
    if plan.repeats:
        maps.fill("noiseceiling", targets, film_ceiling(y, plan.repeats, settings.ceiling))
    _fit_final(plan, maps, y, means, targets)


def _fit_final(plan: FitPlan, maps: FitMaps, y: np.ndarray, means: np.ndarray, targets: np.ndarray) -> None:
    trained = train(plan.final, y, plan.alphas)
    maps.alpha[targets], maps.alpha_index[targets] = trained.alphas, trained.alpha_index
    maps.freedom[-1, targets] = _freedom(plan.final, trained)
    rotation = plan.final.rotation
    maps.weights[:, targets] = trained.weights if rotation is None else rotation @ trained.weights
    maps.intercept[targets] = trained.statistics.mean_y + means - trained.statistics.mean_x @ trained.weights
    if trained.gammas is not None:
        for space, gamma in zip(plan.spaces, trained.gammas, strict=True):
            maps.fill(f"gamma_desc-{space}", targets, gamma)
    maps.valid[targets] = True


class _HeldOut:
    """The held-out scores of one model of a tile, fold by fold, and its predictions where they are asked for."""

    def __init__(self, plan: FitPlan, shape: tuple[int, int], predict: bool) -> None:
        self.rows = plan.rows
        self.runs: dict[int, HeldOutSums] = {}
        self._standardised: dict[int, HeldOutSums] = {}  #: where folds share runs
        self.predictions = np.zeros(shape) if predict else None

    def add(
        self, prepared: PreparedTraining, weights: np.ndarray, y: np.ndarray, cells: CellStatistics
    ) -> None:
        """A fold, from its statistics."""
        sums = held_out_sums(prepared, weights, y, cells)
        add_sums(self.runs, sums)
        mean, scale = 0.0, 1.0
        if prepared.fold.by_films:
            changed, mean, deviation = standardise_fold(sums)
            add_sums(self._standardised, changed)
            scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        if self.predictions is not None:
            # Rows that are not scored are predicted as well: permuted predictions move over them.
            for run, columns_mean in prepared.run_means.items():
                own = prepared.fold.predicts & (self.rows.run == run)
                self.predictions[own] = ((prepared.features[own] - columns_mean) @ weights - mean) * scale

    def r(self) -> np.ndarray:
        """Held-out r, (n_targets,)."""
        return held_out_r(list((self._standardised or self.runs).values()))

    def rsquared(self) -> np.ndarray:
        """Held-out R2, (n_targets,)."""
        return held_out_rsquared(list(self.runs.values()))


class _SpaceScores:
    """Scores by feature space, over the folds of one tile."""

    def __init__(self, plan: FitPlan, n_targets: int) -> None:
        self.plan = plan
        shape = (len(plan.rows), n_targets)
        self.joint: dict[int, SpaceSums] = {}
        self.without = {space: _HeldOut(plan, shape, False) for space in plan.spaces}
        self.alone = {space: _HeldOut(plan, shape, plan.settings.layers) for space in plan.spaces}

    def add(
        self, prepared: PreparedTraining, weights: np.ndarray, y: np.ndarray, cells: CellStatistics
    ) -> None:
        """A fold: the joint model's sums by space, and the models of fewer spaces."""
        spaces, settings = self.plan.spaces, self.plan.settings
        if settings.variance_partitioning:
            sizes = {space: reducer.n_components for space, reducer in prepared.reducers.items()}
            columns = columns_of_spaces(sizes, prepared.n_bases)
            for run, test in held_out_statistics(prepared, y, cells).items():
                sums = space_sums(weights, test, columns)
                self.joint[run] = self.joint[run] + sums if run in self.joint else sums
            for space in spaces:
                self._add_model(self.without[space], prepared, set(spaces) - {space}, y, cells)
        if settings.layers:
            for space in spaces:
                self._add_model(self.alone[space], prepared, {space}, y, cells)

    def results(self, y: np.ndarray, joint: _HeldOut) -> dict[str, np.ndarray]:
        """The maps by space, `<statistic>_desc-<space>`."""
        plan, found = self.plan, {}
        if plan.settings.variance_partitioning:
            shares = product_measure_rsquared(list(self.joint.values()))
            found |= {f"product_desc-{s}": share for s, share in zip(plan.spaces, shares, strict=True)}
            runs = list(joint.runs.values())
            without = {space: list(scores.runs.values()) for space, scores in self.without.items()}
            found |= {f"unique_desc-{s}": values for s, values in unique_rsquared(runs, without).items()}
            found |= {f"partial_desc-{s}": values for s, values in partial_rsquared(runs, without).items()}
        if plan.settings.layers:
            for space, scores in self.alone.items():
                r = found[f"r_desc-{space}"] = scores.r()
                n_at_least, _ = plan.test.permute(plan.rows, plan.scored, y, scores.predictions, r)
                found[f"p_desc-{space}"] = significance.p_values(n_at_least, plan.settings.n_permutations)
        return found

    def _add_model(
        self,
        scores: _HeldOut,
        prepared: PreparedTraining,
        spaces: set[str],
        y: np.ndarray,
        cells: CellStatistics,
    ) -> None:
        fewer, columns = self.plan.restricted(prepared, frozenset(spaces))
        own = {cell: statistics.of_columns(columns) for cell, statistics in cells.items()}
        scores.add(fewer, train(fewer, y, self.plan.alphas, own).weights, y, own)


def add_sums(runs: dict[int, HeldOutSums], more: Mapping[int, HeldOutSums]) -> None:
    """Add a fold's held-out sums to those of the runs."""
    for run, sums in more.items():
        runs[run] = runs[run] + sums if run in runs else sums


def read_tile(
    responses: Sequence[np.ndarray], rows: Rows, part: slice, intercept: str = "run"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses of some voxels in float64, on provisional means over the rows that are used.

    Raw BOLD of mean 10,000 and deviation 100 would lose digits in sums of squares. Every run has a mean of its own,
    or all have one where the model has one intercept. Unused rows that are not finite are set to 0, as nothing
    reads them.

    Returns
    -------
    (n_rows, n_targets), the mean of the provisional means over used rows (n_targets,), and which voxels are
    finite and vary in every run (n_targets,)
    """
    tiles, used, run_means, valid = [], [], [], True
    for run, response in enumerate(responses):
        used.append(rows.used[rows.run == run])
        tile = np.array(response[:, part], dtype=np.float64)
        scored = tile[used[-1]]
        valid = valid & np.isfinite(scored).all(axis=0) & (scored.max(axis=0) > scored.min(axis=0))
        tiles.append(tile)
        with np.errstate(invalid="ignore"):
            run_means.append(scored.mean(axis=0))
    shares = [own.sum() / rows.used.sum() for own in used]
    mean = sum(share * own for share, own in zip(shares, run_means, strict=True))
    for tile, own, run_mean in zip(tiles, used, run_means, strict=True):
        with np.errstate(invalid="ignore"):
            tile -= run_mean if intercept == "run" else mean
        tile[~own] = np.nan_to_num(tile[~own], nan=0.0, posinf=0.0, neginf=0.0)
    return np.concatenate(tiles), mean, valid


def _freedom(prepared: PreparedTraining, trained: Trained) -> np.ndarray:
    return prepared.solver.degrees_of_freedom(trained.weights, trained.alphas)


def _layer_maps(plan: FitPlan, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    scores = np.stack([found[f"r_desc-{space}"] for space in plan.spaces])
    p = np.stack([found[f"p_desc-{space}"] for space in plan.spaces])
    significant = layers.significant_in_any_layer(p, plan.settings.q)
    return {
        "bestlayer": layers.best_layer(scores, significant),
        "centrelayer": layers.centre_of_mass_layer(scores, significant),
    }
