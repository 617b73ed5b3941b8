"""Each bad input is one clear sentence: which file, what is wrong, what to do."""

import pytest
from skeletons import MNI, N_VOLUMES, Skeleton, build, write_events, write_image, write_json, write_text

from bids_app.inputs import (
    Selection,
    collect_films,
    collect_participant,
    find_fmriprep,
    find_participants,
    fmriprep_version,
    read_filters,
    version_warning,
)
from cinebold.errors import InputError, NothingSelectedError, SettingError

STEM = f"sub-01_task-movie_run-1_space-{MNI}"


@pytest.fixture
def dirs(tmp_path):
    return build(tmp_path)


def problem_of(dirs, selection=None, **options):
    """The only problem of participant 01, which must be a sentence."""
    inputs = collect_participant(*dirs, "01", selection or Selection(), **options)
    (problem,) = inputs.problems
    assert problem.startswith("sub-01: ")
    assert problem.endswith(".")
    return problem


def test_dataset_that_is_none(tmp_path, dirs):
    bids_dir, fmriprep_dir = dirs
    for call in (
        lambda path: find_participants(path, None, Selection()),
        lambda path: find_fmriprep(path, {"fmriprep": fmriprep_dir}),
        lambda path: collect_films(path, ["01"], Selection()),
        lambda path: collect_participant(path, fmriprep_dir, "01", Selection()),
    ):
        with pytest.raises(InputError, match="does not exist"):
            call(tmp_path / "nowhere")
        with pytest.raises(InputError, match=r"no dataset_description\.json"):
            call(tmp_path)
        with pytest.raises(InputError, match=r"is a derivative dataset.*-d fmriprep="):
            call(fmriprep_dir)
    write_text(bids_dir / "dataset_description.json", "{")
    with pytest.raises(InputError, match="not valid JSON"):
        find_participants(bids_dir, None, Selection())
    write_text(bids_dir / "dataset_description.json", "[]")
    with pytest.raises(InputError, match="JSON object"):
        find_participants(bids_dir, None, Selection())


def test_participants(tmp_path, caplog):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton(participants=("01", "02", "A")))
    assert find_participants(bids_dir, None, Selection()) == ("01", "02", "A")
    assert find_participants(bids_dir, None, Selection(participants=("sub-A", "01"))) == ("01", "A")
    with pytest.raises(SettingError, match=r"names 07, who is not in .*; there are 01, 02, A\."):
        find_participants(bids_dir, None, Selection(participants=("01", "07")))
    (fmriprep_dir / "sub-02").rename(tmp_path / "gone")
    assert find_participants(bids_dir, fmriprep_dir, Selection()) == ("01", "02", "A")
    assert "no derivatives" in caplog.text
    inputs = collect_participant(bids_dir, fmriprep_dir, "02", Selection())
    assert "no folder sub-02 in the fMRIPrep derivatives" in inputs.problems[0]
    write_json(tmp_path / "empty" / "dataset_description.json", {})
    with pytest.raises(InputError, match="no folders sub-"):
        find_participants(tmp_path / "empty", None, Selection())


def test_find_fmriprep(tmp_path, dirs, caplog):
    bids_dir, fmriprep_dir = dirs
    with caplog.at_level("INFO"):
        assert find_fmriprep(bids_dir, {}) == fmriprep_dir
    assert "no `-d fmriprep=PATH` was given" in caplog.text
    assert fmriprep_version(fmriprep_dir) == "23.2.0"
    second = bids_dir / "derivatives" / "fmriprep-25"
    second.mkdir()
    with pytest.raises(InputError, match=r"2 folders.*\(fmriprep, fmriprep-25\).*-d fmriprep=PATH"):
        find_fmriprep(bids_dir, {})
    assert find_fmriprep(bids_dir, {"fmriprep": str(second)}) == second
    with pytest.raises(InputError, match="do not exist"):
        find_fmriprep(bids_dir, {"fmriprep": tmp_path / "x"})
    second.rmdir()
    fmriprep_dir.rename(tmp_path / "out")
    with pytest.raises(InputError, match=r"run fMRIPrep first.*-d fmriprep=PATH"):
        find_fmriprep(bids_dir, {})
    with pytest.raises(InputError, match="-d names only atlas"):
        find_fmriprep(bids_dir, {"atlas": tmp_path})


