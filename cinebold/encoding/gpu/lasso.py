"""LASSO and elastic net of many voxels at once on a device: a product with the Gram matrix per iteration.

Each voxel goes down its falling alphas from the solution before. Rounds of accelerated proximal gradient steps
(FISTA, restarted at each round; Beck & Teboulle, 2009, SIAM J. Imaging Sci. 2; O'Donoghue & Candes, 2015, Found.
Comput. Math. 15) find which weights are not zero; Newton steps on those alone (`active_set`) then find their
values to the last digit. After each round the voxels whose duality gap is small enough are left out.

All is float64: a gap of 1e-8 of y'y cannot be seen in float32.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from cinebold.encoding.gpu.active_set import newton_on_support
from cinebold.encoding.gpu.device import (
    Downloads,
    checked_device,
    eigh,
    exact_products,
    to_device,
    voxel_tiles,
)
from cinebold.encoding.statistics import CentredStatistics
from cinebold.errors import SettingError

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-8
#: Scores that choose alpha need fewer digits than weights that are kept.
_SELECTION_TOLERANCE = 1e-6
_MAX_ITERATIONS = 10_000
#: Iterations of the first round and of the longest; each round is twice as long as the one before.
_ROUNDS = (8, 512)
#: Where few digits are needed and the condition number is below this, the first rounds go without Newton steps.
_WELL_CONDITIONED = 100.0
_ROUNDS_ALONE = 2
#: Held-out errors nearer than this share of y'y are a tie, which goes to the larger alpha.
_TIE = 1e-9


def solve_lasso_path(
    gram: np.ndarray,
    cross: np.ndarray,
    total: np.ndarray,
    n_samples: int,
    alphas: np.ndarray,
    tolerance: float = _TOLERANCE,
    max_iterations: int = _MAX_ITERATIONS,
    *,
    device: str,
    l1_ratio: float = 1.0,
    alpha_max: np.ndarray | None = None,
    voxel_tile: int = 16384,
) -> tuple[np.ndarray, np.ndarray]:
    """`solvers.lasso_path.solve_lasso_path` on a device, whose parameters these are; the same gap says when to stop.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
    max_iterations : of proximal gradient steps

    Returns
    -------
    weights (n_targets, n_alphas, n_features), duality gaps over y'y / n (n_targets, n_alphas)
    """
    import torch

    n_features, n_targets = cross.shape
    where = checked_device(device)
    alphas = np.asarray(alphas, dtype=np.float64)
    if not (alphas >= 0).all() or (np.diff(alphas, axis=1) > 0).any():
        raise SettingError("The alphas of a LASSO path must be falling and not negative.")
    _check_l1_ratio(l1_ratio)
    weights = np.empty((n_targets, alphas.shape[1], n_features))
    gaps = np.empty((n_targets, alphas.shape[1]))
    with exact_products(), Downloads(where) as results:
        problem = GramProblem(to_device(np.asarray(gram), where, torch.float64) / n_samples, l1_ratio)
        for part in voxel_tiles(n_targets, voxel_tile):
            c = to_device(np.asarray(cross)[:, part].T, where, torch.float64).contiguous() / n_samples
            s = to_device(np.asarray(total)[part], where, torch.float64) / n_samples
            if alpha_max is None:
                unit = c.abs().amax(dim=1, keepdim=True) / l1_ratio
            else:
                unit = to_device(np.asarray(alpha_max)[part], where, torch.float64)[:, None]
            penalties = unit * to_device(alphas[part] if len(alphas) > 1 else alphas, where, torch.float64)
            w = torch.zeros_like(c)
            for step in range(alphas.shape[1]):
                gap = problem.descend(c, s, penalties[:, step], w, tolerance, max_iterations)
                results.into(w.clone(), weights[part, step])
                results.into(gap, gaps[part, step])
    n_open = int((gaps > tolerance).sum())
    if n_open:
        logger.warning(
            "LASSO: %d of %d fits did not reach the duality gap of %g in %d iterations; the largest relative "
            "gap is %g.",
            n_open,
            gaps.size,
            tolerance,
            max_iterations,
            gaps.max(),
        )
    return weights, gaps


def choose_lasso_alphas(
    training: Sequence[CentredStatistics],
    held_out: Sequence[CentredStatistics],
    alphas: Sequence[float],
    alpha_max: np.ndarray,
    *,
    device: str,
    l1_ratio: float = 1.0,
    tolerance: float = _SELECTION_TOLERANCE,
    voxel_tile: int = 16384,
) -> tuple[np.ndarray, np.ndarray]:
    """`solvers.lasso_choice.choose_lasso_alphas` on a device.

    All folds of a voxel go down together, and its path ends where no smaller alpha can be the best.

    Returns
    -------
    index into `alphas` (n_targets,), held-out errors less y'y (n_alphas, n_targets), NaN where not needed
    """
    import torch

    where = checked_device(device)
    _check_l1_ratio(l1_ratio)
    falling = np.argsort(alphas, kind="stable")[::-1]
    shares = np.asarray(alphas, dtype=np.float64)[falling]
    n_targets = len(alpha_max)
    chosen = np.zeros(n_targets, dtype=np.int64)
    errors = np.full((len(shares), n_targets), np.nan)
    with exact_products(), Downloads(where) as results:
        grams = [to_device(np.asarray(fold.gram), where, torch.float64) for fold in training]
        test_grams = [to_device(np.asarray(fold.gram), where, torch.float64) for fold in held_out]
        problems = [GramProblem(gram / fold.n, l1_ratio) for gram, fold in zip(grams, training, strict=True)]
        bounded = l1_ratio == 1 and all(problem.well_posed for problem in problems)
        for part in voxel_tiles(n_targets, voxel_tile):

            def rows(values: np.ndarray, part: slice = part) -> Any:
                return to_device(np.asarray(values).T[part], where, torch.float64).contiguous()

            unit = rows(alpha_max)
            tie = _TIE * sum(rows(fold.total) for fold in held_out)
            crosses = [rows(fold.cross) / fold.n for fold in training]
            tests = [rows(fold.cross) for fold in held_out]
            totals = [rows(fold.total) / fold.n for fold in training]
            floor, reach = torch.full_like(unit, -torch.inf), torch.zeros_like(unit)
            if bounded:
                folds = zip(problems, crosses, test_grams, tests, strict=True)
                bounds = [problem.least_squares_bound(*fold) for problem, *fold in folds]
                floor, reach = (sum(values) for values in zip(*bounds, strict=True))
            open_ = torch.arange(len(unit), device=where)
            state = [torch.zeros_like(cross) for cross in crosses]
            best, index = torch.full_like(unit, torch.inf), torch.zeros_like(open_)
            found = torch.full((len(shares), len(unit)), torch.nan, dtype=torch.float64, device=where)
            for step, share in enumerate(shares):
                penalty = share * unit[open_]
                goes_on = ~(floor[open_] - penalty * reach[open_] >= best[open_])
                if not bool(goes_on.all()):
                    open_, penalty = open_[goes_on], penalty[goes_on]
                    state = [w[goes_on] for w in state]
                if not len(open_):
                    break
                error = torch.zeros_like(penalty)
                for fold, (problem, w) in enumerate(zip(problems, state, strict=True)):
                    problem.descend(
                        crosses[fold][open_],
                        totals[fold][open_],
                        penalty,
                        w,
                        tolerance,
                        _MAX_ITERATIONS,
                        exact=False,
                    )
                    error += (w * (w @ test_grams[fold] - 2 * tests[fold][open_])).sum(dim=1)
                found[step, open_] = error
                better = error < best[open_] - tie[open_]
                index[open_[better]] = step
                best[open_[better]] = error[better]
            results.into(index, chosen[part])
            results.into(found, errors[:, part])
    return falling[chosen], errors[np.argsort(falling)]


class GramProblem:
    """All voxels that share one X'X / n (n_features, n_features), on the device.

    min over w of s / 2 - w'c + w'Gw / 2 + a rho |w|_1 + a (1 - rho) |w|^2 / 2, with c = X'y / n and s = y'y / n.
    """

    def __init__(self, gram: Any, l1_ratio: float) -> None:
        import torch

        self.gram, self.l1_ratio = gram, l1_ratio
        scale = gram.diagonal().clamp(min=0).sqrt()
        inverse = torch.where(scale > 0, 1 / scale, 0.0)
        # Steps in units of each column: G is at most `stretch` times its diagonal.
        values, _ = eigh(inverse[:, None] * gram * inverse)
        self._curvature = values[-1].clamp(min=1.0) * scale.square()
        self._usable = scale > 0
        # Newton steps cost more than they save where steps along the gradient are good.
        self._rounds_alone = _ROUNDS_ALONE if bool(values[-1] < _WELL_CONDITIONED * values[0]) else 0

    @property
    def well_posed(self) -> bool:
        """Whether the least-squares solution is unique, as in `solvers.lasso_choice.choose_lasso_alphas`."""
        values, _ = eigh(self.gram)
        return bool(values[0] > 1e-10 * values[-1])

    def least_squares_bound(self, cross: Any, test_gram: Any, test_cross: Any) -> tuple[Any, Any]:
        """Held-out error of the least-squares solution, and how fast it can fall with the penalty."""
        import torch

        least_squares = torch.linalg.solve(self.gram, cross.T)
        image = test_gram @ least_squares
        crossed = test_cross.T
        error = (least_squares * (image - 2 * crossed)).sum(dim=0)
        return error, 2 * torch.linalg.solve(self.gram, image - crossed).abs().sum(dim=0)

    def descend(
        self,
        cross: Any,
        total: Any,
        penalty: Any,
        weights: Any,
        tolerance: float,
        max_iterations: int,
        exact: bool = True,
    ) -> Any:
        """Solve all voxels from where `weights` (n_targets, n_features) stand, in place; gives the relative gaps.

        Parameters
        ----------
        cross : (n_targets, n_features) c; total : (n_targets,) s
        penalty : (n_targets,) a
        exact : False: Newton steps only where the first rounds were not enough
        """
        import torch

        gaps = torch.zeros_like(total)
        weights[~(total > 0)] = 0.0
        open_ = (total > 0).nonzero()[:, 0]
        w, c, s = weights[open_], cross[open_], total[open_]
        l1 = (penalty[open_] * self.l1_ratio)[:, None]
        ridge = (penalty[open_] * (1.0 - self.l1_ratio))[:, None]
        rounds_alone = 0 if exact else self._rounds_alone
        # The weights that are not zero at the alpha before are nearly those at this one.
        if not rounds_alone:
            w = newton_on_support(self.gram, w, c, l1, ridge)
        n_done, n_rounds, length = 0, 0, _ROUNDS[0]
        while len(open_):
            gradient = c - w @ self.gram
            gap = _duality_gap(w, gradient, c, s, l1[:, 0], ridge[:, 0])
            gaps[open_] = (gap / s).clamp(min=0)
            going = gap > tolerance * s
            if n_done >= max_iterations:
                going = torch.zeros_like(going)
            ended = ~going
            if bool(ended.any()):
                weights[open_[ended]] = w[ended]
                open_, w, c, s, l1, ridge = (values[going] for values in (open_, w, c, s, l1, ridge))
                if not len(open_):
                    break
            length_now = min(length, max_iterations - n_done)
            w = self._proximal_steps(w, c, l1, ridge, length_now)
            n_rounds += 1
            if n_rounds > rounds_alone:
                w = newton_on_support(self.gram, w, c, l1, ridge)
            n_done, length = n_done + length_now, min(2 * length, _ROUNDS[1])
        return gaps

    def _proximal_steps(self, w: Any, c: Any, l1: Any, ridge: Any, n_steps: int) -> Any:
        """So many steps of FISTA from w."""
        import torch

        step = torch.where(self._usable, 1 / (self._curvature + ridge), 0.0)  # (n_targets, n_features)
        threshold = step * l1
        ahead, momentum = w, 1.0
        for _ in range(n_steps):
            pulled = ahead + step * (c - ahead @ self.gram - ridge * ahead)
            new = pulled - torch.clamp(pulled, -threshold, threshold)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = torch.lerp(w, new, 1 + (momentum - 1) / following)
            w, momentum = new, following
        return w


def _duality_gap(w: Any, gradient: Any, c: Any, s: Any, l1: Any, ridge: Any) -> Any:
    """The gap of each voxel, as in `coordinate_descent`: scikit-learn's `enet_coordinate_descent_gram`, over n."""
    import torch

    norm = w.abs().sum(dim=1)
    squares, fitted = w.square().sum(dim=1), (w * c).sum(dim=1)
    residual = s - fitted - (w * gradient).sum(dim=1)
    dual_norm = (gradient - ridge[:, None] * w).abs().amax(dim=1)
    shrink = torch.where(dual_norm > l1, l1 / dual_norm, 1.0)
    gap = 0.5 * (residual + ridge * squares) * (1 + shrink.square()) + l1 * norm - shrink * (s - fitted)
    # Without an l1 penalty there is no such dual point; the slope along w says how far it may go.
    return torch.where(l1 > 0, gap, dual_norm * norm)


def _check_l1_ratio(l1_ratio: float) -> None:
    if not 0 < l1_ratio <= 1:
        raise SettingError(f"l1_ratio must be above 0 and at most 1, got {l1_ratio}.")
