"""The solvers as scikit-learn estimators: many targets, and runs as groups.

    EncodingRidge().fit(X, Y, groups=runs).predict(X_new)

Arrays in and out; films, delays and principal components are `cinebold.encoding.fit`'s. This module alone imports
scikit-learn.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cinebold.encoding.scores import HeldOutSums, held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.solvers.banded_ridge import N_STEPS, BandedRidge, gamma_candidates, solve_banded_ridge
from cinebold.encoding.solvers.dual_ridge import ridge_cost, solve_dual_ridge
from cinebold.encoding.solvers.elastic_net import ElasticNetSolver
from cinebold.encoding.solvers.lasso import LassoSolver
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.solvers.ridge_path import (
    RidgeFit,
    choose,
    leave_one_out,
    pool,
    rising,
    scoring_of,
    solve_ridge_over_runs,
)
from cinebold.encoding.statistics import CentredStatistics, RunStatistics, accumulate
from cinebold.errors import SettingError

_N_BLOCKS = 5


class _EncodingModel(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Linear encoding model whose alpha is chosen for each target by leaving out one run at a time.

    Attributes
    ----------
    coef_ : (n_targets, n_features), or (n_features,) where Y was one-dimensional
    intercept_ : (n_targets,) or a number
    alpha_ : (n_targets,) chosen alphas
    inner_score_ : (n_targets,) the score that was maximised; optimistic, as it chose alpha
    """

    def fit(self, X: np.ndarray, Y: np.ndarray, groups: Sequence | None = None) -> "_EncodingModel":
        """Choose alphas and fit.

        Parameters
        ----------
        X : (n_samples, n_features)
        Y : (n_samples, n_targets) or (n_samples,)
        groups : (n_samples,) run of each sample; each run is centred on its own mean and left out in turn.
            None: five blocks of consecutive samples are left out in turn, with one mean for all.
        """
        X, Y = validate_data(
            self,
            X,
            Y,
            multi_output=True,
            y_numeric=True,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
        )
        Y = Y if np.issubdtype(Y.dtype, np.floating) else Y.astype(np.float64)
        targets = Y[:, np.newaxis] if Y.ndim == 1 else Y
        rows = _rows(len(X), groups)
        grid = rising(self._default_alphas() if self.alphas is None else self.alphas)
        scoring_of(self.scoring)
        fit, alphas = self._solve(
            [X[own] for own in rows], [targets[own] for own in rows], grid, groups is not None
        )
        one = Y.ndim == 1
        self.coef_ = fit.weights[:, 0] if one else fit.weights.T
        self.intercept_ = float(fit.intercept[0]) if one else fit.intercept
        self.alpha_ = alphas
        self.inner_score_ = fit.inner_score
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n_samples, n_targets), or (n_samples,) where Y was one-dimensional."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return X @ self.coef_.T + self.intercept_

    def target_scores(
        self, X: np.ndarray, Y: np.ndarray, groups: Sequence | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """r and R2 of each target, both pooled over runs that are centred on their own means.

        `score` is scikit-learn's: R2 without that centring, averaged over targets.
        """
        predicted = self.predict(X)
        Y = np.asarray(Y)
        if Y.shape != predicted.shape:
            raise ValueError(f"Y must have the shape of the predictions, {predicted.shape}, got {Y.shape}.")
        wide = (len(Y), -1)
        rows = [slice(None)] if groups is None else _rows(len(Y), groups, least=1)
        sums = [sums_of_predictions(Y.reshape(wide)[own], predicted.reshape(wide)[own]) for own in rows]
        return held_out_r(sums), held_out_rsquared(sums)


class EncodingRidge(_EncodingModel):
    """Ridge, one alpha a target: in the primal or the dual, whichever is less work.

    Parameters
    ----------
    alphas : rising; None: the grid of `RidgeSolver`
    scoring : "rsquared" or "r", what chooses alpha
    path : "primal", "dual" or "auto" (`ridge_cost`)
    unit_free : penalties are alpha * trace(G) / p; False: alpha
    single_precision : products over a run, and the scores that choose alpha, in float32, in half the time
    voxel_tile : targets in memory at once; changes no result
    """

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        *,
        scoring: str = "rsquared",
        path: str = "auto",
        unit_free: bool = True,
        single_precision: bool = False,
        voxel_tile: int = 1024,
    ) -> None:
        self.alphas = alphas
        self.scoring = scoring
        self.path = path
        self.unit_free = unit_free
        self.single_precision = single_precision
        self.voxel_tile = voxel_tile

    def _default_alphas(self) -> tuple[float, ...]:
        return RidgeSolver.default_alphas

    def _solve(self, x: list, y: list, grid: np.ndarray, centre_runs: bool) -> tuple[RidgeFit, np.ndarray]:
        solvers = {"primal": solve_ridge_over_runs, "dual": solve_dual_ridge}
        if self.path not in ("auto", *solvers):
            raise SettingError(f"path must be 'auto', 'primal' or 'dual', got {self.path!r}.")
        n_samples = sum(len(run) for run in x)
        cost = ridge_cost(n_samples, x[0].shape[1], y[0].shape[1], len(x), len(grid))
        self.path_ = cost.path if self.path == "auto" else self.path
        fit = solvers[self.path_](
            x,
            y,
            grid,
            scoring=self.scoring,
            unit_free=self.unit_free,
            centre_runs=centre_runs,
            dtype=np.float32 if self.single_precision else np.float64,
            voxel_tile=self.voxel_tile,
        )
        return fit, grid[fit.alpha_index]


