"""Tiles of voxels in parallel threads, each with a linear algebra library of one thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


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
    from threadpoolctl import threadpool_info

    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
