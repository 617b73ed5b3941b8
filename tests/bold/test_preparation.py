"""A run from file to responses: equal to nilearn, bounded in memory, durable, clear about bad runs."""

import json
import tracemalloc

import nibabel
import numpy as np
import pytest
from nilearn.image import resample_img
from nilearn.signal import clean

from cinebold.bold.confounds import Confounds, load_confounds
from cinebold.bold.grid import Grid, target_grid, world_grid
from cinebold.bold.masks import build_mask
from cinebold.bold.preparation import prepare_run
from cinebold.errors import InputError

AFFINE = np.array([[2.0, 0, 0, -17], [0, 2.0, 0, -20], [0, 0, 2.2, -15], [0, 0, 0, 1]])
SHAPE, N, TR = (16, 18, 14), 60, 1.5


def confounds_of(n=N, k=5, drop=(), names=None, seed=4):
    values = np.random.default_rng(seed).normal(size=(n, k))
    keep = ~np.isin(np.arange(n), drop)
    return Confounds(values, names or tuple(f"c{i}" for i in range(k)), keep, "test", "confounds.tsv")


@pytest.fixture
def run(tmp_path):
    """A random run with a ball as its brain."""
    rng = np.random.default_rng(0)
    data = rng.normal(8000, 60, (*SHAPE, N)).astype(np.float32)
    distance = np.linalg.norm(np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2, axis=-1).T
    brain = (distance < 6.5).astype(np.uint8)
    nibabel.Nifti1Image(data, AFFINE).to_filename(tmp_path / "bold.nii.gz")
    nibabel.Nifti1Image(brain, AFFINE).to_filename(tmp_path / "brain.nii.gz")
    return tmp_path, data, brain.astype(bool)


def prepare(folder, grid, mask, confounds, **changes):
    arguments = {
        "bold": folder / "bold.nii.gz",
        "brain_mask": folder / "brain.nii.gz",
        "grid_target": grid,
        "mask": mask,
        "confounds": confounds,
        "tr_s": TR,
        "high_pass_hz": 0.01,
        "out_npy": folder / "responses.npy",
    } | changes
    summary = prepare_run(**arguments)
    return summary, np.load(arguments["out_npy"])


def expected_by_nilearn(data, grid, mask, confounds, high_pass_hz=0.01):
    image = nibabel.Nifti1Image(data, AFFINE)
    resampled = resample_img(image, grid.affine, grid.shape, interpolation="linear", copy_header=True)
    series = resampled.get_fdata()[mask].T
    n = confounds.keep.sum()
    cleaned = clean(
        series,
        detrend=False,
        standardize="zscore_sample",
        sample_mask=None if confounds.keep.all() else np.flatnonzero(confounds.keep),
        confounds=confounds.values,
        filter="cosine",
        high_pass=high_pass_hz,
        t_r=TR,
    )
    return cleaned * np.sqrt(n / (n - 1))


@pytest.mark.parametrize("resolution_mm", [None, 3.0])
@pytest.mark.parametrize("drop", [(), (0, 1, 30)])
def test_equals_nilearn(run, resolution_mm, drop):
    folder, data, _ = run
    grid = target_grid(SHAPE, AFFINE, resolution_mm)
    mask = build_mask("brain", grid, brain_masks=[folder / "brain.nii.gz"])
    confounds = confounds_of(drop=drop)
    summary, responses = prepare(folder, grid, mask, confounds)
    assert responses.shape == (N, mask.sum()) and responses.dtype == np.float32
    expected = expected_by_nilearn(data, grid, mask, confounds)
    np.testing.assert_allclose(responses[confounds.keep], expected, atol=2e-4)
    assert np.all(responses[~confounds.keep] == 0)
    json.dumps(summary, allow_nan=False)
    # The mean, five confounds and floor(2 * 60 * 1.5 s * 0.01 Hz) = 1 cosine.
    assert summary["degrees_of_freedom_lost"] == 7
    assert (summary["n_volumes"], summary["n_volumes_kept"]) == (N, N - len(drop))
    assert (summary["n_targets"], summary["n_constant"]) == (mask.sum(), 0)
    assert summary["confound_columns"] == ["c0", "c1", "c2", "c3", "c4"]
    assert summary["high_pass_hz"] == 0.01
    if resolution_mm is None:
        series = data[mask].T[confounds.keep].astype(float)
        assert summary["tsnr_median"] == pytest.approx(np.median(series.mean(0) / series.std(0)), rel=1e-5)


