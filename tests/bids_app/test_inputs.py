"""Runs of a participant, over several generations of fMRIPrep's output."""

import dataclasses
import json

import pytest
from skeletons import (
    MNI,
    N_VOLUMES,
    SHAPE,
    TR_S,
    Skeleton,
    build,
    write_events,
    write_film,
    write_image,
    write_json,
)

from bids_app.inputs import Selection, collect_films, collect_participant
from cinebold.errors import NothingSelectedError, SettingError
from workflows.confounds import confounds_of
from workflows.specifications import BoldPreparation, Run, from_json, to_json

SKELETONS = {
    "20.0": (Skeleton("20.0.7"), None),
    "20.1": (Skeleton("20.1.3"), None),
    "20.2": (Skeleton("20.2.1"), None),
    "20.2, sessions": (Skeleton("20.2.1", sessions=("01", "02"), anatomy="session"), None),
    "21.0, res-2": (Skeleton("21.0.2", spaces=(f"space-{MNI}_res-2", "space-T1w")), "2"),
    "22.1": (Skeleton("22.1.1", spaces=(f"space-{MNI}", "space-T1w")), None),
    "24.1, a task of two sessions": (Skeleton("24.1.1", sessions=("01", "02")), None),
    "25.2": (Skeleton("25.2.5", sessions=("01",), anatomy="session", spaces=(f"space-{MNI}_res-2",)), "2"),
    "23.2": (Skeleton("23.2.0", participants=("01", "02"), spaces=(f"space-{MNI}", "space-T1w", "")), None),
    "23.2, acquisitions": (
        Skeleton("23.2.0", acquisition="mb4", runs={"movie": ("1",), "clips": ("01", "10")}),
        None,
    ),
    "23.2, no run index": (Skeleton("23.2.0", runs={"one": (None,), "two": (None,)}), None),
}


def collect(bids_dir, fmriprep_dir, participant="01", *, selection=None, **options):
    return collect_participant(bids_dir, fmriprep_dir, participant, selection or Selection(), **options)


@pytest.mark.parametrize("name", SKELETONS)
def test_every_run_has_one_of_each(tmp_path, name):
    skeleton, resolution = SKELETONS[name]
    bids_dir, fmriprep_dir = build(tmp_path, skeleton)
    inputs = collect(bids_dir, fmriprep_dir)
    assert inputs.problems == ()
    assert inputs.resolution_entity == resolution
    stems = [stem.removeprefix("sub-01_") for _, stem in skeleton.run_stems("01")]
    assert sorted(run.label for run in inputs.runs) == sorted(stems)
    assert inputs.n_runs == len(stems)
    space = f"space-{MNI}" + (f"_res-{resolution}" if resolution else "")
    for run in inputs.runs:
        start = f"sub-01_{run.label}_{space}"
        assert run.bold.endswith(f"/{start}_desc-preproc_bold.nii.gz")
        assert run.brain_mask.endswith(f"/{start}_desc-brain_mask.nii.gz")
        assert run.bold_json.endswith(f"/{start}_desc-preproc_bold.json")
        assert f"/sub-01_{run.label}_desc-confounds_" in run.confounds
        assert run.gm_probseg.endswith(f"_{space}_label-GM_probseg.nii.gz")
        assert run.events.endswith(f"/sub-01_{run.label}_events.tsv")
        assert (run.shape, run.n_volumes, run.tr_s) == (SHAPE, N_VOLUMES, TR_S)
        timing = (0.95, True) if skeleton.generation >= "23" else (None, False)
        assert (run.start_time_s, run.slice_timing_corrected) == timing
        (shown,) = run.presentations
        assert (shown.onset_s, shown.duration_s, shown.film_offset_s) == (4.0, 16.0, 0.0)
        assert shown.film == str(bids_dir / "stimuli" / shown.film_name)
        assert from_json(Run, to_json(run)) == run
    assert any("show no film" in warning for warning in inputs.warnings)
    old = tuple(map(int, skeleton.generation.split(".")[:2])) < (23, 1)
    for strategy in ("simple", "scrubbing", "compcor", "compcor_separated", *(["ica_aroma"] if old else [])):
        confounds = confounds_of(inputs.runs[0], BoldPreparation(confounds=strategy))
        assert confounds.has_cosines and confounds.dropped == {"non_steady_state": 1}
    separated = confounds_of(inputs.runs[0], BoldPreparation(confounds="compcor_separated")).names[-4:]
    suffixes = ("a_comp_cor_04", "a_comp_cor_05", "a_comp_cor_02", "a_comp_cor_03")
    if skeleton.generation >= "21":
        suffixes = ("w_comp_cor_00", "w_comp_cor_01", "c_comp_cor_00", "c_comp_cor_01")
    assert separated == suffixes


