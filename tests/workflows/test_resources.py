"""The fit takes tiles of voxels that the memory holds."""

import pytest

from workflows.resources import fit_gb, voxel_tile_within
from workflows.specifications import BoldPreparation, Run

RUN = Run(
    label="task-film_run-1",
    entities={},
    bold="",
    brain_mask="",
    confounds="",
    tr_s=1.0,
    n_volumes=900,
    shape=(60, 70, 60),
    presentations=(),
)
RUNS = (RUN,) * 4


def test_there_is_room_for_the_default_tile_or_it_is_halved():
    tiles = [voxel_tile_within(memory_mb, RUNS, BoldPreparation(), 2) for memory_mb in range(100, 8192, 100)]
    assert tiles == sorted(tiles)
    assert tiles[0] == 64
    assert tiles[-1] == 4096
    assert len(set(tiles)) > 3
    for memory_mb, tile in zip(range(100, 8192, 100), tiles, strict=True):
        if tile > 64:
            assert fit_gb(RUNS, BoldPreparation(), tile, 2) <= 0.95 * memory_mb / 1024
        if tile < 4096:
            assert fit_gb(RUNS, BoldPreparation(), 2 * tile, 2) > 0.95 * memory_mb / 1024


def test_more_threads_take_smaller_tiles():
    one, many = (voxel_tile_within(1500, RUNS, BoldPreparation(), n_threads) for n_threads in (1, 16))
    assert one > many >= 64


@pytest.mark.parametrize(("voxel_tile", "expected"), [(4096, 4096), (1000, 1000), (7, 7)])
def test_a_tile_that_fits_stays(voxel_tile, expected):
    assert voxel_tile_within(32_000, RUNS, BoldPreparation(), 2, voxel_tile) == expected
    assert voxel_tile_within(1, RUNS, BoldPreparation(), 2, voxel_tile) == min(expected, 64)