def test_target_order_is_the_masks(run):
    """Planted: every voxel is its own frequency, found where `image[mask] = column` puts it."""
    folder, _, brain = run
    voxels = np.argwhere(brain)
    frequencies = 0.2 + np.arange(len(voxels)) / len(voxels)
    data = np.zeros((*SHAPE, N), np.float32)
    for voxel, frequency in zip(voxels, frequencies, strict=True):
        data[tuple(voxel)] = 1000 + 10 * np.sin(frequency * np.arange(N))
    nibabel.Nifti1Image(data, AFFINE).to_filename(folder / "bold.nii.gz")
    _, responses = prepare(folder, Grid(SHAPE, AFFINE), brain, confounds_of(k=0), high_pass_hz=None)
    back = np.zeros((*SHAPE, N), np.float32)
    back[brain] = responses.T
    expected = data - data.mean(-1, keepdims=True)
    expected[brain] /= data[brain].std(-1, keepdims=True)
    np.testing.assert_allclose(back[brain], expected[brain], atol=1e-4)


def test_fmriprep_cosines_replace_ours(run):
    folder, _, brain = run
    names = ("cosine00", "c1", "c2", "c3", "c4")
    summary, _ = prepare(folder, Grid(SHAPE, AFFINE), brain, confounds_of(names=names))
    assert summary["degrees_of_freedom_lost"] == 6
    assert summary["high_pass_hz"] is None


