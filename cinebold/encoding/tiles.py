"""Tiles of voxels in parallel threads, each with a linear algebra library of one thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def run_tiles(work: Callable[[slice], None], tiles: Sequence[slice], progress: bool = False) -> None:
    """Do all tiles; as many at once as the linear algebra library had threads (OMP_NUM_THREADS and the like).

    Products over a tile are small: threads that share one of them wait for each other, on a busy machine ten
    times longer than they compute. With whole tiles to themselves they do not wait, and the sums of a tile
    are the same whatever the number of threads.
    """
    from threadpoolctl import threadpool_limits

    n_threads = min(n_linear_algebra_threads(), len(tiles))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(n_threads, 1)) as threads:
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
