"""The solvers of a training set with their work on voxels done on a device."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cinebold.encoding.gpu.device import checked_device, exact_products, to_device
from cinebold.encoding.solvers.ols import OLSSolver
from cinebold.encoding.solvers.ridge import RidgeSolver

_N_BLOCKS = 8


class DeviceRidgeSolver(RidgeSolver):
    """`ridge.RidgeSolver` whose products with X'Y are done on a device, in float64.

    Parameters
    ----------
    gram, n_samples, options : as there; decomposed on the CPU, once for all tiles
    device : "cpu", "cuda" or "cuda:N"
    """

    def __init__(self, gram: np.ndarray, n_samples: int, *, device: str, **options: Any) -> None:
        super().__init__(gram, n_samples, **options)
        self._device = checked_device(device)
        self._vectors_there = self._there(self.vectors)

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        grid, index = np.unique(alphas, return_inverse=True)
        with exact_products():
            shrinkage = self._there(self._shrinkage(grid))[self._there(index)]  # (n_targets, n_features)
            rotated = self._vectors_there.T @ self._there(cross)
            return (self._vectors_there @ (rotated * shrinkage.T)).cpu().numpy()

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2, (n_alphas, n_targets), as in `RidgeSolver`.

        The quadratic forms c' (d d' * H) c of all alphas are one product for each block of rows of H.
        """
        import torch

        vectors = self._vectors_there
        with exact_products():
            c, e = vectors.T @ self._there(cross), vectors.T @ self._there(test_cross)
            rotated = vectors.T @ self._there(test_gram) @ vectors
            d = self._there(self._shrinkage(np.asarray(alphas)))  # (n_alphas, n_features)
            product = d @ (c * e)
            squared = torch.zeros_like(product)
            # A quadratic form needs only the upper triangle, off-diagonal terms twice.
            upper = 2 * rotated.triu() - rotated.diagonal().diag()
            bounds = np.unique(np.linspace(0, len(c), _N_BLOCKS + 1).astype(int)).tolist()
            for first, last in pairwise(bounds):
                own = d[:, first:last, None] * upper[first:last, first:] * d[:, None, first:]
                part = (own.reshape(-1, own.shape[-1]) @ c[first:]).reshape(len(d), last - first, -1)
                squared += (part * c[first:last]).sum(dim=1)  # (n_alphas, n_rows, n_targets) summed over rows
            return product.cpu().numpy(), squared.clamp(min=0).cpu().numpy()

    def _there(self, values: np.ndarray) -> Any:
        import torch

        if np.issubdtype(values.dtype, np.integer):
            return torch.from_numpy(values).to(self._device)
        return to_device(values, self._device, torch.float64)


class DeviceOLSSolver(DeviceRidgeSolver, OLSSolver):
    """`ols.OLSSolver` on a device."""
