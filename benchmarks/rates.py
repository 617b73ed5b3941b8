"""How fast a machine multiplies matrices: what the rows are compared with."""

import time
from collections.abc import Callable

import numpy as np

#: Rows of the square matrices, on a GPU and on the CPU.
_SIZES = {"cuda": 8192, "cpu": 2048}
_REPEATS = 5


def matrix_rates(device: str = "cpu", size: int | None = None) -> dict[str, float]:
    """FLOP/s of a product of two square matrices, the fastest of five, in "float32" (without TF32) and "float64".

    On the CPU it is numpy's with all its threads, on a GPU torch's.

    Parameters
    ----------
    size : rows of the matrices; None: 8,192 on a GPU, 2,048 on the CPU
    """
    kind = device.split(":")[0]
    size = size or _SIZES[kind]
    product = _torch_product if kind == "cuda" else _numpy_product
    return {width: 2 * size**3 / _fastest(product(device, size, width)) for width in ("float32", "float64")}


def rates_line(device: str, rates: dict[str, float]) -> str:
    """One line that says what was measured."""
    kind = device.split(":")[0]
    what = f"torch, {_SIZES['cuda']} square, no TF32" if kind == "cuda" else f"numpy, {_SIZES['cpu']} square"
    found = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {width}" for width, rate in rates.items())
    return f"matrix rate of this machine's {kind} ({what}): {found}"


def _fastest(work: Callable[[], None]) -> float:
    work()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _numpy_product(device: str, size: int, width: str) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, size, size)).astype(width)
    result = np.empty_like(left)

    def work() -> None:
        np.matmul(left, right, out=result)

    return work


def _torch_product(device: str, size: int, width: str) -> Callable[[], None]:
    import torch

    from cinebold.encoding.gpu.device import exact_products

    generator = torch.Generator(device).manual_seed(0)
    options = {"device": device, "dtype": getattr(torch, width), "generator": generator}
    left, right = torch.randn(2, size, size, **options)
    result = torch.empty_like(left)

    def work() -> None:
        with exact_products():
            torch.matmul(left, right, out=result)
        torch.cuda.synchronize(device)

    return work