def test_sources_are_bids_uris(tmp_path):
    run = collect(*build(tmp_path)).runs[0]
    assert run.sources == (
        f"bids:fmriprep:sub-01/func/sub-01_task-movie_run-1_space-{MNI}_desc-preproc_bold.nii.gz",
        f"bids:fmriprep:sub-01/func/sub-01_task-movie_run-1_space-{MNI}_desc-brain_mask.nii.gz",
        "bids:fmriprep:sub-01/func/sub-01_task-movie_run-1_desc-confounds_timeseries.tsv",
        f"bids:fmriprep:sub-01/anat/sub-01_space-{MNI}_label-GM_probseg.nii.gz",
        "bids:raw:sub-01/func/sub-01_task-movie_run-1_events.tsv",
        "bids:raw:stimuli/films/part1.mp4",
    )
    assert run.entities == {"sub": "01", "task": "movie", "run": "1"}


def test_runs_stand_in_the_order_of_their_numbers(tmp_path):
    inputs = collect(*build(tmp_path, Skeleton(runs={"movie": ("10", "9", "1")})))
    assert [run.label for run in inputs.runs] == ["task-movie_run-1", "task-movie_run-9", "task-movie_run-10"]


@pytest.mark.parametrize("space", ["T1w", "anat", None, "func"])
def test_other_spaces(tmp_path, space):
    dirs = build(tmp_path, Skeleton(spaces=(f"space-{MNI}", "space-T1w", "")))
    inputs = collect(*dirs, selection=Selection(space=space), mask_kind="brain")
    assert inputs.problems == ()
    piece = "_space-T1w" if space in ("T1w", "anat") else ""
    assert inputs.runs[0].bold.endswith(f"/sub-01_task-movie_run-1{piece}_desc-preproc_bold.nii.gz")
    assert inputs.runs[0].gm_probseg is None
    with_tissue = collect(*dirs, selection=Selection(space=space))
    if piece:
        assert with_tissue.runs[0].gm_probseg.endswith("/sub-01_label-GM_probseg.nii.gz")
    else:
        assert "use `--mask brain`" in with_tissue.problems[0]


def test_several_resolutions_have_to_be_chosen_from(tmp_path):
    dirs = build(tmp_path, Skeleton(runs={"movie": ("1",)}, spaces=(f"space-{MNI}", f"space-{MNI}_res-2")))
    (problem,) = collect(*dirs).problems
    stem = f"sub-01_task-movie_run-1_space-{MNI}"
    assert f"({stem}_desc-preproc_bold.nii.gz, {stem}_res-2_desc-preproc_bold.nii.gz)" in problem
    assert "--output-spaces" in problem
    for entity, piece in (("2", "_res-2"), ("native", "")):
        (run,) = collect(*dirs, selection=Selection(resolution_entity=entity)).runs
        assert run.bold.endswith(f"{stem}{piece}_desc-preproc_bold.nii.gz")
        assert run.gm_probseg.endswith(f"sub-01_space-{MNI}{piece}_label-GM_probseg.nii.gz")


