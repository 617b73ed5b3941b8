"""BOLD planted in a real layout, first a small one made here, then BOLD Moments."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cinebold.errors import InputError
from cinebold.files import file_sha256, read_json, write_json, write_text
from cinebold.simulate.confounds import make_confounds, read_table, write_confounds
from cinebold.simulate.excerpts import provide_films
from cinebold.simulate.films import make_film
from cinebold.simulate.layout import find_runs, read_showings
from cinebold.simulate.noise import head_motion, slow_cosines
from cinebold.simulate.on_layout import simulate_on_layout
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.truth import best_r_map, planted_mask, read_truth

BMD = Path("bmd_ds005165")
BMD_FMRIPREP = BMD / "derivatives" / "versionB" / "fmriprep"


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A raw dataset and its derivatives as text only: two runs of 60 volumes, and one without confounds."""
    rng = np.random.default_rng(0)
    tmp_path = tmp_path_factory.mktemp("layout")
    raw, fmriprep, films = tmp_path / "raw", tmp_path / "fmriprep", tmp_path / "films"
    write_json(
        raw / "dataset_description.json", {"Name": "Small", "BIDSVersion": "1.8.0", "DatasetDOI": "doi:1/2"}
    )
    write_text(raw / "participants.tsv", "participant_id\tage\nsub-01\t30\nsub-02\t31\n")
    for run in (1, 2, 3):
        stem = f"sub-01_ses-a_task-clips_run-{run}"
        rows = [f"{4 + 4 * i:.3f}\t3.000\tset/{100 * run + i:04d}.mp4\tclip" for i in range(20)]
        rows.insert(5, "26.0\t1.0\tn/a\toddball")
        text = "\n".join(["onset\tduration\tstim_file\ttrial_type", *rows]) + "\n"
        write_text(raw / f"sub-01/ses-a/func/{stem}_events.tsv", text)
        write_json(raw / f"sub-01/ses-a/func/{stem}_bold.json", {"TaskName": "clips", "RepetitionTime": 1.75})
        if run < 3:
            motion, cosines = head_motion(60, 1.75, rng), slow_cosines(60, 1.75)
            series = 1000 + rng.standard_normal((60, 100)).astype(np.float32)
            tissue = np.linspace(0, 1, 100)
            table = make_confounds(series, motion, cosines, white=tissue, csf=tissue[::-1], n_non_steady=1)
            write_confounds(fmriprep / f"sub-01/ses-a/func/{stem}_desc-confounds_timeseries.tsv", *table)
    for name, seconds in (("long", 12.0), ("short", 4.0), ("too-short", 1.0)):
        make_film(films / f"{name}.mp4", seconds, np.random.default_rng(len(name)), frame_shape=(48, 64))
    return raw, fmriprep, films


@pytest.fixture(scope="module")
def planted_layout(layout, tmp_path_factory):
    return simulate_on_layout(
        tmp_path_factory.mktemp("planted"),
        *layout,
        settings=SimulationSettings(anat_resolution_mm=8.0),
        grid_shape=(18, 22, 17),
        voxel_mm=(9.0, 9.0, 9.5),
    )


def test_series_take_the_shape_of_the_layout(layout, planted_layout):
    raw, fmriprep, _ = layout
    out = planted_layout
    func = out / "derivatives/fmriprep/sub-01/ses-a/func"
    runs = sorted(func.glob("*_desc-preproc_bold.nii.gz"))
    assert [path.name.split("_")[3] for path in runs] == ["run-1", "run-2"]  # run 3 has no confounds
    image = nib.load(runs[0])
    assert image.shape == (18, 22, 17, 60)
    assert image.header.get_zooms() == pytest.approx((9, 9, 9.5, 1.75))
    for name in ("sub-01_ses-a_task-clips_run-2_desc-confounds_timeseries.tsv",):
        assert (func / name).read_bytes() == (fmriprep / "sub-01/ses-a/func" / name).read_bytes()
    events = "sub-01/ses-a/func/sub-01_ses-a_task-clips_run-1_events.tsv"
    assert (out / events).read_bytes() == (raw / events).read_bytes()
    assert (out / "participants.tsv").read_text() == "participant_id\tage\nsub-01\t30\n"
    assert read_json(out / "dataset_description.json")["SourceDatasets"] == [{"DOI": "doi:1/2"}]
    planted = planted_mask(out)
    best = best_r_map(out, "01", "ideal")
    assert 0.5 < best[planted].mean() < 0.95
    first_volume = np.asarray(image.dataobj[..., 0])[planted].mean()
    assert (
        first_volume > 1.1 * np.asarray(image.dataobj[..., 30])[planted].mean()
    )  # flagged as not yet steady