class EncodingBandedRidge(_EncodingModel):
    """Banded ridge: each target weighs the feature spaces itself, by a random search and then by Newton's method on its
    inner score (`solve_banded_ridge`). `alpha_` may lie between the alphas.

    Parameters
    ----------
    spaces : number of columns of each feature space, in their order; None: one space
    alphas, scoring, unit_free, single_precision, voxel_tile : as in `EncodingRidge`
    n_candidates : gammas of the random search
    n_steps : most Newton steps that refine each target's gammas and alpha after it; 0: none
    random_state : of the candidates

    Attributes
    ----------
    gammas_ : (n_spaces, n_targets), on the simplex
    """

    def __init__(
        self,
        spaces: Sequence[int] | None = None,
        alphas: Sequence[float] | None = None,
        *,
        n_candidates: int = 30,
        n_steps: int = N_STEPS,
        scoring: str = "rsquared",
        unit_free: bool = True,
        single_precision: bool = False,
        voxel_tile: int = 8192,
        random_state: int = 0,
    ) -> None:
        self.spaces = spaces
        self.alphas = alphas
        self.n_candidates = n_candidates
        self.n_steps = n_steps
        self.scoring = scoring
        self.unit_free = unit_free
        self.single_precision = single_precision
        self.voxel_tile = voxel_tile
        self.random_state = random_state

    def _default_alphas(self) -> tuple[float, ...]:
        return RidgeSolver.default_alphas

    def _solve(self, x: list, y: list, grid: np.ndarray, centre_runs: bool) -> tuple[RidgeFit, np.ndarray]:
        spaces = [x[0].shape[1]] if self.spaces is None else list(self.spaces)
        candidates = gamma_candidates(len(spaces), self.n_candidates, seed=self.random_state)
        n_targets = y[0].shape[1]
        gammas, alphas = np.empty((len(spaces), n_targets)), np.empty(n_targets)

        def solve(runs: list[RunStatistics], tile: slice) -> BandedRidge:
            fit = solve_banded_ridge(
                pool(runs, range(len(runs)), centre_runs),
                [
                    (pool(runs, train, centre_runs), pool(runs, test, centre_runs))
                    for train, test in leave_one_out(len(runs))
                ],
                spaces,
                grid,
                candidates,
                n_steps=self.n_steps,
                scoring=self.scoring,
                unit_free=self.unit_free,
                dtype=np.float32 if self.single_precision else np.float64,
            )
            gammas[:, tile], alphas[tile] = fit.gammas, fit.alphas
            return fit

        fit = _by_tiles(x, y, self.voxel_tile, solve)
        self.gammas_ = gammas
        return fit, alphas