def test_filters(tmp_path):
    runs = {"movie": ("01", "02"), "clips": ("01",)}
    dirs = build(tmp_path, Skeleton(sessions=("A", "B"), runs=runs, acquisition="x"))

    def labels(**selection):
        return [run.label for run in collect(*dirs, selection=Selection(**selection)).runs]

    everything = labels()
    assert len(everything) == 6
    assert labels(tasks=("clips",), sessions=("B",)) == ["ses-B_task-clips_acq-x_run-01"]
    assert labels(runs=("2",)) == ["ses-A_task-movie_acq-x_run-02", "ses-B_task-movie_acq-x_run-02"]
    assert labels(runs=("run-02",), sessions=("ses-A",)) == ["ses-A_task-movie_acq-x_run-02"]
    bold = {"datatype": "func", "suffix": "bold", "task": ["clips"], "session": "A", "acquisition": "*"}
    assert labels(filters={"t1w": {"session": "A"}, "bold": bold}) == ["ses-A_task-clips_acq-x_run-01"]
    with pytest.raises(NothingSelectedError, match="--bids-filter-file"):
        labels(filters={"bold": {"acquisition": None}})
    assert labels(filters={"bold": {"reconstruction": None, "run": 1}}) == [
        label for label in everything if label.endswith("run-01")
    ]
    with pytest.raises(SettingError, match=r"by 'space'.*--output-spaces"):
        labels(filters={"bold": {"space": "T1w"}})
    with pytest.raises(SettingError, match="'blod'"):
        labels(filters={"blod": {"task": "movie"}})
    inputs = collect(*dirs, selection=Selection(tasks=("movie", "mvoie")))
    assert any("no run has task-mvoie" in warning for warning in inputs.warnings)


def test_inherited_events(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path)
    write_film(bids_dir / "stimuli" / "whole.mkv")
    for path in bids_dir.glob("sub-01/func/*_events.tsv"):
        path.unlink()
    top = write_events(bids_dir / "task-movie_events.tsv", [(0, 20, "whole.mkv")])
    close = write_events(bids_dir / "sub-01" / "sub-01_task-movie_run-2_events.tsv", [(2, 20, "whole.mkv")])
    write_events(bids_dir / "task-other_events.tsv", [(9, 20, "other.mkv")])
    inputs = collect(bids_dir, fmriprep_dir)
    assert inputs.problems == ()
    assert [run.events for run in inputs.runs] == [str(top), str(close)]
    assert [run.presentations[0].onset_s for run in inputs.runs] == [0.0, 2.0]
    films, problems, _ = collect_films(bids_dir, ["01"], Selection())
    assert (films, problems) == (((str(bids_dir / "stimuli" / "whole.mkv"), "whole.mkv"),), ())


def test_stimulus_map_goes_before_events(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(runs={"movie": ("1", "2")}))
    (bids_dir / "sub-01/func/sub-01_task-movie_run-1_events.tsv").unlink()
    film = write_film(tmp_path / "films" / "long.mp4")
    table = tmp_path / "map.tsv"
    table.write_text("task\trun\tstim_file\tonset\tduration\tclip_start\nmovie\t1\tlong.mp4\t10\tn/a\t60\n")
    inputs = collect(bids_dir, fmriprep_dir, stimulus_map=table, stimuli_dir=film.parent)
    assert inputs.problems == ()
    first, second = inputs.runs
    assert first.events is None
    (shown,) = first.presentations
    assert (shown.film, shown.film_name) == (str(film), "long.mp4")
    assert (shown.onset_s, shown.duration_s, shown.film_offset_s) == (10.0, None, 60.0)
    assert not any("long.mp4" in source for source in first.sources)  # is not in any dataset
    assert second.presentations[0].film_name == "films/part2.mp4"
    films, problems, _ = collect_films(bids_dir, ["01"], Selection(), film.parent, table)
    assert problems == ()
    assert [name for _, name in films] == ["films/part2.mp4", "long.mp4"]


