"""Grids, masks and the mask-and-resample operator, against nilearn."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.image import resample_img

from cinebold.bold.grid import Grid, grids_equal, target_grid, world_grid
from cinebold.bold.masks import build_mask
from cinebold.bold.resampling import mask_resample_operator
from cinebold.errors import InputError, SettingError

shapes = st.tuples(*[st.integers(3, 9)] * 3)
sizes = st.tuples(*[st.floats(1.1, 4.5)] * 3)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


@st.composite
def grids(draw):
    affine = np.eye(4)
    angles = draw(st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-0.4, 0.4)] * 3)))
    signs = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    affine[:3, :3] = rotation(angles) * (np.array(draw(sizes)) * signs)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-20, 20)] * 3))
    return Grid(draw(shapes), affine)


def resampled_by_nilearn(values, source, target, interpolation):
    image = nibabel.Nifti1Image(values, source.affine)
    result = resample_img(
        image, target.affine, target.shape, interpolation=interpolation, fill_value=0, copy_header=True
    )
    return result.get_fdata()


@settings(max_examples=60, deadline=None)
@given(
    grids(), st.floats(0.8, 4), st.tuples(*[st.floats(-0.2, 0.2)] * 3), st.sampled_from(["linear", "nearest"])
)
def test_operator_equals_nilearn(source, resolution_mm, angles, interpolation):
    """Onto an isotropic grid that is slightly turned, so that no voxel lies exactly on a border or a tie."""
    values = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    grid = target_grid(source.shape, source.affine, min(resolution_mm, 2.9))
    turned = np.array(grid.affine)
    turned[:3, :3] = rotation((angles[0] + 0.0123, angles[1] - 0.0171, angles[2] + 0.0087)) @ turned[:3, :3]
    turned[:3, 3] += [0.0131, 0.0277, -0.0193]
    target = Grid(grid.shape, turned)
    mask = np.random.default_rng(1).random(target.shape) < 0.7
    operator = mask_resample_operator(source, target, mask, interpolation=interpolation)
    assert operator.dtype == np.float32
    try:
        expected = resampled_by_nilearn(values, source, target, interpolation)[mask]
    except ValueError:  # nilearn refuses grids that do not overlap
        return
    np.testing.assert_allclose(operator @ values.ravel(order="F"), expected, atol=1e-4)


@pytest.mark.parametrize("resolution_mm", [2.0, 3.0, 4.0, 1.3])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_common_resolutions_equal_nilearn(resolution_mm, interpolation):
    source = Grid(
        (21, 24, 19), np.array([[-1.75, 0, 0, 18], [0, 1.8, 0, -20], [0, 0, 2.3, -21], [0, 0, 0, 1.0]])
    )
    values = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    target = target_grid(source.shape, source.affine, resolution_mm)
    operator = mask_resample_operator(
        source, target, np.ones(target.shape, bool), interpolation=interpolation
    )
    expected = resampled_by_nilearn(values, source, target, interpolation)
    np.testing.assert_allclose(
        (operator @ values.ravel(order="F")).reshape(target.shape), expected, atol=1e-5
    )


def test_same_grid_is_a_pure_selection():
    source = Grid((4, 5, 6), np.diag([2, 2, 2, 1.0]))
    nearly = Grid((4, 5, 6), source.affine + 1e-5)
    mask = np.random.default_rng(0).random((4, 5, 6)) < 0.4
    volume = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    for interpolation in ("linear", "nearest"):
        operator = mask_resample_operator(nearly, source, mask, interpolation=interpolation)
        assert operator.nnz == mask.sum()
        np.testing.assert_array_equal(operator @ volume.ravel(order="F"), volume[mask])


def test_shift_by_whole_voxels_is_a_selection_too():
    source = Grid((6, 6, 6), np.diag([2, 2, 2, 1.0]))
    affine = np.diag([2, 2, 2, 1.0])
    affine[:3, 3] = [2, 4, 6]
    target = Grid((4, 4, 4), affine)
    volume = np.random.default_rng(1).normal(size=(6, 6, 6)).astype(np.float32)
    operator = mask_resample_operator(source, target, np.ones((4, 4, 4), bool))
    expected = np.zeros((4, 4, 4), np.float32)
    expected[:4, :4, :3] = volume[1:5, 2:6, 3:6]
    np.testing.assert_array_equal((operator @ volume.ravel(order="F")).reshape(4, 4, 4), expected)


@settings(max_examples=30, deadline=None)
@given(grids(), st.floats(0.8, 3))
def test_weights_sum_to_one_inside_and_linear_fields_are_exact(source, resolution_mm):
    target = target_grid(source.shape, source.affine, resolution_mm)
    operator = mask_resample_operator(source, target, np.ones(target.shape, bool))
    total = np.asarray(operator.sum(axis=1)).ravel()
    assert np.all((np.abs(total - 1) < 1e-5) | (total == 0))

    def field(grid):
        voxels = np.argwhere(np.ones(grid.shape))
        mm = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        return (mm @ [0.3, -0.2, 0.5]).reshape(grid.shape)

    values = operator @ field(source).ravel(order="F")
    np.testing.assert_allclose(values[total > 0], field(target).ravel()[total > 0], atol=1e-4)


def test_values_that_are_not_needed_do_not_spread():
    source = Grid((8, 8, 8), np.diag([2, 2, 2, 1.0]))
    target = target_grid(source.shape, source.affine, 3.0)
    mask = np.zeros(target.shape, bool)
    mask[2:3, 2:3, 2:3] = True
    operator = mask_resample_operator(source, target, mask)
    volume = np.full(source.n_voxels, np.nan, np.float32)
    volume[operator.indices] = 5
    np.testing.assert_allclose(operator @ volume, 5, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(grids(), st.floats(0.5, 3))
def test_target_grid_keeps_axes_and_field_of_view(source, resolution_mm):
    grid = target_grid(source.shape, source.affine, resolution_mm)
    if np.allclose(source.voxel_sizes_mm, resolution_mm, rtol=1e-4, atol=0):
        assert grids_equal(grid, source)
        return
    np.testing.assert_allclose(grid.voxel_sizes_mm, resolution_mm)
    cosines = (grid.affine[:3, :3] / grid.voxel_sizes_mm).T @ (source.affine[:3, :3] / source.voxel_sizes_mm)
    np.testing.assert_allclose(cosines, np.eye(3), atol=1e-9)

    def centre(g):
        return g.affine @ np.append((np.array(g.shape) - 1) / 2, 1)

    np.testing.assert_allclose(centre(grid), centre(source), atol=1e-9)
    growth = np.array(grid.shape) * resolution_mm - np.array(source.shape) * source.voxel_sizes_mm
    assert np.all(growth > -2e-3 * resolution_mm) and np.all(growth < resolution_mm * 1.001)


def test_grid_settings():
    affine = np.diag([2, 2, 2, 1.0])
    assert target_grid((5, 5, 5), affine, None).shape == (5, 5, 5)
    for resolution_mm in (0, -1, np.nan, 1000):
        with pytest.raises(SettingError, match="resolution"):
            target_grid((5, 5, 5), affine, resolution_mm)
    with pytest.raises(SettingError, match="sinc"):
        mask_resample_operator(
            Grid((2, 2, 2), affine), Grid((2, 2, 2), affine), np.ones((2, 2, 2), bool), interpolation="sinc"
        )


class TestMasks:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    grid = Grid((10, 10, 10), affine)

    def save(self, path, values, affine=None):
        image = nibabel.Nifti1Image(values, self.affine if affine is None else affine)
        image.to_filename(path)
        return path

    def brain(self, path, where):
        values = np.zeros((10, 10, 10), np.uint8)
        values[where] = 1
        return self.save(path, values)

    def test_brain_is_the_intersection(self, tmp_path):
        a = self.brain(tmp_path / "a.nii.gz", np.s_[1:8])
        b = self.brain(tmp_path / "b.nii.gz", np.s_[3:9])
        mask = build_mask("brain", self.grid, brain_masks=[a, b])
        expected = np.zeros((10, 10, 10), bool)
        expected[3:8] = True
        np.testing.assert_array_equal(mask, expected)

    def test_grey_matter_on_another_grid(self, tmp_path):
        a = self.brain(tmp_path / "a.nii.gz", np.s_[1:9, 1:9, 1:9])
        fine = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
        fine_affine = np.diag([1.0, 1.0, 1.0, 1.0])
        fine_affine[:3, 3] = -0.37
        probability = self.save(tmp_path / "gm.nii.gz", fine, fine_affine)
        mask = build_mask("gm", self.grid, brain_masks=[a], gm_probseg=probability, gm_threshold=0.5)
        source = Grid((20, 20, 20), fine_affine)
        expected = resampled_by_nilearn(fine, source, self.grid, "linear") > 0.5
        inside = np.zeros((10, 10, 10), bool)
        inside[1:9, 1:9, 1:9] = True
        np.testing.assert_array_equal(mask, expected & inside)

    def test_coarser_target(self, tmp_path):
        a = self.brain(tmp_path / "a.nii.gz", np.s_[2:8, 2:8, 2:8])
        grid = target_grid(self.grid.shape, self.affine, 4.0)
        mask = build_mask("brain", grid, brain_masks=[a])
        assert mask.shape == (5, 5, 5)
        assert mask.sum() == 27

    def test_file_mask(self, tmp_path):
        a = self.brain(tmp_path / "a.nii.gz", np.s_[1:9])
        own = self.save(
            tmp_path / "own.nii.gz",
            np.where(np.arange(10) > 6, np.nan, 1.0)[:, None, None] * np.ones((10,) * 3),
        )
        mask = build_mask(str(own), self.grid, brain_masks=[a])
        assert mask.sum() == 6 * 100
        far = np.array(self.affine)
        far[:3, 3] = 500
        away = self.save(tmp_path / "away.nii.gz", np.ones((10, 10, 10), np.uint8), far)
        with pytest.raises(InputError, match=r"No voxel of .*away\.nii\.gz"):
            build_mask(away, self.grid, brain_masks=[a])

    def test_bad_masks(self, tmp_path):
        a = self.brain(tmp_path / "a.nii.gz", np.s_[1:3])
        b = self.brain(tmp_path / "b.nii.gz", np.s_[5:7])
        with pytest.raises(InputError, match=r"brain mask .*b\.nii\.gz"):
            build_mask("brain", self.grid, brain_masks=[a, b])
        with pytest.raises(InputError, match="label-GM_probseg"):
            build_mask("gm", self.grid, brain_masks=[a], gm_probseg=None)
        percent = self.save(tmp_path / "gm.nii.gz", np.full((10, 10, 10), 80, np.float32))
        with pytest.raises(InputError, match=r"gm\.nii\.gz should hold probabilities"):
            build_mask("gm", self.grid, brain_masks=[a], gm_probseg=percent)
        none = self.save(tmp_path / "none.nii.gz", np.full((10, 10, 10), 0.1, np.float32))
        with pytest.raises(InputError, match=r"No voxel of .*none\.nii\.gz"):
            build_mask("gm", self.grid, brain_masks=[a], gm_probseg=none)
        with pytest.raises(SettingError, match="threshold"):
            build_mask("gm", self.grid, brain_masks=[a], gm_probseg=none, gm_threshold=1.5)
        with pytest.raises(InputError, match="needs the brain masks"):
            build_mask("brain", self.grid, brain_masks=[])
        with pytest.raises(InputError, match="no file"):
            build_mask(tmp_path / "missing.nii.gz", self.grid, brain_masks=[a])


OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation((0.02, -0.03, 0.2)) * [1.6, 1.7, 2.1]
OBLIQUE[:3, 3] = [-20, -22, -19]


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((113, 136, 113), np.array([[-1.6, 0, 0, 90], [0, 1.6, 0, -126], [0, 0, 1.6, -72], [0, 0, 0, 1]])),
        ((20, 17, 19), np.array([[-1.6, 0, 0, 90], [0, 1.6, 0, -126], [0, 0, 1.6, -72], [0, 0, 0, 1]])),
        ((30, 31, 29), np.array([[2.0, 0, 0, -96], [0, 2, 0, -132], [0, 0, 2, -78], [0, 0, 0, 1]])),
        ((21, 24, 19), np.array([[-1.75, 0, 0, 18], [0, 1.8, 0, -20], [0, 0, 2.3, -21], [0, 0, 0, 1]])),
        ((20, 21, 22), np.array([[3.0, 0, 0, -30], [0, 3, 0, -31], [0, 0, 3, -29], [0, 0, 0, 1]])),
        ((21, 24, 19), OBLIQUE),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_nearest_on_the_axes_of_the_world_equals_nilearn_exactly(shape, affine, on_disk, tmp_path):
    """As the project of 2021 resampled: resample_img(image, target_affine=np.eye(3) * 3, interpolation="nearest").

    The first case is HCP's grid of 1.6 mm, where each eighth voxel lies between two; headers hold affines in float32.
    """
    values = np.random.default_rng(0).normal(1000, 10, size=shape).astype(np.float32)
    image = nibabel.Nifti1Image(values, affine)
    if on_disk:
        image.to_filename(tmp_path / "image.nii")
        image = nibabel.load(tmp_path / "image.nii")
    expected = resample_img(
        image, target_affine=np.eye(3) * 3, interpolation="nearest", copy_header=True, force_resample=True
    )
    grid = world_grid(shape, image.affine, 3.0)
    assert grid.shape == expected.shape
    np.testing.assert_array_equal(grid.affine, expected.affine)
    mask = build_mask("none", grid, brain_masks=["not read"])
    assert mask.all()
    operator = mask_resample_operator(Grid(shape, image.affine), grid, mask, interpolation="nearest")
    result = (operator @ values.ravel(order="F")).reshape(grid.shape)
    np.testing.assert_array_equal(result, expected.get_fdata())
    if shape == (113, 136, 113) and on_disk:
        assert mask.sum() == 275_354  # the number of that project


def test_the_grid_of_the_world_needs_a_voxel_size():
    for bad in (0.0, -3.0, 500.0, float("nan")):
        with pytest.raises(SettingError, match="voxel size"):
            world_grid((20, 20, 20), np.diag([2.0, 2, 2, 1]), bad)