def test_old_layout_of_fmriprep(tmp_path):
    bids_dir, fmriprep_dir = build(tmp_path, Skeleton("20.2.1"))
    fmriprep_dir.rename(fmriprep_dir.parent / "tmp")
    fmriprep_dir.mkdir()
    (fmriprep_dir.parent / "tmp").rename(fmriprep_dir / "fmriprep")
    assert find_fmriprep(bids_dir, {}) == fmriprep_dir / "fmriprep"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("20.0.6", "CIFTI"),
        ("20.1.0", "standard space"),
        ("20.2.0rc0", "standard space"),
        ("20.2.1", "standard space"),
        ("20.2.2", None),
        ("23.2.0", None),
        ("25.1.4", "artifacts"),
        ("25.2.5", None),
        (None, "do not say"),
        ("unknown", None),
    ],
)
def test_versions_with_known_faults(tmp_path, version, words):
    warning = version_warning(version)
    assert (warning is None) if words is None else (words in warning and warning.endswith("."))
    if version == "25.1.4":
        inputs = collect_participant(*build(tmp_path, Skeleton(version)), "01", Selection())
        assert any("artifacts" in text for text in inputs.warnings)


def test_version_of_old_descriptions(tmp_path):
    write_json(
        tmp_path / "dataset_description.json", {"PipelineDescription": {"Name": "fmriprep", "Version": "1.4"}}
    )
    assert fmriprep_version(tmp_path) == "1.4"
    write_json(tmp_path / "dataset_description.json", {"GeneratedBy": [{"Name": "other", "Version": "1"}]})
    assert fmriprep_version(tmp_path) is None


def test_space_that_is_not_there(dirs):
    problem = problem_of(dirs, Selection(space="MNI152NLin6Asym", resolution_entity="2"))
    assert "no preprocessed BOLD image in the space MNI152NLin6Asym:res-2" in problem
    assert f"there are {MNI}, fsLR:den-91k, fsaverage5; choose one with --output-spaces" in problem


def test_filters_that_leave_nothing(dirs):
    with pytest.raises(NothingSelectedError, match="there are task-movie_run-1, task-movie_run-2"):
        collect_participant(*dirs, "01", Selection(tasks=("rest",)))
    with pytest.raises(NothingSelectedError, match="--task-id rest"):
        collect_films(dirs[0], ["01"], Selection(tasks=("rest",)))


def test_minimal_derivatives(tmp_path, dirs):
    func = dirs[1] / "sub-01" / "func"
    for path in func.iterdir():
        if "boldref" not in path.name:
            path.unlink()
    write_json(func / "sub-01_task-movie_run-1_from-boldref_to-T1w_mode-image_desc-coreg_xfm.json", {})
    assert "`--level minimal`" in problem_of(dirs)
    for path in func.iterdir():
        path.unlink()
    assert "has no preprocessed BOLD images" in problem_of(dirs)
    write_text(func / "sub-01_task-movie_run-1_hemi-L_space-fsaverage5_bold.func.gii", "x")
    assert "there are fsaverage5; choose one with --output-spaces" in problem_of(dirs)


@pytest.mark.parametrize("piece", [f"space-{MNI}_desc-brain_mask.nii.gz", "desc-confounds_timeseries.tsv"])
def test_what_belongs_to_a_run_and_is_missing(dirs, piece):
    path = dirs[1] / "sub-01" / "func" / f"sub-01_task-movie_run-1_{piece}"
    path.unlink()
    problem = problem_of(dirs)
    assert problem.startswith("sub-01: task-movie_run-1: no ")
    assert ("brain mask" if "mask" in piece else "confounds table") in problem
    # The other run is read all the same.
    assert collect_participant(*dirs, "01", Selection()).n_runs == 1


def test_no_grey_matter_map(tmp_path):
    dirs = build(tmp_path, Skeleton(runs={"movie": ("1",)}, anatomy="none"))
    assert "use `--mask brain`" in problem_of(dirs)
    assert collect_participant(*dirs, "01", Selection(), mask_kind="brain").problems == ()


def test_two_confounds_tables(dirs):
    write_text(
        dirs[1] / "sub-01" / "func" / "sub-01_task-movie_run-1_desc-confounds_regressors.tsv", "csf\n0\n"
    )
    problem = problem_of(dirs)
    assert "2 files could be the confounds table" in problem
    assert "desc-confounds_regressors.tsv, sub-01_task-movie_run-1_desc-confounds_timeseries.tsv" in problem


