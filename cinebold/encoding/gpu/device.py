"""The device that torch computes on: which it is, how exact its products are, and tiles of voxels to it and back.

The `torch_*` modules have the solvers of their namesakes, with the same answers: tiles of voxels are streamed to the
device, and no voxel's numbers depend on the voxels beside it beyond rounding.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cinebold.errors import SettingError

#: Results on their way back while the device goes on with the next tile; a tile has a few.
_IN_FLIGHT = 8


def checked_device(device: str) -> Any:
    """The torch.device of that name ("cpu", "cuda" or "cuda:N"); a SettingError where there is none."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise SettingError(f"Unknown device {device!r}: choose 'cpu', 'cuda' or 'cuda:N'.") from error
    if found.type not in ("cpu", "cuda"):
        raise SettingError(f"Device {device!r} is not supported: choose 'cpu', 'cuda' or 'cuda:N'.")
    n_devices = torch.cuda.device_count() if found.type == "cuda" else 0
    if found.type == "cuda" and (found.index or 0) >= n_devices:
        raise SettingError(
            f"Device {device!r} was asked for, but torch {torch.__version__} finds {n_devices} CUDA device"
            f"{'' if n_devices == 1 else 's'} on this machine: choose 'cpu', or run where the device is."
        )
    return found


@contextmanager
def exact_products() -> Iterator[None]:
    """Matrix products of torch without TF32, bfloat16 or reduced sums; what was set before is set again after.

    The settings are the process's own: other threads see them too meanwhile.
    """
    import torch

    cuda = torch.backends.cuda.matmul
    changes = [
        (cuda, "allow_fp16_reduced_precision_reduction", False),
        (cuda, "allow_bf16_reduced_precision_reduction", False),
    ]
    try:
        width = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
    except (
        RuntimeError
    ):  # torch 2.9 on: it was set by the newer switches, which must not be mixed with this one
        width = None
        changes += [(place, "fp32_precision", "ieee") for place in (cuda, torch.backends.mkldnn.matmul)]
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    try:
        for place, name, value in changes:
            setattr(place, name, value)
        with torch.no_grad():
            yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
        if width is not None:
            torch.set_float32_matmul_precision(width)


def eigh(matrix: Any) -> tuple[Any, Any]:
    """Eigenvalues, rising, and eigenvectors of symmetric float64 matrices (..., n, n).

    Where the device's own decomposition fails or gives what is not finite, as cuSOLVER's does on some
    ill-conditioned matrices, it is done on the CPU.
    """
    import torch

    try:
        values, vectors = torch.linalg.eigh(matrix)
        if bool(torch.isfinite(values).all()) and bool(torch.isfinite(vectors).all()):
            return values, vectors
    except RuntimeError:  # torch.linalg.LinAlgError is one, and so are cuSOLVER's own errors
        pass
    values, vectors = np.linalg.eigh(matrix.cpu().numpy())
    return torch.from_numpy(values).to(matrix.device), torch.from_numpy(vectors).to(matrix.device)


def to_device(values: np.ndarray, device: Any, dtype: Any = None) -> Any:
    """A tensor on the device, by way of pinned memory where that is a GPU, so that the host need not wait.

    Parameters
    ----------
    dtype : of the tensor; None: float32 where the values are, else float64
    """
    import torch

    if dtype is None:
        dtype = torch.float32 if values.dtype == np.float32 else torch.float64
    if values.dtype not in (np.float32, np.float64) or not values.flags.writeable or min(values.strides) < 0:
        values = np.array(values, dtype=np.float64 if dtype == torch.float64 else np.float32)
    source = torch.from_numpy(values)
    if device.type == "cpu":
        return source.to(dtype)
    # torch gives the pinned memory to nobody else before the copy out of it has ended.
    pinned = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
    pinned.copy_(source)
    return pinned.to(device, non_blocking=True).to(dtype)


class Downloads:
    """Results that come back from the device while it works on the next tile.

    Use it as a context; all that was sent has arrived where the context ends without an error.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._waiting: deque[tuple[Any, Any, Callable[[np.ndarray], None]]] = deque()

    def __enter__(self) -> "Downloads":
        return self

    def __exit__(self, problem: type | None, *rest: object) -> None:
        while self._waiting and problem is None:
            self._arrive()

    def send(self, tensor: Any, store: Callable[[np.ndarray], None]) -> None:
        """Call `store` with the tensor's values, now or when a later tensor is sent."""
        import torch

        if self._device.type == "cpu":
            store(tensor.numpy())
            return
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        pinned.copy_(tensor, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(self._device))
        self._waiting.append((copied, pinned, store))
        while len(self._waiting) > _IN_FLIGHT:
            self._arrive()

    def into(self, tensor: Any, target: np.ndarray) -> None:
        """Copy the tensor's values into an array of its shape."""

        def store(values: np.ndarray) -> None:
            target[...] = values

        self.send(tensor, store)

    def _arrive(self) -> None:
        copied, pinned, store = self._waiting.popleft()
        copied.synchronize()
        store(pinned.numpy())


def voxel_tiles(n_targets: int, voxel_tile: int) -> list[slice]:
    """Slices of at most so many voxels."""
    return [
        slice(start, min(start + voxel_tile, n_targets)) for start in range(0, n_targets, max(voxel_tile, 1))
    ]


def runs_to_device(runs: Sequence[np.ndarray], part: slice, device: Any, dtype: Any = None) -> list[Any]:
    """Some voxels of each run, (n_samples, n_targets) tensors on the device."""
    return [to_device(np.asarray(run)[:, part], device, dtype) for run in runs]
