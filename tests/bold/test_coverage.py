"""Coverage of runs: shares that are counted by hand."""

import nibabel as nib
import numpy as np
import pytest

from cinebold.bold.coverage import coverage_of_runs
from cinebold.bold.grid import Grid
from cinebold.bold.masks import build_mask
from cinebold.errors import InputError

AFFINE = np.diag([3.0, 3, 3, 1])
GRID = Grid((10, 4, 5), AFFINE)


def save(path, values):
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path


def test_coverage_is_the_share_of_the_wanted_voxels(tmp_path):
    brains = np.zeros((2, *GRID.shape), np.uint8)
    brains[0, :8], brains[1, 2:] = 1, 1  # of ten slices the first eight, and the last eight
    masks = [save(tmp_path / f"brain{k}.nii.gz", brain) for k, brain in enumerate(brains)]
    probability = np.zeros(GRID.shape, np.float32)
    probability[:5] = 0.6  # the last three of these are covered by both
    probability[9] = 0.1  # below the threshold
    grey = save(tmp_path / "gm.nii.gz", probability)
    chosen = save(
        tmp_path / "chosen.nii.gz", (np.arange(10)[:, None, None] == 9) * np.ones(GRID.shape, np.uint8)
    )

    def coverage(kind, **more):
        return coverage_of_runs(kind, GRID, brain_masks=masks, **more)

    assert coverage("gm", gm_probseg=grey) == [pytest.approx(1.0), pytest.approx(0.6)]
    assert coverage("brain") == [pytest.approx(0.8), pytest.approx(0.8)]
    assert coverage(chosen) == [0.0, 1.0]
    assert coverage("none") == [None, None]


def test_an_empty_brain_mask_is_named(tmp_path):
    full = save(tmp_path / "full.nii.gz", np.ones(GRID.shape, np.uint8))
    empty = save(tmp_path / "empty.nii.gz", np.zeros(GRID.shape, np.uint8))
    with pytest.raises(InputError, match=r"brain mask .*empty\.nii\.gz is empty"):
        build_mask("brain", GRID, brain_masks=[full, empty])