def test_mask_on_another_grid(dirs):
    path = dirs[1] / "sub-01" / "func" / f"{STEM}_desc-brain_mask.nii.gz"
    write_image(path, shape=(4, 4, 4))
    assert "has the shape (4, 4, 4), but its BOLD image" in (problem := problem_of(dirs))
    assert "(5, 6, 4)" in problem
    write_image(path, shift_mm=1.5)
    assert "another affine" in problem_of(dirs)


@pytest.mark.parametrize(
    "path",
    [f"func/{STEM}_desc-preproc_bold.nii.gz", f"func/{STEM}_desc-brain_mask.nii.gz", "func/{confounds}"],
)
@pytest.mark.parametrize("kind", ["link", "pointer", "empty"])
def test_files_without_content(dirs, path, kind):
    file = dirs[1] / "sub-01" / path.format(confounds="sub-01_task-movie_run-1_desc-confounds_timeseries.tsv")
    file.unlink()
    if kind == "link":
        file.symlink_to("../../.git/annex/objects/xx/KEY")
    else:
        write_text(file, "/annex/objects/MD5E-s1--1.nii.gz\n" if kind == "pointer" else "")
    problem = problem_of(dirs)
    assert str(file) in problem
    assert ("is empty" if kind == "empty" else "datalad get") in problem


def test_images_that_are_none(dirs):
    file = dirs[1] / "sub-01" / "func" / f"{STEM}_desc-preproc_bold.nii.gz"
    write_text(file, "not gzip")
    assert "cannot be read as a NIfTI image" in problem_of(dirs)
    file.write_bytes(b"\x1f\x8b\x08\x00\x00")
    assert "cannot be read as a NIfTI image" in problem_of(dirs)
    write_image(file)
    assert "must be a series of volumes (4-D), but its shape is (5, 6, 4)" in problem_of(dirs)


def test_events_that_are_missing_or_say_nothing(dirs):
    bids_dir, _ = dirs
    events = bids_dir / "sub-01" / "func" / "sub-01_task-movie_run-1_events.tsv"
    write_events(events, [(0, 1, "a.jpg"), (1, 1, "n/a")])
    assert "names a film in the column stim_file" in (problem := problem_of(dirs))
    assert str(events) in problem
    assert "--stimulus-map TABLE.tsv" in problem
    events.unlink()
    problem = problem_of(dirs)
    assert "no events.tsv was found" in problem
    assert (
        "(columns task, run, stim_file, onset, duration, clip_start; optional session, participant)"
        in problem
    )
    write_events(events, [("abc", 1, "films/part1.mp4")])
    assert "line 2: onset must be a number of seconds, but is 'abc'" in problem_of(dirs)
    assert "'abc'" in collect_films(bids_dir, ["01"], Selection())[1][0]
    write_events(events, [(0, 1, "../films/part1.mp4")])
    assert "escapes the dataset" in problem_of(dirs)
    assert "escapes the dataset" in collect_films(bids_dir, ["01"], Selection())[1][0]


def test_two_events_files_in_one_folder(dirs):
    bids_dir, _ = dirs
    (bids_dir / "sub-01" / "func" / "sub-01_task-movie_run-1_events.tsv").unlink()
    write_events(bids_dir / "task-movie_events.tsv", [(0, 1, "films/part1.mp4")])
    write_events(bids_dir / "run-1_events.tsv", [(0, 1, "films/part1.mp4")])
    assert "(run-1_events.tsv, task-movie_events.tsv)" in problem_of(dirs)


def test_missing_films_are_one_sentence_for_all_runs(dirs):
    for path in (dirs[0] / "stimuli" / "films").iterdir():
        path.unlink()
    assert "2 of 2 films that the events name were not found" in problem_of(dirs)


@pytest.mark.parametrize(
    "content",
    [
        '{"RepetitionTime": "2"}',
        '{"RepetitionTime": -1}',
        '{"StartTime": "x"}',
        '{"DelayTime": "x"}',
        "{",
        "1",
    ],
)
def test_bad_sidecars(dirs, content):
    file = dirs[1] / "sub-01" / "func" / f"{STEM}_desc-preproc_bold.json"
    write_text(file, content)
    problem = problem_of(dirs)
    assert f"{STEM}_desc-preproc_bold" in problem
    assert "correct" in problem


