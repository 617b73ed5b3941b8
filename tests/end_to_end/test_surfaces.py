"""GIFTI and CIFTI from the command line: vertices get the r of the voxels that their series came from."""

import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from nilearn.surface import load_surf_data

from cinebold.bold.maps import map_values
from cinebold.simulate.brain import make_brain, template_grid
from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.settings import quick_settings
from cinebold.simulate.surfaces import make_projections

pytestmark = pytest.mark.slow

OPTIONS = ("--features", "low_level", "--permutations", "50", "--nprocs", "1")


@pytest.fixture(scope="module")
def done(tmp_path_factory, cinebold):
    """Two participants on fsaverage3, the first one's grayordinates and voxels besides."""
    root = tmp_path_factory.mktemp("surfaces")
    settings = quick_settings(
        n_runs=2, film_seconds=40.0, shared_seconds=6.0, resolution_mm=10.0, anat_resolution_mm=6.0,
        surfaces=("fsaverage3", "fsLR"),
    )  # fmt: skip
    bids, out = simulate_dataset(root / "bids", settings), root / "out"
    volume = (
        "--participant-label",
        "01",
        "--mask",
        "brain",
        "--resolution",
        "native",
        "--model-label",
        "volume",
    )
    for arguments in (
        ("participant", "--output-spaces", "fsaverage3"),
        ("group", "--output-spaces", "fsaverage:den-642"),
        ("participant", "--output-spaces", "fsLR:den-5k", "--participant-label", "01"),
        ("participant", *volume),
    ):
        run = cinebold(bids, out, *arguments, "-w", root / "work", *OPTIONS)
        assert run.returncode == 0, run.stderr
    brain = make_brain(*template_grid(settings.resolution_mm))
    return SimpleNamespace(bids=bids, out=out, func=out / "sub-01" / "func", brain=brain)


def voxel_r(done, projection):
    (path,) = done.func.glob("*model-volume_stat-r_statmap.nii.gz")
    return projection.geometry.filled(map_values(path)[done.brain.mask][projection.voxels])


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("fsaverage3", "hemi-L_space-fsaverage3_model-lowlevel_stat-r_statmap.func.gii"),
        ("fsLR", "space-fsLR_den-5k_model-lowlevel_stat-r_statmap.dscalar.nii"),
    ],
)
def test_r_is_that_of_the_voxels_and_near_the_best_possible(done, space, name):
    (projection,) = make_projections((space,), done.brain)
    r = map_values(done.func / f"sub-01_task-movie_{name}")
    expected = voxel_r(done, projection)
    # Voxels are stored with 16 bits, vertices as they are: where r is noise, another alpha may be chosen.
    finite = np.isfinite(expected)
    assert np.isfinite(r[finite]).all() and finite.sum() > 1000
    difference = np.abs(r - expected)[finite]
    assert np.median(difference) < 0.001 and np.quantile(difference, 0.98) < 0.02
    before, _, _ = name.partition("_model-")
    truth = done.bids / "derivatives" / "simulation-truth" / "sub-01" / "func"
    ending = name.partition("_statmap")[2]
    best = map_values(truth / f"sub-01_{before}_stat-bestr_desc-cleaned_statmap{ending}")
    planted = finite & (best > 0)
    assert r[planted].mean() > r[finite & (best == 0)].mean() + 0.15


def test_maps_open_elsewhere_with_their_structures_and_sidecars(done):
    stem = done.func / "sub-01_task-movie_hemi-R_space-fsaverage3_model-lowlevel_stat-r_statmap"
    path = stem.with_name(stem.name + ".func.gii")
    assert nibabel.load(path).meta["AnatomicalStructurePrimary"] == "CortexRight"
    assert load_surf_data(str(path)).shape == (642,)
    sidecar = json.loads(stem.with_name(stem.name + ".json").read_text())
    assert sidecar["Density"] == "1284 vertices of both hemispheres"
    assert "Resolution" not in sidecar and sidecar["ModelParameters"]["Responses"]["resolution_mm"] is None
    assert sum("hemi-L" in source for source in sidecar["Sources"]) == 2
    stem = "sub-01_task-movie_space-fsLR_den-5k_model-lowlevel_stat-weight_desc-lowlevel_statmap"
    weights = nibabel.load(done.func / f"{stem}.dscalar.nii")
    assert list(weights.header.get_axis(0).name)[:2] == ["lowlevel 00", "lowlevel 01"]
    assert json.loads((done.func / f"{stem}.json").read_text())["Density"].endswith("grayordinates")


def test_the_group_has_maps_of_both_hemispheres_and_figures(done):
    folder = done.out / "tpl-fsaverage3" / "func"
    stem = "tpl-fsaverage3_task-movie_hemi-{}_model-lowlevel_stat-{}_statmap.func.gii"
    for statistic in ("r", "t_desc-r", "weight_desc-lowlevel"):
        assert {(folder / stem.format(side, statistic)).is_file() for side in "LR"} == {True}
    members = [
        np.arctanh(map_values(done.out / f"sub-{who}/func/sub-{who}_task-movie_hemi-L_space-fsaverage3_model-lowlevel_"
                              "stat-r_statmap.func.gii").astype(float))
        for who in ("01", "02")
    ]  # fmt: skip
    mean = map_values(folder / stem.format("L", "r"))
    np.testing.assert_allclose(mean, np.tanh(np.mean(members, axis=0)), atol=1e-5)
    figures = {
        path.name.partition("_desc-")[2]
        for path in (done.out / "figures").glob("group_space-fsaverage3*.png")
    }
    assert {"rsurface_figure.png", "tsurface_figure.png"} <= figures
    listing = next((done.out / "sub-01" / "figures").glob("*fsaverage3*_desc-figures_report.json"))
    content = json.loads(listing.read_text())
    assert content["not_made"]["rslices"].endswith("which have no slices")
    assert content["figures"]["rsurface"]["surface"] == "the inflated fsaverage5 surface"
