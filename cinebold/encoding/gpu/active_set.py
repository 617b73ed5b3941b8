"""Newton steps of LASSO on the weights that are not zero, for many voxels at once."""

from typing import Any

import numpy as np

#: Added to the diagonal of a Gram matrix, in shares of it, so that equal columns can be solved too.
_JITTER = 1e-11
#: So many numbers are in the voxels' own Gram matrices at once.
_NUMBERS = 1 << 24
_REPEATS = 3


def newton_on_support(gram: Any, w: Any, c: Any, l1: Any, ridge: Any) -> Any:
    """Better weights, with signs as they are or zero: the objective never rises (cf. Lee et al., 2007, NIPS 19).

    Where the signs of a solution are known, it is linear: (G + ridge I) w = c - l1 sign(w) on the weights that are
    not zero. Where the solution of that would change signs, these weights become zero, and what is left is solved
    once more.

    Parameters
    ----------
    gram : (n_features, n_features)
    w, c : (n_targets, n_features)
    l1, ridge : (n_targets, 1)
    """
    import torch

    size = (w != 0).sum(dim=1)
    order = torch.argsort(size)
    sizes = size[order].cpu().numpy()
    result = w.clone()
    first = int(np.searchsorted(sizes, 0, side="right"))
    while first < len(sizes):
        # Voxels of like support share a chunk; its largest comes last.
        last = int(np.searchsorted(sizes, 2 * sizes[first] + 8, side="right"))
        last = min(last, first + max(_NUMBERS // int(sizes[last - 1]) ** 2, 1))
        own = order[first:last]
        result[own] = _solve(gram, w[own], c[own], l1[own], ridge[own], int(sizes[last - 1]))
        first = last
    return result


def _solve(gram: Any, w: Any, c: Any, l1: Any, ridge: Any, size: int) -> Any:
    """`newton_on_support` of voxels with at most `size` weights that are not zero."""
    import torch

    # The columns of the support come first; voxels with fewer are filled up with columns of weight zero.
    columns = torch.argsort((w == 0).to(torch.uint8), dim=1, stable=True)[:, :size]
    v = w.gather(1, columns)
    own = gram[columns[:, :, None], columns[:, None, :]]  # (n_targets, size, size)
    pull = c.gather(1, columns)
    for _ in range(_REPEATS):
        sign = torch.sign(v)
        slope = pull - (own @ v[:, :, None])[:, :, 0] - ridge * v - l1 * sign
        slope = torch.where(v != 0, slope, 0.0)
        step = _newton_step(own, slope, v != 0, ridge)
        whole = v + step
        crossing = whole * sign < 0
        # As far as no sign changes, which always falls, and all the way with zeros where signs would change.
        share = torch.where(crossing, -v / step, torch.inf).amin(dim=1, keepdim=True)
        short = torch.where(crossing & (-v / step <= share), 0.0, v + share.clamp(max=1.0) * step)
        full = torch.where(crossing, 0.0, whole)
        higher = _objective(own, full, pull, l1, ridge) > _objective(own, short, pull, l1, ridge)
        v = torch.where(higher[:, None], short, full)
        if not bool(crossing.any()):
            break
    return torch.zeros_like(w).scatter_(1, columns, v)


def _newton_step(own: Any, slope: Any, free: Any, ridge: Any) -> Any:
    """(G + ridge I)^-1 slope of the weights that are free, 0 of the others."""
    import torch

    matrix = own * (free[:, :, None] & free[:, None, :])
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal += torch.where(free, ridge + _JITTER * diagonal, 1.0)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    step = torch.cholesky_solve(slope[:, :, None], factor)[:, :, 0]
    return torch.where((failed == 0)[:, None] & torch.isfinite(step), step, 0.0)


def _objective(own: Any, v: Any, pull: Any, l1: Any, ridge: Any) -> Any:
    image = (own @ v[:, :, None])[:, :, 0]
    return (v * (0.5 * (image + ridge * v) - pull) + l1 * v.abs()).sum(dim=1)