def test_filter_file(tmp_path):
    assert read_filters(None) == {}
    assert read_filters(write_json(tmp_path / "f.json", {"bold": {"run": None}})) == {"bold": {"run": None}}
    for text, message in (("{", "not valid JSON"), ("[]", "must hold a JSON object")):
        with pytest.raises(SettingError, match=message):
            read_filters(write_text(tmp_path / "g.json", text))
    with pytest.raises(SettingError, match="does not exist"):
        read_filters(tmp_path / "h.json")


def test_real_sidecars_without_images(shared_data):
    bids_dir = shared_data / "bmd_ds005165"
    with pytest.raises(InputError, match="versionB/fmriprep looks like one"):
        find_fmriprep(bids_dir, {})
    fmriprep_dir = find_fmriprep(bids_dir, {"fmriprep": bids_dir / "derivatives" / "versionB" / "fmriprep"})
    assert fmriprep_version(fmriprep_dir) == "23.2.0"
    assert find_participants(bids_dir, fmriprep_dir, Selection()) == ("01", "02")
    problem = problem_of((bids_dir, fmriprep_dir))
    assert "sidecars of preprocessed BOLD images" in problem
    assert "datalad get" in problem
    _, problems, warnings = collect_films(bids_dir, ["01", "02"], Selection(tasks=("test",)))
    assert "films that the events name were not found" in problems[0]
    assert "without a stim_file" in warnings[0]


def test_real_dataset_without_events(shared_data, tmp_path):
    shells = shared_data / "fmriprep_shells"
    derived = shells / "ds000228-fmriprep"
    assert fmriprep_version(derived) == "21.0.2"
    assert version_warning("21.0.2") is None
    inputs = collect_participant(shells / "ds000228_raw", derived, "pixar001", Selection())
    assert "no folder sub-pixar001 in the raw dataset" in inputs.problems[0]
    with pytest.raises(InputError, match="no folders sub-"):
        find_participants(shells / "ds000228_raw", derived, Selection())


def test_real_names_of_2021(shared_data, tmp_path):
    """The file list of ds000228's derivatives (fMRIPrep 21.0.2, res-2), as images of a few voxels."""
    tree = (shared_data / "fmriprep_shells" / "ds000228-fmriprep" / "TREE_sub-pixar001.tsv").read_text()
    bids_dir, fmriprep_dir = tmp_path / "raw", tmp_path / "fmriprep"
    write_json(bids_dir / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.0.1"})
    write_json(bids_dir / "task-pixar_bold.json", {"RepetitionTime": 2})
    (bids_dir / "sub-pixar001").mkdir()
    names = [cell for line in tree.splitlines() for cell in line.split("\t") if cell.startswith("sub-")]
    assert len(names) > 50
    for name in names:
        path = fmriprep_dir / name
        if name.endswith(".nii.gz"):
            write_image(path, N_VOLUMES if "_bold." in name else None)
        else:
            write_text(path, "{}" if name.endswith(".json") else "x")
    table = write_text(tmp_path / "map.tsv", "task\tstim_file\tonset\npixar\tpartly_cloudy.mp4\t10\n")
    write_text(tmp_path / "films" / "partly_cloudy.mp4", "film")
    inputs = collect_participant(
        bids_dir, fmriprep_dir, "pixar001", Selection(), stimulus_map=table, stimuli_dir=tmp_path / "films"
    )
    assert inputs.problems == ()
    (run,) = inputs.runs
    assert run.label == "task-pixar"
    assert inputs.resolution_entity == "2"
    assert run.bold.endswith(f"sub-pixar001_task-pixar_space-{MNI}_res-2_desc-preproc_bold.nii.gz")
    assert run.gm_probseg.endswith(f"sub-pixar001_space-{MNI}_res-2_label-GM_probseg.nii.gz")
    assert run.presentations[0].onset_s == 10.0


def test_real_events_that_name_a_missing_film(shared_data):
    films, problems, warnings = collect_films(
        shared_data / "fmriprep_shells" / "ds004516_raw", ["NSD103"], Selection(tasks=("defeat", "growth"))
    )
    assert films == ()
    assert "2 of 2 films that the events name were not found" in problems[0]
    assert "text" in warnings[-1]
    _, problems, _ = collect_films(shared_data / "fmriprep_shells" / "ds002345_raw", ["001"], Selection())
    assert all("names a film in the column stim_file" in problem for problem in problems)  # sound only
