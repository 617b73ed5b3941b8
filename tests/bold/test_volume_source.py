"""Volumes through mask, smoothing and resampling: equal to nilearn's functions, whatever blocks and storage."""

import warnings

import nibabel
import numpy as np
import pytest
from nilearn.image import new_img_like, resample_img, smooth_img

from cinebold.bold.confounds import Confounds
from cinebold.bold.extraction import write_clean_responses
from cinebold.bold.grid import Grid, target_grid
from cinebold.bold.preparation import prepare_responses, prepare_run
from cinebold.bold.reading import BoldImage
from cinebold.bold.source import TargetReader
from cinebold.bold.volume_source import VolumeSource
from cinebold.errors import InputError, SettingError

AFFINE = np.array([[-2.0, 0.1, 0, 16], [0.1, 2.2, 0, -20], [0, 0, 2.6, -15], [0, 0, 0, 1]])
SHAPE, N = (14, 13, 12), 7


def write_series(path, dtype="<f4", slope=None, intercept=None, nan=None):
    """Smooth values with a dark border, so that splines overshoot; returns them as nibabel reads them."""
    rng = np.random.default_rng(5)
    bright = (np.linalg.norm(np.indices(SHAPE).T - np.array(SHAPE) / 2, axis=-1).T < 5)[..., None]
    values = 900 * bright + rng.normal(0, 40, (*SHAPE, N))
    if np.dtype(dtype).kind == "i":
        values = np.rint(values)
    if nan is not None:
        values[nan] = np.nan
    header = nibabel.Nifti1Header(endianness=">" if ">" in dtype else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(values.astype(dtype), AFFINE, header)
    image.header.set_slope_inter(slope, intercept)
    image.to_filename(path)
    return nibabel.load(path).get_fdata()


def streamed(path, grid, mask, n_per_block=3, **options):
    source = VolumeSource(BoldImage(path), grid, mask, **options)
    assert source.n_targets == mask.sum()
    return np.concatenate([block.copy() for _, block in source.blocks(n_per_block)])


def by_nilearn(values, grid, mask, interpolation, smoothing_mm=None):
    image = nibabel.Nifti1Image(values, AFFINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if smoothing_mm is not None:
            image = smooth_img(image, smoothing_mm)
        image = resample_img(image, grid.affine, grid.shape, interpolation=interpolation, copy_header=True)
    return image.get_fdata()[mask].T


NILEARN = {"linear": "linear", "nearest": "nearest", "cubic": "continuous"}


@pytest.mark.parametrize(
    ("interpolation", "smoothing_mm", "storage"),
    [
        ("linear", None, ("bold.nii", ">i2", 0.5, -20)),
        ("nearest", None, ("bold.nii.gz", "<i2", 2.0, 100)),
        ("cubic", None, ("bold.nii.gz", "<f4", None, None)),
        ("cubic", None, ("bold.nii", ">f8", None, None)),
        ("linear", 5.0, ("bold.nii.gz", ">f4", None, None)),
        ("cubic", 4.0, ("bold.nii.gz", "<i2", 0.25, 3)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_equals_nilearn(tmp_path, interpolation, smoothing_mm, storage, turned):
    name, dtype, slope, intercept = storage
    values = write_series(tmp_path / name, dtype, slope, intercept)
    grid = target_grid(SHAPE, AFFINE, 3.1)
    if turned:  # also voxels beyond the field of view and splines beyond the border
        angle = 0.2
        rotation = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        affine = np.array(grid.affine)
        affine[:3, :3] = rotation @ affine[:3, :3]
        affine[:3, 3] += [1.013, -0.777, 0.311]
        grid = Grid(grid.shape, affine)
    mask = np.random.default_rng(0).random(grid.shape) < 0.8
    ours = streamed(tmp_path / name, grid, mask, interpolation=interpolation, smoothing_mm=smoothing_mm)
    expected = by_nilearn(values, grid, mask, NILEARN[interpolation], smoothing_mm)
    np.testing.assert_allclose(ours, expected, atol=2e-3)  # of values up to 1,000
    for n_per_block in (1, 100):
        again = streamed(
            tmp_path / name, grid, mask, n_per_block, interpolation=interpolation, smoothing_mm=smoothing_mm
        )
        np.testing.assert_array_equal(again, ours)


def test_splines_of_volumes_with_nan_equal_nilearn(tmp_path):
    hole = (slice(5, 7), slice(5, 7), slice(4, 7))
    values = write_series(tmp_path / "bold.nii.gz", nan=hole)
    grid = target_grid(SHAPE, AFFINE, 2.9)  # no tie at the edge of the hole
    mask = np.ones(grid.shape, bool)
    ours = streamed(tmp_path / "bold.nii.gz", grid, mask, interpolation="cubic")
    expected = by_nilearn(values, grid, mask, "continuous")
    assert 0 < np.isnan(expected).sum() < expected.size / 10
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_smoothing_counts_nan_as_zero_as_nilearn_does(tmp_path):
    values = write_series(tmp_path / "bold.nii", nan=(5, 5, 5))
    grid = Grid(SHAPE, AFFINE)
    mask = np.ones(SHAPE, bool)
    ours = streamed(tmp_path / "bold.nii", grid, mask, smoothing_mm=6.0)
    expected = smooth_img(new_img_like(nibabel.load(tmp_path / "bold.nii"), values), 6.0).get_fdata()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(ours, expected[mask].T, atol=2e-3)
    with pytest.raises(SettingError, match=r"full width at half maximum.*not 0"):
        VolumeSource(BoldImage(tmp_path / "bold.nii"), grid, mask, smoothing_mm=0)


def prepared(folder, **options):
    grid = target_grid(SHAPE, AFFINE, 2.4)
    arguments = {"bold": folder / "bold.nii.gz", "brain_mask": None, "grid_target": grid, "tr_s": 2.0}
    arguments |= {"mask": np.ones(grid.shape, bool), "high_pass_hz": None, "out_npy": folder / "out.npy"}
    confounds = Confounds(
        np.random.default_rng(1).normal(size=(40, 3)), tuple("abc"), np.arange(40) != 9, "t", "c"
    )
    summary = prepare_run(confounds=confounds, **arguments | options)
    return summary, (folder / "out.npy").read_bytes()


def test_bytes_depend_on_neither_memory_nor_threads(tmp_path):
    from threadpoolctl import threadpool_limits

    values = np.random.default_rng(0).normal(1000, 30, (*SHAPE, 40)).astype(np.float32)
    nibabel.Nifti1Image(values, AFFINE).to_filename(tmp_path / "bold.nii.gz")
    contents = []
    for memory_mb, n_threads in ((512, 1), (512, 2), (0.05, 2), (0.4, 1)):
        with threadpool_limits(n_threads, user_api="blas"):
            contents.append(prepared(tmp_path, memory_mb=memory_mb)[1])
    assert len(set(contents)) == 1
    assert np.isfinite(np.load(tmp_path / "out.npy")).any()


def test_smoothing_and_doubtful_headers_are_in_the_summary(tmp_path):
    values = np.random.default_rng(0).normal(1000, 30, (*SHAPE, 40)).astype(np.float32)
    image = nibabel.Nifti1Image(values, AFFINE)
    shifted = np.array(AFFINE)
    shifted[0, 3] += 5
    image.set_sform(AFFINE, 4)
    image.set_qform(shifted, 1)
    image.to_filename(tmp_path / "bold.nii.gz")
    summary, _ = prepared(tmp_path, smoothing_mm=4.0, interpolation="cubic")
    assert (summary["smoothing_mm"], summary["interpolation"]) == (4.0, "cubic")
    (warning,) = summary["warnings"]
    assert warning.startswith("The sform and the qform of bold.nii.gz differ by up to 5") and "mm" in warning
    image.set_qform(AFFINE, 1)  # the shear is lost, which is below the tolerance
    image.to_filename(tmp_path / "bold.nii.gz")
    assert prepared(tmp_path)[0]["warnings"] == []


class Targets:
    """A source that gives time series, and volumes too."""

    targets_name, description, bytes_per_volume = "grayordinates", {"space": "fsLR"}, 4

    def __init__(self, values, path):
        self.values, self.path, self.asked = values, path, []
        self.n_volumes, self.n_targets = values.shape

    def blocks(self, n_volumes_per_block):
        raise AssertionError("not asked for")

    def read_targets(self, start, stop):
        self.asked.append((start, stop))
        return self.values[:, start:stop]


class Volumes(Targets):
    def blocks(self, n_volumes_per_block):
        for start in range(0, self.n_volumes, n_volumes_per_block):
            yield start, self.values[start : start + n_volumes_per_block]

    read_targets = None


def test_sources_of_targets_and_of_volumes_give_the_same(tmp_path):
    values = np.random.default_rng(0).normal(100, 3, (30, 9000)).astype(np.float32)
    values[:, 77] = np.nan
    targets, volumes = Targets(values, tmp_path / "x.dtseries.nii"), Volumes(values, tmp_path / "x.nii")
    assert isinstance(targets, TargetReader)
    confounds = Confounds(
        np.random.default_rng(1).normal(size=(30, 3)), tuple("abc"), np.arange(30) > 1, "t", "c"
    )
    contents = []
    for source, memory_mb in ((targets, 512), (targets, 0.1), (volumes, 0.1), (volumes, 512)):
        summary = prepare_responses(
            source, confounds, tr_s=1.0, high_pass_hz=0.01, out_npy=tmp_path / "out.npy", memory_mb=memory_mb
        )
        assert (summary["space"], summary["n_constant"]) == ("fsLR", 1)
        contents.append((tmp_path / "out.npy").read_bytes())
    assert len(set(contents)) == 1
    first = sorted(targets.asked[: len(targets.asked) // 2])
    assert [0, *(stop for _, stop in first)] == [*(start for start, _ in first), 9000]
    values[12, [3, 5000]] = np.inf
    values[20, 8] = np.nan
    for source in (targets, volumes):
        with pytest.raises(
            InputError, match=r"first in volume 13 of 30 \(3 of 9000 grayordinates are affected\)"
        ):
            write_clean_responses(
                source,
                np.full((28, 1), 28**-0.5),
                confounds.keep,
                tmp_path / "bad.npy",
                memory_mb=1,
                standardise=True,
                progress=False,
            )