class EncodingLasso(_EncodingModel):
    """LASSO, one alpha a target (`solve_lasso_path`).

    Parameters
    ----------
    alphas : rising shares of each target's alpha_max; None: the grid of `LassoSolver`
    scoring : "rsquared" or "r", what chooses alpha
    voxel_tile : targets in memory at once; changes no result
    """

    def __init__(
        self, alphas: Sequence[float] | None = None, *, scoring: str = "rsquared", voxel_tile: int = 4096
    ) -> None:
        self.alphas = alphas
        self.scoring = scoring
        self.voxel_tile = voxel_tile

    def _default_alphas(self) -> tuple[float, ...]:
        return LassoSolver.default_alphas

    def _solve(self, x: list, y: list, grid: np.ndarray, centre_runs: bool) -> tuple[RidgeFit, np.ndarray]:
        def solve(runs: list[RunStatistics], tile: slice) -> RidgeFit:
            sums = []
            for train, test in leave_one_out(len(runs)):
                known, held_out = pool(runs, train, centre_runs), pool(runs, test, centre_runs)
                solver = self._solver(known)
                pair = solver.held_out_sums(known.cross, known.total, held_out.gram, held_out.cross, grid)
                sums.append(HeldOutSums(held_out.n, held_out.total, *pair))
            score, index = choose(scoring_of(self.scoring)(sums))
            whole = pool(runs, range(len(runs)), centre_runs)
            weights = self._solver(whole).weights(whole.cross, whole.total, grid[index])
            return RidgeFit(weights, np.empty(0), index, score)

        fit = _by_tiles(x, y, self.voxel_tile, solve)
        return fit, grid[fit.alpha_index]

    def _solver(self, training: CentredStatistics) -> LassoSolver:
        return LassoSolver(training.gram, training.n)


class EncodingElasticNet(EncodingLasso):
    """Elastic net, one alpha a target (`ElasticNetSolver`).

    Parameters
    ----------
    alphas, scoring, voxel_tile : as in `EncodingLasso`
    l1_ratio : share of the penalty that is l1, above 0 and at most 1 (the LASSO)
    """

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        *,
        l1_ratio: float = 0.5,
        scoring: str = "rsquared",
        voxel_tile: int = 4096,
    ) -> None:
        super().__init__(alphas, scoring=scoring, voxel_tile=voxel_tile)
        self.l1_ratio = l1_ratio

    def _solver(self, training: CentredStatistics) -> ElasticNetSolver:
        return ElasticNetSolver(training.gram, training.n, self.l1_ratio)


def _by_tiles(x: list, y: list, voxel_tile: int, solve) -> RidgeFit:  # type: ignore[no-untyped-def]
    """Solve tile after tile of targets on the statistics of the runs."""
    shift = sum(run.sum(axis=0, dtype=np.float64) for run in x) / sum(len(run) for run in x)
    x = [run - shift for run in x]
    known = [accumulate(run, np.zeros((len(run), 0))) for run in x]
    n_targets = y[0].shape[1]
    weights = np.empty((x[0].shape[1], n_targets), dtype=np.result_type(y[0].dtype, np.float32))
    intercept, score, index = np.empty(n_targets), np.empty(n_targets), np.empty(n_targets, dtype=np.int64)
    for start in range(0, n_targets, voxel_tile):
        tile = slice(start, start + voxel_tile)
        runs = [accumulate(a, b[:, tile], run.xx) for a, b, run in zip(x, y, known, strict=True)]
        fit = solve(runs, tile)
        weights[:, tile], index[tile], score[tile] = fit.weights, fit.alpha_index, fit.inner_score
        whole = pool(runs, range(len(runs)))
        intercept[tile] = whole.mean_y - (whole.mean_x + shift) @ fit.weights
    return RidgeFit(weights, intercept, index, score)


def _rows(n_samples: int, groups: Sequence | None, least: int = 2) -> list[slice | np.ndarray]:
    """Samples of each run; slices, which copy nothing, where its samples are neighbours."""
    if groups is None:
        n_blocks = min(_N_BLOCKS, max(n_samples // 2, 2))
        bounds = np.linspace(0, n_samples, n_blocks + 1).astype(int)
        return [slice(first, last) for first, last in pairwise(bounds)]
    labels = np.asarray(groups)
    if labels.shape != (n_samples,):
        raise ValueError(f"groups must name the run of each of {n_samples} samples, got {labels.shape}.")
    found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(found) < least:
        raise ValueError(f"groups must hold at least {least} runs to leave one out, found {len(found)}.")
    return [slice(own[0], own[-1] + 1) if own[-1] - own[0] + 1 == len(own) else own for own in found]