def test_memory_limit_changes_nothing_and_bytes_repeat(run):
    folder, _, _ = run
    grid = target_grid(SHAPE, AFFINE, 2.5)
    mask = build_mask("brain", grid, brain_masks=[folder / "brain.nii.gz"])
    contents = []
    for number, memory_mb in enumerate((0.1, 512, 512)):
        out = folder / f"responses{number}.npy"
        prepare(folder, grid, mask, confounds_of(), memory_mb=memory_mb, out_npy=out)
        contents.append(out.read_bytes())
    assert contents[1] == contents[2]
    small, large = np.load(folder / "responses0.npy"), np.load(folder / "responses1.npy")
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_memory_does_not_grow_with_the_run(tmp_path):
    peaks = []
    shape = (24, 24, 24)
    mask = np.ones(shape, bool)
    for n in (50, 400):
        rng = np.random.default_rng(0)
        data = rng.integers(500, 1500, (*shape, n)).astype(np.int16)
        nibabel.Nifti1Image(data, np.diag([2, 2, 2, 1.0])).to_filename(tmp_path / "bold.nii.gz")
        del data
        tracemalloc.start()
        prepare_run(
            bold=tmp_path / "bold.nii.gz",
            brain_mask=None,
            grid_target=Grid(shape, np.diag([2, 2, 2, 1.0])),
            mask=mask,
            confounds=confounds_of(n),
            tr_s=TR,
            high_pass_hz=0.01,
            out_npy=tmp_path / "out.npy",
            memory_mb=4,
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 2**20
    assert peaks[1] < 12 * 2**20  # the run itself is 21 MB as float32, 42 MB as float64


def test_nan_outside_the_mask_does_not_spread(run):
    folder, data, brain = run
    expected = prepare(folder, Grid(SHAPE, AFFINE), brain, confounds_of())[1]
    poisoned = data.copy()
    poisoned[~brain] = np.nan
    nibabel.Nifti1Image(poisoned, AFFINE).to_filename(folder / "bold.nii.gz")
    np.testing.assert_array_equal(prepare(folder, Grid(SHAPE, AFFINE), brain, confounds_of())[1], expected)


def test_nan_inside_the_mask(run):
    folder, data, brain = run
    grid = Grid(SHAPE, AFFINE)
    voxel = tuple(np.argwhere(brain)[20])
    data[voxel] = np.nan  # in every volume: no data there
    nibabel.Nifti1Image(data, AFFINE).to_filename(folder / "bold.nii.gz")
    summary, responses = prepare(folder, grid, brain, confounds_of())
    assert summary["n_constant"] == 1
    assert np.isnan(responses).all(axis=0).sum() == 1 and np.isnan(responses[:, 20]).all()
    data[..., 41] = np.nan
    nibabel.Nifti1Image(data, AFFINE).to_filename(folder / "bold.nii.gz")
    (folder / "responses.npy").unlink()
    with pytest.raises(InputError, match=r"bold\.nii\.gz has NaN .* first in volume 42 of 60"):
        prepare(folder, grid, brain, confounds_of())
    assert [p.name for p in folder.iterdir() if p.suffix == ".npy"] == []
    summary, _ = prepare(folder, grid, brain, confounds_of(drop=(41,)))
    assert summary["n_constant"] == 1


def test_bad_runs(run):
    folder, _, brain = run
    grid = Grid(SHAPE, AFFINE)
    with pytest.raises(InputError, match=r"confounds\.tsv have 50 rows, but .*bold\.nii\.gz has 60 volumes"):
        prepare(folder, grid, brain, confounds_of(50))
    other = folder / "other_mask.nii.gz"
    nibabel.Nifti1Image(np.ones((8, 9, 7), np.uint8), AFFINE).to_filename(other)
    with pytest.raises(InputError, match=r"other_mask.*\(8, 9, 7\).*bold.*\(16, 18, 14\)"):
        prepare(folder, grid, brain, confounds_of(), brain_mask=other)
    shifted = np.array(AFFINE)
    shifted[0, 3] += 1
    nibabel.Nifti1Image(brain.astype(np.uint8), shifted).to_filename(other)
    with pytest.raises(InputError, match="with another affine"):
        prepare(folder, grid, brain, confounds_of(), brain_mask=other)
    nibabel.Nifti1Image(np.zeros((*SHAPE, N), np.int16), AFFINE).to_filename(folder / "bold.nii.gz")
    with pytest.raises(InputError, match=r"Nothing varies in .*bold\.nii\.gz"):
        prepare(folder, grid, brain, confounds_of())
    rng = np.random.default_rng(0)
    nibabel.Nifti1Image(rng.integers(0, 99, (*SHAPE, N)).astype(np.int16), AFFINE).to_filename(
        folder / "bold.nii.gz"
    )
    content = (folder / "bold.nii.gz").read_bytes()
    (folder / "bold.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"bold\.nii\.gz should hold 60 volumes but breaks off at volume"):
        prepare(folder, grid, brain, confounds_of())
    assert not list(folder.glob("*.npy")) and not list(folder.glob(".*.npy"))


def test_real_confounds_on_their_grid(shared_data, tmp_path):
    """BOLD Moments: real confounds and TR, a small block of the real grid, confounds mixed into it."""
    tsv = next(shared_data.glob("bmd_ds005165/derivatives/versionB/**/*task-train_run-1*timeseries.tsv"))
    confounds = load_confounds(tsv, "simple")
    n = len(confounds.keep)
    rng = np.random.default_rng(0)
    shape = (6, 7, 5)
    scaled = confounds.values / confounds.values.std(0)
    signal = np.sin(np.arange(n) * 0.7)
    data = 5000 + rng.normal(size=(*shape, scaled.shape[1])) @ scaled.T * 50 + 20 * signal
    nibabel.Nifti1Image(data.astype(np.float32), np.diag([2.5, 2.5, 2.5, 1])).to_filename(
        tmp_path / "bold.nii.gz"
    )
    summary = prepare_run(
        bold=tmp_path / "bold.nii.gz",
        brain_mask=None,
        grid_target=Grid(shape, np.diag([2.5, 2.5, 2.5, 1])),
        mask=np.ones(shape, bool),
        confounds=confounds,
        tr_s=1.75,
        high_pass_hz=0.008,
        out_npy=tmp_path / "out.npy",
    )
    responses = np.load(tmp_path / "out.npy")[confounds.keep]
    design = np.column_stack([np.ones(n), confounds.values / np.abs(confounds.values).max(0)])[confounds.keep]
    rest = signal[confounds.keep]
    rest = rest - design @ np.linalg.lstsq(design, rest, rcond=None)[0]
    r = (responses * ((rest - rest.mean()) / rest.std())[:, None]).mean(0)
    assert r.min() > 0.999
    assert summary["degrees_of_freedom_lost"] == len(confounds.names) + 1


def test_haxby_slice_equals_nilearn(shared_data, tmp_path):
    """The first of twelve real runs of one slice through the whole preparation."""
    image = nibabel.load(shared_data / "haxby" / "bold.nii.gz")
    n = 121
    data = np.asanyarray(image.dataobj)[..., :n]
    nibabel.Nifti1Image(data, image.affine).to_filename(tmp_path / "bold.nii.gz")
    grid = Grid(data.shape[:3], image.affine)
    mask = build_mask(
        shared_data / "haxby" / "mask.nii.gz", grid, brain_masks=[shared_data / "haxby" / "mask.nii.gz"]
    )
    summary = prepare_run(
        bold=tmp_path / "bold.nii.gz",
        brain_mask=shared_data / "haxby" / "mask.nii.gz",
        grid_target=grid,
        mask=mask,
        confounds=confounds_of(n, k=0),
        tr_s=2.5,
        high_pass_hz=0.008,
        out_npy=tmp_path / "out.npy",
    )
    series = data[mask].T.astype(float)
    expected = clean(
        series, detrend=False, filter="cosine", high_pass=0.008, t_r=2.5, standardize="zscore_sample"
    )
    responses = np.load(tmp_path / "out.npy")
    varies = np.isfinite(responses[0])
    np.testing.assert_allclose(responses[:, varies], expected[:, varies] * np.sqrt(n / (n - 1)), atol=1e-4)
    assert np.abs(expected[:, ~varies]).max(initial=0) < 1e-6
    assert varies.sum() == summary["n_targets"] - summary["n_constant"] > 400


def test_raw_responses_are_those_of_nilearn_bit_by_bit(run):
    """As in the project of 2021: nearest neighbours at 3 mm, the whole grid, nothing regressed out, no z-score."""
    folder, data, _ = run
    grid = world_grid(SHAPE, AFFINE, 3.0)
    mask = build_mask("none", grid, brain_masks=[folder / "brain.nii.gz"])
    confounds = confounds_of(k=0)
    summary, responses = prepare(
        folder,
        grid,
        mask,
        confounds,
        high_pass_hz=None,
        interpolation="nearest",
        standardise=False,
        nuisance_npy=folder / "nuisance.npy",
    )
    image = nibabel.load(folder / "bold.nii.gz")
    expected = resample_img(
        image, target_affine=np.eye(3) * 3, interpolation="nearest", copy_header=True, force_resample=True
    ).get_fdata(dtype=np.float32)
    assert expected.shape[:3] == mask.shape
    flat = expected.reshape(-1, N).T
    empty = (flat == 0).all(axis=0)  # beyond the field of view
    assert 0 < empty.sum() < mask.size / 2
    np.testing.assert_array_equal(responses[:, ~empty], flat[:, ~empty])
    assert np.isnan(responses[:, empty]).all()
    assert summary["n_constant"] == empty.sum()
    assert summary["degrees_of_freedom_lost"] == 0
    assert (summary["standardised"], summary["interpolation"]) == (False, "nearest")
    assert np.load(folder / "nuisance.npy").shape == (N, 0)
    np.testing.assert_array_equal(np.unique(responses[:, ~empty]), np.unique(flat[:, ~empty]))
    assert set(np.unique(responses[0, ~empty])) <= set(np.unique(data[..., 0]))


def test_unstandardised_responses_lose_their_confounds_and_keep_their_means(run):
    folder, data, brain = run
    grid = target_grid(SHAPE, AFFINE, None)
    confounds = confounds_of(k=3, drop=(0, 7))
    summary, responses = prepare(
        folder, grid, brain, confounds, standardise=False, nuisance_npy=folder / "nuisance.npy"
    )
    keep = confounds.keep
    series = data[brain].T.astype(float)[keep]
    cosine = np.cos(np.pi / N * (np.arange(N) + 0.5))[:, None]
    regressors = np.hstack([confounds.values, cosine])[keep]
    regressors -= regressors.mean(axis=0)
    weights, *_ = np.linalg.lstsq(regressors, series - series.mean(axis=0), rcond=None)
    np.testing.assert_allclose(responses[keep], series - regressors @ weights, atol=2e-3)
    assert (responses[~keep] == 0).all()
    assert summary["degrees_of_freedom_lost"] == 4
    nuisance = np.load(folder / "nuisance.npy")
    assert nuisance.shape == (N, 4)
    np.testing.assert_allclose(nuisance[keep].sum(axis=0), 0, atol=1e-10)  # the constant is not among them