def test_timing_comes_from_the_sidecar_with_inheritance(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(runs={"movie": ("1",)}))
    own = next(fmriprep_dir.glob(f"sub-01/func/*space-{MNI}_desc-preproc_bold.json"))
    write_json(own, {"RepetitionTime": 1.75, "SliceTimingCorrected": True})
    inputs = collect(bids_dir, fmriprep_dir)
    assert inputs.runs[0].tr_s == 1.75
    assert any("1.75 s in the sidecar but 2 s in the header" in warning for warning in inputs.warnings)
    assert any("no StartTime" in warning for warning in inputs.warnings)
    # Sparse acquisition: the middle of the volume, unless StartTime says better.
    write_json(own, {"RepetitionTime": 2.0, "DelayTime": 0.5, "SliceTimingCorrected": False})
    assert collect(bids_dir, fmriprep_dir).runs[0].start_time_s == 0.75
    write_json(own, {"RepetitionTime": 2.0, "DelayTime": 0.5, "StartTime": 0.0})
    assert collect(bids_dir, fmriprep_dir).runs[0].start_time_s == 0.0
    own.unlink()
    write_json(fmriprep_dir / "task-movie_bold.json", {"StartTime": 0.5, "RepetitionTime": 2.0})
    assert collect(bids_dir, fmriprep_dir).runs[0].start_time_s == 0.5
    (fmriprep_dir / "task-movie_bold.json").unlink()
    next(bids_dir.glob("sub-01/func/*_bold.json")).unlink()
    write_json(bids_dir / "task-movie_bold.json", {"RepetitionTime": 2.1})
    assert collect(bids_dir, fmriprep_dir).runs[0].tr_s == 2.1  # the raw sidecar
    (bids_dir / "task-movie_bold.json").unlink()
    inputs = collect(bids_dir, fmriprep_dir)
    assert inputs.runs[0].tr_s == TR_S
    assert any("no sidecar gives RepetitionTime" in warning for warning in inputs.warnings)
    write_image(next(fmriprep_dir.glob(f"sub-01/func/*space-{MNI}_desc-preproc_bold.nii.gz")), 12, tr_s=0)
    assert "no repetition time is known" in collect(bids_dir, fmriprep_dir).problems[0]


def test_milliseconds_in_the_header(tmp_path):
    import nibabel

    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(runs={"movie": ("1",)}))
    path = next(fmriprep_dir.glob(f"sub-01/func/*space-{MNI}_desc-preproc_bold.nii.gz"))
    image = nibabel.load(path)
    image.header.set_zooms((3, 3, 3, 2000))
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine, image.header), path)
    assert not any("header" in warning for warning in collect(bids_dir, fmriprep_dir).warnings)


def test_anatomy_of_another_session_serves(tmp_path):
    dirs = build(tmp_path, Skeleton(sessions=("A", "B"), anatomy="session"))
    inputs = collect(*dirs)
    assert inputs.problems == ()
    assert {run.gm_probseg.rsplit("/", 1)[1] for run in inputs.runs} == {
        f"sub-01_ses-A_space-{MNI}_label-GM_probseg.nii.gz"
    }


def test_echoes_and_parts_are_no_runs(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(runs={"movie": ("1",)}))
    folder, stem = fmriprep_dir / "sub-01" / "func", "sub-01_task-movie_run-1"
    for piece in ("echo-1", "echo-2", "part-mag"):
        write_image(folder / f"{stem}_{piece}_space-{MNI}_desc-preproc_bold.nii.gz", N_VOLUMES)
    raw = bids_dir / "sub-01" / "func"
    next(raw.glob("*_bold.json")).rename(raw / f"{stem}_echo-1_bold.json")
    next(raw.glob("*_bold.nii.gz")).rename(raw / f"{stem}_echo-1_bold.nii.gz")
    next(folder.glob(f"*{MNI}_desc-preproc_bold.json")).unlink()
    inputs = collect(bids_dir, fmriprep_dir)
    assert [run.label for run in inputs.runs] == ["task-movie_run-1"]
    assert not any("left out" in w and "raw runs" in w for w in inputs.warnings)
    assert not any("RepetitionTime" in w for w in inputs.warnings)  # found in the sidecar of the first echo


