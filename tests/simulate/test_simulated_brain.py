"""The brain: real shape on any grid, and regions that leave most of the grey matter unplanted."""

import numpy as np
import pytest

from cinebold.simulate.bold_file import write_bold, write_map
from cinebold.simulate.brain import REGIONS, make_brain, template_grid
from cinebold.simulate.on_layout import GRID_SHAPE, VOXEL_MM, centred_affine


@pytest.mark.parametrize("resolution_mm", [4.0, 8.0])
def test_brain_has_a_real_volume_and_regions_cover_a_third_of_grey_matter(resolution_mm):
    brain = make_brain(*template_grid(resolution_mm))
    litres = brain.mask.sum() * resolution_mm**3 / 1e6
    assert 1.6 < litres < 2.1  # the MNI brain is larger than most: about 1.9 litres
    np.testing.assert_allclose((brain.grey + brain.white + brain.csf)[brain.mask], 1, atol=1e-6)
    grey = brain.grey > 0.2
    share = (brain.labels > 0)[grey].mean()
    assert 0.33 < share < 0.42
    assert not (brain.labels > 0)[~grey].any()
    assert set(np.unique(brain.labels)) == {0, *(region.index for region in REGIONS)}


def test_regions_lie_where_their_names_say():
    shape, affine = template_grid(6.0)
    brain = make_brain(shape, affine)
    for region, y_mm, z_mm in (("occipital", -88, 8), ("ventral_temporal", -40, -15), ("parietal", -55, 52)):
        index = next(r.index for r in REGIONS if r.name == region)
        centre = affine[:3, :3] @ np.argwhere(brain.labels == index).mean(axis=0) + affine[:3, 3]
        assert abs(centre[0]) < 5  # both hemispheres
        assert abs(centre[1] - y_mm) < 12 and abs(centre[2] - z_mm) < 12


def test_the_grid_of_bold_moments_holds_the_whole_brain():
    brain = make_brain(GRID_SHAPE, centred_affine(GRID_SHAPE, VOXEL_MM))
    where = np.argwhere(brain.mask)
    assert (where.min(axis=0) > 0).all()
    assert (where.max(axis=0) < np.array(GRID_SHAPE) - 1).all()


def test_series_survive_the_file(tmp_path):
    import nibabel as nib

    rng = np.random.default_rng(0)
    mask = rng.random((5, 6, 7)) > 0.4
    affine = np.array([[3.0, 0, 0, -8], [0, 3, 0, -9], [0, 0, 4, -10], [0, 0, 0, 1]])
    series = 5000 + 80 * rng.standard_normal((11, int(mask.sum()))).astype(np.float32)
    path = write_bold(tmp_path / "a_bold.nii.gz", series, mask, affine, 1.75)
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    assert image.shape == (5, 6, 7, 11)
    assert image.header.get_zooms() == pytest.approx((3, 3, 4, 1.75))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(image.affine, affine)
    np.testing.assert_allclose(data[mask].T, series, atol=0.51 * series.max() / 32767)
    assert not data[~mask].any()
    assert (
        write_bold(tmp_path / "b_bold.nii.gz", series, mask, affine, 1.75).read_bytes() == path.read_bytes()
    )


def test_maps_keep_their_kind(tmp_path):
    import nibabel as nib

    for values, kind in (
        (np.ones((2, 3, 4), bool), np.uint8),
        (np.full((2, 3, 4), 3), np.int16),
        (np.ones((2, 3, 4)), "f4"),
    ):
        image = nib.load(write_map(tmp_path / "map.nii.gz", values, np.eye(4)))
        assert image.get_data_dtype() == np.dtype(kind)
        np.testing.assert_array_equal(np.asarray(image.dataobj), values)