def test_every_name_gets_a_different_film(layout, planted_layout):
    films = sorted((planted_layout / "stimuli").rglob("*.mp4"))
    assert len(films) == 40
    assert len({file_sha256(film) for film in films}) == 40
    originals = {file_sha256(film) for film in layout[2].iterdir()}
    # the film of one second is shorter than what the events show
    assert sum(file_sha256(film) in originals for film in films) == 2


def test_layouts_that_do_not_fit_are_refused(layout, tmp_path):
    raw, fmriprep, _ = layout
    with pytest.raises(InputError, match="participants 07"):
        find_runs(raw, fmriprep, ["01", "07"], None, None, None)
    with pytest.raises(InputError, match="the filters"):
        find_runs(raw, fmriprep, None, None, ["rest"], None)
    events = write_text(tmp_path / "x_events.tsv", "onset\tduration\n1\t2\n")
    with pytest.raises(InputError, match="stim_file"):
        read_showings(events)
    with pytest.raises(InputError, match="under stimuli/"):
        provide_films(tmp_path, {"../secret.mp4": 2.0}, layout[2])
    with pytest.raises(InputError, match="30 s or longer"):
        provide_films(tmp_path, {"a.mp4": 30.0}, layout[2])


def test_filters(layout):
    raw, fmriprep, _ = layout
    (run,) = find_runs(raw, fmriprep, ["sub-01"], ["ses-a"], ["task-clips"], 1)
    assert run.stem == "sub-01_ses-a_task-clips_run-1"
    assert run.n_volumes == 60 and run.tr_s == 1.75
    assert len(run.showings) == 20  # the oddball row shows no film
    assert run.volume_times_s[0] == 1.75 / 2  # no StartTime: the middle of the repetition


def test_bold_moments_is_understood(shared_data):
    runs = find_runs(shared_data / BMD, shared_data / BMD_FMRIPREP, None, None, None, None)
    assert len(runs) == 10  # twelve runs have events, ten of them confounds
    by_task = {run.task: run for run in runs}
    assert (by_task["train"].n_volumes, by_task["test"].n_volumes) == (238, 268)
    assert by_task["train"].tr_s == 1.75
    assert by_task["train"].volume_times_s[0] == 0.0  # its StartTime
    assert all(showing.duration_s == 3 for showing in by_task["train"].showings)


@pytest.mark.slow
def test_bold_moments_with_real_films(shared_data, tmp_path):
    out = simulate_on_layout(
        tmp_path / "bmd", shared_data / BMD, shared_data / BMD_FMRIPREP, shared_data / "videos",
        participants=["01"], tasks=["train"], runs_per_task=1, grid_shape=(20, 25, 20), voxel_mm=(8.0, 8.0, 8.0),
    )  # fmt: skip
    stem = "sub-01_ses-02_task-train_run-1"
    folder = out / "derivatives/fmriprep/sub-01/ses-02/func"
    image = nib.load(folder / f"{stem}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
    assert image.shape == (20, 25, 20, 238)
    motion = read_table(folder / f"{stem}_desc-confounds_timeseries.tsv", ["trans_y"])["trans_y"]
    assert len(motion) == 238
    assert len(read_truth(out)["presentations"][stem]) == len(
        read_showings(out / f"sub-01/ses-02/func/{stem}_events.tsv")
    )
    program = Path(sys.executable).with_name("bids-validator-deno")
    if program.exists():
        done = subprocess.run([program, out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
