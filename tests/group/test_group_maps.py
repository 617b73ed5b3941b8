"""Group maps from files: tests against scipy, and what cannot be compared is left out or refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis
from scipy.stats import false_discovery_control, ttest_1samp

from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.geometry import VolumeGeometry
from cinebold.bold.maps import map_values
from cinebold.bold.parcel_geometry import ParcelGeometry
from cinebold.bold.parcels import Parcellation
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.errors import InputError
from cinebold.group.maps import group_maps

SHAPE, AFFINE, N = (5, 6, 4), np.diag([3.0, 3.0, 3.0, 1.0]), 6


def save_image(path, values, affine=AFFINE):
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
    return str(path)


def save_model(prefix, components):
    n, p = components.shape
    reducer = SpaceReducer(
        mean=np.zeros(p),
        scale=np.ones(p),
        components=components,
        explained_variance_ratio=np.ones(n) / n,
        unit=1.0,
    )
    EncodingModel(
        reducers={"a": reducer}, delays=(1,), tr_s=2.0, weights={"a": np.zeros((n, 1, 3), np.float32)},
        intercept=np.zeros(3, np.float32),
    ).save(prefix)  # fmt: skip
    return str(prefix)


@pytest.fixture
def group(tmp_path):
    """Six participants; one lacks a voxel."""
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.standard_normal((4, 4)))[0][:2]
    r = np.tanh(rng.normal(0.2, 0.2, (N, *SHAPE)))
    r[3, 0, 0, 0] = np.nan
    weights = rng.normal(0.5, 1, (N, *SHAPE, 2))
    names = [f"{k:02d}" for k in range(N)]
    return (
        r,
        weights,
        {who: save_image(tmp_path / f"r{who}.nii.gz", r[k]) for k, who in enumerate(names)},
        {who: {"a": save_image(tmp_path / f"w{who}.nii.gz", weights[k])} for k, who in enumerate(names)},
        {who: save_model(tmp_path / f"m{who}", components) for who in names},
    )


def test_maps_equal_scipy_on_the_common_mask(group):
    r, weights, *paths = group
    found, geometry, summary = group_maps(*paths, q=0.05)
    mask = np.isfinite(r).all(axis=0)
    np.testing.assert_array_equal(geometry.kept, mask)
    assert summary["n_targets"] == mask.sum() == np.prod(SHAPE) - 1
    assert summary["n_targets_by_participant"]["03"] == mask.sum()
    expected = ttest_1samp(np.arctanh(r.astype(np.float32)[:, mask].astype(float)), 0)
    np.testing.assert_allclose(found["stat-t_desc-r"], expected.statistic, rtol=1e-4)
    np.testing.assert_allclose(found["stat-p_desc-r"], expected.pvalue, rtol=1e-3)
    np.testing.assert_allclose(found["stat-q_desc-r"], false_discovery_control(expected.pvalue), rtol=1e-3)
    np.testing.assert_allclose(found["stat-r"], np.tanh(np.arctanh(r[:, mask]).mean(axis=0)), atol=1e-6)
    of_weights = ttest_1samp(weights[:, mask], 0)  # (n_voxels, n_components)
    np.testing.assert_allclose(found["stat-t_desc-a"], of_weights.statistic.T, rtol=1e-3)
    for k in range(2):  # within each component, not over all of them
        np.testing.assert_allclose(
            found["stat-q_desc-a"][k], false_discovery_control(of_weights.pvalue[:, k]), rtol=1e-3
        )


def test_surfaces_and_grayordinates_give_what_voxels_give(group, tmp_path):
    """The same numbers in files of every geometry; what is written of them comes back with NaN where one had none."""
    r, weights, *_, models = group
    n = r[0].size
    axis = BrainModelAxis.from_mask(np.ones(n, bool), name="CortexLeft")
    expected, *_ = group_maps(*group[2:], q=0.05)
    for kind, geometry in {
        "surface": SurfaceGeometry(np.ones(n, bool), (70, n - 70)),
        "cifti": CiftiGeometry(np.ones(n, bool), axis),
    }.items():
        folder = tmp_path / kind
        r_maps = {
            who: geometry.save_map(folder / f"{who}_stat-r", r[k].reshape(-1))[0]
            for k, who in enumerate(models)
        }
        weight_maps = {
            who: {"a": geometry.save_map(folder / f"{who}_stat-weight", weights[k].reshape(n, 2).T)[0]}
            for k, who in enumerate(models)
        }
        found, targets, summary = group_maps(r_maps, weight_maps, models, q=0.05)
        assert summary["n_targets"] == n - 1
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{kind} {name}")
        written = targets.save_map(folder / "stat-t_desc-a", found["stat-t_desc-a"])[0]
        np.testing.assert_allclose(
            map_values(written, 1)[targets.kept], expected["stat-t_desc-a"][1], rtol=1e-6
        )
        assert np.isnan(map_values(written)[..., 0]).all()
    r_maps["02"] = group[2]["02"]
    with pytest.raises(InputError, match=r"sub-02.*different surfaces"):
        group_maps(r_maps, weight_maps, models, q=0.05)


def test_painted_maps_are_tested_parcel_by_parcel(group, tmp_path):
    """Parcels of very different sizes: each counts once, whatever it covers in each participant."""
    labels = (
        np.minimum(np.arange(np.prod(SHAPE)), 9).reshape(SHAPE) + 1
    )  # the last one has most of the voxels
    rng = np.random.default_rng(1)
    r, weights = np.tanh(rng.normal(0.2, 0.2, (N, 10))), rng.normal(0.5, 1, (N, 2, 10))
    r_maps, weight_maps, models = {}, {}, group[4]
    for k, (who, model) in enumerate(models.items()):
        inside = labels != 1 + k % 2
        parcels = ParcelGeometry(VolumeGeometry(inside, AFFINE), Parcellation(labels[inside]))
        values = [of[..., np.array(parcels.parcellation.indices) - 1] for of in (r[k], weights[k])]
        r_maps[who], weight_maps[who] = (
            str(parcels.save_map(tmp_path / f"{who}_{name}", one)[0])
            for name, one in zip("rw", values, strict=True)
        )
        weight_maps[who] = {"a": weight_maps[who]}
        card = json.loads(Path(f"{model}.json").read_text())
        card["fit"]["geometry"] = parcels.describe()
        Path(f"{model}.json").write_text(json.dumps(card))
    found, geometry, summary = group_maps(r_maps, weight_maps, models, q=0.05)
    assert (summary["n_targets"], summary["n_targets_by_participant"]["01"]) == (8, 9)
    (path,) = geometry.save_map(tmp_path / "q", found["stat-q_desc-r"])
    p = ttest_1samp(np.arctanh(r.astype(np.float32)[:, 2:].astype(float)), 0).pvalue
    expected = np.concatenate([[np.nan, np.nan], false_discovery_control(p)])[labels - 1]
    np.testing.assert_allclose(map_values(path), expected, rtol=1e-3)
    of_weights = ttest_1samp(weights[:, 1, 2:].astype(np.float32).astype(float), 0).pvalue
    painted = geometry.filled(found["stat-q_desc-a"][1])
    expected = np.concatenate([[np.nan, np.nan], false_discovery_control(of_weights)])[labels - 1]
    np.testing.assert_allclose(painted, expected, rtol=1e-3)


def test_weights_of_other_components_are_left_out_and_said_so(group, tmp_path):
    *_, r_maps, weight_maps, models = group
    models["02"] = save_model(tmp_path / "other", np.eye(4)[:2])
    values, _, summary = group_maps(r_maps, weight_maps, models, q=0.05)
    assert not any("desc-a" in name for name in values)
    assert "sub-02" in summary["warnings"][0]


def test_other_grids_are_refused(group, tmp_path):
    r, _, r_maps, weight_maps, models = group
    r_maps["02"] = save_image(tmp_path / "shifted.nii.gz", r[2], AFFINE + np.eye(4, k=3) * 3)
    with pytest.raises(InputError, match=r"sub-02.*different grids"):
        group_maps(r_maps, weight_maps, models, q=0.05)


def test_no_common_voxel_is_refused(group, tmp_path):
    *_, r_maps, weight_maps, models = group
    r_maps["02"] = save_image(tmp_path / "empty.nii.gz", np.full(SHAPE, np.nan))
    with pytest.raises(InputError, match="none of the voxels"):
        group_maps(r_maps, weight_maps, models, q=0.05)
