"""Series on surfaces and of grayordinates, as generations of fMRIPrep name them, and what is wrong with them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, SeriesAxis
from skeletons import N_VOLUMES, TR_S, Skeleton, build, write_json

from bids_app.config import load_settings
from bids_app.group_plan import group_analysis
from bids_app.inputs import collect_participant
from bids_app.layouts import index_files
from bids_app.map_descriptions import preparation_of
from bids_app.selection import Selection
from bids_app.surface_files import meshes_of_map
from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.gifti import write_gifti
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.errors import SettingError
from workflows.specifications import BoldPreparation

N = 12  #: vertices of a hemisphere


def write_pair(func, space, sides="LR", n_volumes=N_VOLUMES, order="hemi first"):
    values = np.random.default_rng(0).normal(size=(n_volumes, N))
    for run in (1, 2):
        for side in sides:
            pieces = [f"hemi-{side}", space] if order == "hemi first" else [space, f"hemi-{side}"]
            stem = "_".join([f"sub-01_task-movie_run-{run}", *pieces])
            write_gifti(func / f"{stem}_bold.func.gii", values, side, [""] * n_volumes)
            write_json(func / f"{stem}_bold.json", {"RepetitionTime": TR_S, "StartTime": 0.9})


def write_cifti(func, space):
    axis = BrainModelAxis.from_mask(np.ones(N, bool), name="CortexLeft")
    values = np.random.default_rng(0).normal(size=(N_VOLUMES, N)).astype(np.float32)
    for run in (1, 2):
        stem = func / f"sub-01_task-movie_run-{run}_{space}_bold"
        image = nibabel.Cifti2Image(values, header=(SeriesAxis(0, TR_S, N_VOLUMES), axis))
        nibabel.save(image, stem.with_name(stem.name + ".dtseries.nii"))
        write_json(stem.with_name(stem.name + ".json"), {"RepetitionTime": TR_S})
        write_json(stem.with_name(stem.name + ".dtseries.json"), {"StartTime": 0.9})


@pytest.fixture
def dirs(tmp_path):
    """Raw data and derivatives; what the skeleton has of surfaces is not readable and is removed."""
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton())
    for path in (fmriprep_dir / "sub-01" / "func").iterdir():
        if "fsLR" in path.name or "fsaverage" in path.name:
            path.unlink()
    return bids_dir, fmriprep_dir


def collect(dirs, space, density=None):
    return collect_participant(*dirs, "01", Selection(space=space, density=density))


@pytest.mark.parametrize("order", ["hemi first", "space first"])
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("space-fsaverage5", ("fsaverage5", None)),
        ("space-fsaverage5", ("fsaverage", "10k")),
        ("space-fsaverage_den-10k", ("fsaverage5", None)),
        ("space-fsaverage", ("fsaverage", "164k")),
        ("space-fsnative", ("fsnative", None)),
    ],
)
def test_pairs_are_found_under_all_their_names(dirs, order, name, wanted):
    func = dirs[1] / "sub-01" / "func"
    write_pair(func, name, order=order)
    write_pair(func, "space-fsaverage6", order=order)  # another surface, not to be mixed up
    found = collect(dirs, *wanted)
    assert found.problems == ()
    for run in found.runs:
        assert (run.geometry, run.shape, run.n_volumes) == ("surface", (2 * N,), N_VOLUMES)
        assert "hemi-L" in run.bold and run.bold_right == run.bold.replace("hemi-L", "hemi-R")
        assert name in run.bold
        assert (run.tr_s, run.start_time_s, run.brain_mask, run.gm_probseg) == (TR_S, 0.9, None, None)
        assert sum(source.endswith("func.gii") for source in run.sources) == 2
    assert not any("repetition time" in text for text in found.warnings)


def test_a_missing_or_shorter_hemisphere_is_named(dirs):
    func = dirs[1] / "sub-01" / "func"
    write_pair(func, "space-fsaverage5", sides="R")
    (first, _) = collect(dirs, "fsaverage5").problems
    assert "no series of the other hemisphere (hemi-L)" in first and "hemi-R_space-fsaverage5" in first
    write_pair(func, "space-fsaverage5", sides="L", n_volumes=N_VOLUMES - 2)
    assert "get the shorter one again" in collect(dirs, "fsaverage5").problems[0]


def test_cifti_series_and_both_their_sidecars(dirs):
    func = dirs[1] / "sub-01" / "func"
    write_cifti(func, "space-fsLR_den-91k")
    (run, _) = collect(dirs, "fsLR").runs
    assert (run.geometry, run.shape, run.tr_s, run.start_time_s) == ("cifti", (N,), TR_S, 0.9)
    assert run.entities["den"] == "91k"
    write_cifti(func, "space-fsLR_den-170k")
    problem = collect(dirs, "fsLR").problems[0]
    assert "den-170k" in problem and "SPACE:den-DEN" in problem
    assert "den-170k" in collect(dirs, "fsLR", "170k").runs[0].bold
    assert "there are" in collect(dirs, "fsLR", "32k").problems[0]


def test_cortex_masks_and_surfaces_of_the_right_mesh_are_used(dirs):
    func, anat = (dirs[1] / "sub-01" / folder for folder in ("func", "anat"))
    write_pair(func, "space-fsnative")
    write_pair(func, "space-fsaverage5")
    for side in "LR":
        write_gifti(anat / f"sub-01_hemi-{side}_desc-cortex_mask.label.gii", np.ones((1, N)), side, [""])
        write_gifti(anat / f"sub-01_hemi-{side}_midthickness.surf.gii", np.ones((1, N)), side, [""])
    (native, _), (average, _) = collect(dirs, "fsnative").runs, collect(dirs, "fsaverage5").runs
    assert ["hemi-L" in native.cortex_masks[0], "hemi-R" in native.meshes[1]] == [True, True]
    assert (average.cortex_masks, average.meshes) == ((), ())
    _, remarks = preparation_of([average], BoldPreparation(resolution_mm=3.0), 3.0)
    assert "stay as they are" in remarks[0] and "no cortex mask" in remarks[1]
    with pytest.raises(SettingError, match="chooses voxels"):
        preparation_of([native], BoldPreparation(mask="roi.nii.gz"), None)


@pytest.mark.parametrize(("cifti", "density"), [(True, "91k"), (False, "32k")])
def test_a_groups_maps_are_drawn_on_the_surfaces_of_a_participant(dirs, tmp_path, cifti, density):
    """Those of the density and number of vertices of the maps; never the participant's own surface, or another."""
    anat = dirs[1] / "sub-01" / "anat"
    wanted = [anat / f"sub-01_hemi-{side}_space-fsLR_den-32k_midthickness.surf.gii" for side in "LR"]
    for side, path in zip("LR", wanted, strict=True):
        write_gifti(path, np.ones((1, N)), side, [""])
        write_gifti(anat / f"sub-01_hemi-{side}_midthickness.surf.gii", np.ones((1, N)), side, [""])
    derived = index_files(dirs[1], ["01"])
    found = []
    for n, label in ((N, density), (N, "59k"), (N + 1, density)):
        geometry = SurfaceGeometry(np.ones(2 * n, bool), (n, n))
        if cifti:
            axes = [
                BrainModelAxis.from_mask(np.ones(n, bool), name=f"Cortex{one}") for one in ("Left", "Right")
            ]
            geometry = CiftiGeometry(np.ones(2 * n, bool), axes[0] + axes[1])
        stem = tmp_path / f"sub-01_task-movie_space-fsLR_den-{label}_model-x{n}_stat-r_statmap"
        (first, *_) = geometry.save_map(stem, np.ones(2 * n))
        found.append([Path(mesh) for mesh in meshes_of_map(first, derived)])
    assert found == [wanted, [], []]


def test_options_that_make_no_sense_are_told(dirs, tmp_path):
    given = {"bids_dir": dirs[0], "output_dir": tmp_path / "out", "analysis_level": "group"}
    settings = load_settings({**given, "output_spaces": "fsLR:den-91k"})
    assert (settings.space, settings.input_density, settings.input_resolution) == ("fsLR", "91k", None)
    with pytest.raises(SettingError, match="vertices cannot be compared"):
        group_analysis(load_settings({**given, "output_spaces": "fsnative"}), None, Selection())
    with pytest.raises(SettingError, match="SPACE:den-LABEL"):
        _ = load_settings({**given, "output_spaces": "fsaverage:10k"}).input_density