def test_tasks_without_films_are_left_out_unless_asked_for(tmp_path):
    bids_dir, fmriprep_dir = build(
        tmp_path, Skeleton(runs={"movie": ("1", "2"), "rest": (None,), "faces": (None,)})
    )
    (bids_dir / "sub-01/func/sub-01_task-rest_events.tsv").unlink()
    write_events(bids_dir / "sub-01/func/sub-01_task-faces_events.tsv", [(0, 1, "face.jpg")])
    inputs = collect(bids_dir, fmriprep_dir)
    assert [run.entities["task"] for run in inputs.runs] == ["movie", "movie"]
    assert inputs.problems == ()
    assert "sub-01: no run of the task faces, rest shows a film; these runs are left out." in inputs.warnings
    assert collect_films(bids_dir, ["01"], Selection())[1] == ()
    asked = collect(bids_dir, fmriprep_dir, selection=Selection(tasks=("movie", "rest", "faces")))
    assert len(asked.problems) == 2
    assert len(asked.runs) == 2


def test_only_requested_participants_are_indexed(tmp_path, caplog):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(participants=("1", "10", "100")))
    for number in range(200, 400):
        write_events(
            bids_dir / f"sub-{number}" / "func" / f"sub-{number}_task-movie_events.tsv", [(0, 1, "a.mp4")]
        )
    from bids_app.layouts import index_files

    files = index_files(bids_dir, ["1"])
    assert len(files) == 6  # two runs: events, image, sidecar
    assert {file.entities["sub"] for file in files} == {"1"}
    assert {file.entities.get("sub") for file in index_files(fmriprep_dir, ["10"])} == {"10"}
    with caplog.at_level("INFO"):
        assert collect(bids_dir, fmriprep_dir, "100").n_runs == 2
    assert "indexed" in caplog.text


def test_a_kept_index_gives_the_same(tmp_path):
    dirs = build(tmp_path / "data", Skeleton(participants=("01", "02")))
    first = collect(*dirs, database_dir=tmp_path / "index")
    assert len(list((tmp_path / "index").iterdir())) == 2  # raw and derivatives, of this participant
    assert collect(*dirs, database_dir=tmp_path / "index") == first == collect(*dirs)
    with pytest.raises(SettingError, match="--bids-database-dir"):
        collect(*dirs, "02", database_dir=tmp_path / "data" / "raw" / "dataset_description.json")
    assert collect(*dirs, "02", database_dir=tmp_path / "index").runs[0].entities["sub"] == "02"


def test_inputs_are_not_written_to(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path)
    before = sorted(bids_dir.rglob("*"))
    collect(bids_dir, fmriprep_dir)
    assert sorted(bids_dir.rglob("*")) == before


def test_films_of_many_participants_are_listed_once(tmp_path):
    bids_dir, _ = build(tmp_path, Skeleton(participants=("01", "02", "03")))
    films, problems, warnings = collect_films(bids_dir, ["01", "03"], Selection())
    assert [name for _, name in films] == ["films/part1.mp4", "films/part2.mp4"]
    assert problems == ()
    assert warnings == ("4 event rows show no film and were left out (4 without a stim_file).",)


def test_raw_runs_that_were_not_preprocessed_are_told(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path)
    write_image(bids_dir / "sub-01/func/sub-01_task-movie_run-3_bold.nii.gz", 5)
    (warning,) = [w for w in collect(bids_dir, fmriprep_dir).warnings if "raw runs" in w]
    assert "task-movie_run-3" in warning


def test_runs_in_another_space_are_left_out_and_told(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path)
    for path in list(fmriprep_dir.glob(f"sub-01/func/*run-2_space-{MNI}_*")):
        path.rename(path.with_name(path.name.replace(f"space-{MNI}", "space-T1w")))
    inputs = collect(bids_dir, fmriprep_dir)
    assert [run.label for run in inputs.runs] == ["task-movie_run-1"]
    (warning,) = [text for text in inputs.warnings if "left out (" in text and "BOLD" in text]
    assert "1 of the preprocessed runs have a BOLD image in another space" in warning
    assert warning.endswith("(task-movie_run-2).")


def test_skeletons_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Skeleton().generation = "1"
    assert json.dumps(Skeleton().runs)
