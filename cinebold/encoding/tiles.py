"""Tiles of voxels in parallel threads, each with a linear algebra library of one thread."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread_products() -> Iterator[int]:
    """Linear algebra with one thread: the same sums, bit for bit, whatever the machine may use.

    Gives how many threads there were, for `run_tiles`.
    """
    from threadpoolctl import threadpool_limits

    n_threads = n_linear_algebra_threads()
    with threadpool_limits(1, user_api="blas"):
        yield n_threads


def run_tiles(
    work: Callable[[slice], None], tiles: Sequence[slice], n_threads: int, progress: bool = False
) -> None:
    """Do all tiles, `n_threads` at once; call it inside `one_thread_products`.

    Products over a tile are small: threads that share one of them wait for each other, on a busy machine ten
    times longer than they compute. With whole tiles to themselves they do not wait, and the sums of a tile
    are the same whatever the number of threads.
    """
    with ThreadPoolExecutor(max(min(n_threads, len(tiles)), 1)) as threads:
        done = threads.map(work, tiles)
        if progress:
            from tqdm import tqdm

            done = tqdm(done, total=len(tiles), desc="encoding model", unit="tile")
        for _ in done:
            pass


def n_linear_algebra_threads() -> int:
    """How many threads numpy's linear algebra library may use now."""
    return max((library.num_threads for library in _linear_algebra().lib_controllers), default=1)


def give_back_freed_memory() -> None:
    """Let the system have what was freed: glibc keeps it in case it is asked again; other libraries are left alone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _linear_algebra() -> "ThreadpoolController":
    """The libraries that are there; to look for them takes longer than to solve a tile."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
