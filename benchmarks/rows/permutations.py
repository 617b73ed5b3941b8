"""Block permutations of held-out predictions against predictions that are permuted and correlated in numpy."""

import numpy as np

from benchmarks.registry import Row, Setup, measure, row, timed

N_RUNS = 4
BLOCK_VOLUMES = 20


@row("block-permutations")
def block_permutations(setup: Setup) -> Row:
    """10,000 permutations, counted and their maxima taken.

    The peer has the same tiles and threads, and responses and predictions that are z-scores before the clock starts.
    It stays on the CPU.
    """
    from cinebold.encoding.block_permutation import BlockPermutations, draw_blocks, join_tiles, permute_blocks
    from cinebold.encoding.gpu import permutation as torch_permutation
    from cinebold.encoding.tiles import one_thread_products, run_tiles

    n_run, n_voxels, n_permutations, n_peer = (
        (200, 2000, 2000, 10) if setup.quick else (900, 100_000, 10_000, 5)
    )
    rng = np.random.default_rng(0)
    responses = [_unit(rng.standard_normal((n_run, n_voxels), dtype=np.float32)) for _ in range(N_RUNS)]
    predictions = [_unit(0.1 * y + rng.standard_normal(y.shape, dtype=np.float32)) for y in responses]
    scored = [np.ones(n_run, dtype=bool)] * N_RUNS
    test, _ = draw_blocks([n_run] * N_RUNS, BLOCK_VOLUMES, n_permutations, seed=0)
    orders = [test.volume_orders(permutation) for permutation in range(200)]
    tiles = [slice(start, min(start + 4096, n_voxels)) for start in range(0, n_voxels, 4096)]

    def permuted(part: slice) -> BlockPermutations:
        runs = [[run[:, part] for run in series] for series in (responses, predictions)]
        if setup.on_gpu:
            return torch_permutation.permute_blocks(test, *runs, scored, device=setup.device)
        return permute_blocks(test, *runs, scored)

    def ours() -> BlockPermutations:
        if setup.on_gpu:
            return permuted(slice(None))
        found: dict[int, BlockPermutations] = {}
        with one_thread_products() as n_threads:
            run_tiles(lambda part: found.update({part.start: permuted(part)}), tiles, n_threads)
        return join_tiles([found[part.start] for part in tiles])

    observed = _pooled_r(responses, predictions)

    def peer() -> None:
        def tile(part: slice) -> None:
            y, prediction = [run[:, part] for run in responses], [run[:, part] for run in predictions]
            n_at_least = np.zeros(part.stop - part.start, dtype=np.int64)
            for order in orders[:n_peer]:
                n_at_least += _pooled_r(y, prediction, order) >= observed[part]

        with one_thread_products() as n_threads:
            run_tiles(tile, tiles, n_threads)

    permuted(slice(0, 1))  # compiles
    measured = measure(setup, ours)
    seconds_peer, _, _ = timed(peer)
    difference = 0.0
    for voxel in np.linspace(0, n_voxels - 1, 20).astype(int):
        one = slice(voxel, voxel + 1)  # the largest permuted r of one voxel is its permuted r
        y, prediction = (
            [_unit(run[:, one].astype(np.float64)) for run in runs] for runs in (responses, predictions)
        )
        exact = [test.coupling * _pooled_r(y, prediction, order)[0] for order in orders]
        difference = max(difference, np.abs(permuted(one).maxima[: len(exact)] - exact).max())
    return Row(
        name="block-permutations",
        peer=f"predictions permuted and correlated in numpy (float32, CPU), {n_peer} permutations timed and scaled",
        goal=50,
        agreement=float(difference),
        agreement_of="largest difference of permuted r from numpy in float64",
        seconds_peer=seconds_peer * n_permutations / n_peer,
        flops=permutation_flops(n_run * N_RUNS, n_voxels, n_permutations),
        device=setup.device,
        **measured.of_row(),
        sizes={
            "n_samples": n_run * N_RUNS,
            "n_voxels": n_voxels,
            "n_permutations": n_permutations,
            "block_volumes": BLOCK_VOLUMES,
        },
    )


def permutation_flops(n_samples: int, n_voxels: int, n_permutations: int) -> dict[str, float]:
    """Tables of block products, 2nBV with B blocks a run, and B additions a run, voxel and permutation."""
    n_blocks = n_samples // N_RUNS // BLOCK_VOLUMES
    tables, additions = (
        2.0 * n_samples * n_blocks * n_voxels,
        float(n_permutations) * n_blocks * N_RUNS * n_voxels,
    )
    return {"float64": tables + additions}


def _pooled_r(
    y: list[np.ndarray], prediction: list[np.ndarray], order: list[np.ndarray] | None = None
) -> np.ndarray:
    """Correlation of z-scored responses and permuted z-scored predictions, the mean of runs of equal length."""
    moved = (
        prediction if order is None else [run[places] for run, places in zip(prediction, order, strict=True)]
    )
    return sum(np.einsum("tv,tv->v", *pair) / len(pair[0]) for pair in zip(y, moved, strict=True)) / len(y)


def _unit(columns: np.ndarray) -> np.ndarray:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)
