"""The confounds table: readable by nilearn, with fMRIPrep's names and definitions."""

import nibabel as nib
import numpy as np
import pytest

from cinebold.simulate.confounds import make_confounds, read_table, simple_strategy, write_confounds
from cinebold.simulate.noise import head_motion, slow_cosines


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    series = 1000 + 10 * rng.standard_normal((80, 300)).astype(np.float32)
    motion, cosines = head_motion(80, 2.0, rng), slow_cosines(80, 2.0)
    tissue = rng.uniform(0, 1, (2, 300))
    columns, metadata = make_confounds(
        series, motion, cosines, white=tissue[0], csf=tissue[1], n_non_steady=2
    )
    path = write_confounds(tmp_path / "sub-01_task-x_desc-confounds_timeseries.tsv", columns, metadata)
    return series, motion, columns, path


def test_expansions_and_framewise_displacement_follow_their_definitions(table):
    _, motion, _, path = table
    read = read_table(path)
    np.testing.assert_allclose(read["rot_y"], motion[:, 4], rtol=1e-9)
    np.testing.assert_allclose(read["rot_y_power2"], motion[:, 4] ** 2, rtol=1e-8)
    np.testing.assert_allclose(read["trans_x_derivative1"][1:], np.diff(motion[:, 0]), atol=1e-9)
    np.testing.assert_allclose(read["trans_x_derivative1_power2"][1:], np.diff(motion[:, 0]) ** 2, atol=1e-9)
    expected = [
        sum(abs(motion[t, k] - motion[t - 1, k]) * (1 if k < 3 else 50) for k in range(6))
        for t in range(1, 80)
    ]
    np.testing.assert_allclose(read["framewise_displacement"][1:], expected, rtol=1e-8)
    undefined = [name for name, values in read.items() if np.isnan(values).any()]
    assert all(np.isnan(read[name][0]) and np.isfinite(read[name][1:]).all() for name in undefined)
    assert {"trans_x_derivative1", "csf_derivative1", "framewise_displacement", "dvars", "std_dvars"} <= set(
        undefined
    )


def test_standardised_dvars_of_white_noise_is_one(table):
    assert np.nanmean(read_table(table[3], ["std_dvars"])["std_dvars"]) == pytest.approx(1, abs=0.1)


def test_components_are_orthonormal_high_passed_and_described(table):
    import json

    read = read_table(table[3])
    metadata = json.loads(table[3].with_suffix(".json").read_text())
    names = [name for name in read if name.startswith("a_comp_cor_")]
    components = np.stack([read[name] for name in names], axis=1)[2:]
    np.testing.assert_allclose(components.T @ components, np.eye(len(names)), atol=1e-8)
    share = [metadata[name]["VarianceExplained"] for name in names]
    assert share == sorted(share, reverse=True)
    assert {metadata[name]["Mask"] for name in names} == {"combined"}
    assert metadata["w_comp_cor_00"]["Mask"] == "WM"


@pytest.mark.parametrize("strategy", ["simple", "scrubbing", "compcor"])
def test_nilearn_reads_it(table, tmp_path, strategy):
    from nilearn.interfaces.fmriprep import load_confounds_strategy

    image = tmp_path / "sub-01_task-x_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 80), np.float32), np.eye(4)), image)
    confounds, sample_mask = load_confounds_strategy(str(image), denoise_strategy=strategy)
    assert len(confounds) == 80
    assert np.isfinite(confounds.to_numpy()).all()
    assert sample_mask is not None
    assert 0 not in sample_mask and 1 not in sample_mask


def test_simple_strategy_spans_the_same_space_as_that_of_nilearn(table, tmp_path):
    from nilearn.interfaces.fmriprep import load_confounds_strategy

    image = tmp_path / "sub-01_task-x_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 80), np.float32), np.eye(4)), image)
    confounds, sample_mask = load_confounds_strategy(str(image), denoise_strategy="simple")
    ours, keep = simple_strategy(read_table(table[3]))
    np.testing.assert_array_equal(np.flatnonzero(keep), sample_mask)
    theirs = confounds.to_numpy()
    assert ours.shape == theirs.shape

    def projector(columns):
        columns = columns[keep] - columns[keep].mean(axis=0)
        basis = np.linalg.svd(columns / columns.std(axis=0), full_matrices=False)[0]
        return basis @ basis.T

    np.testing.assert_allclose(projector(ours), projector(theirs), atol=1e-6)
