"""Confounds as users choose them, and runs that a rule leaves out: from the command line to the plan."""

import re

import pytest
from skeletons import (
    MNI,
    N_VOLUMES,
    TR_S,
    Skeleton,
    build,
    confounds_of_generation,
    write_json,
    write_table,
    write_text,
)

from bids_app.cli import main
from bids_app.config import load_settings
from bids_app.confounds_files import file_of_run
from bids_app.exit_codes import DONE, INVALID_INPUT, NOTHING_TO_DO, SOME_FAILED, USAGE
from bids_app.plans import make_plan
from bids_app.recipe import load_recipe, recipe_toml, resolve_recipe
from cinebold.bold.confounds_strategies import ConfoundStrategy
from cinebold.errors import InputError, SettingError
from workflows.confounds import confounds_of

#: Few columns: the runs of the skeletons are short.
LEAN = {"nuisance_regressors": "csf", "resolution": 3.0}


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    """The command prepares a process of its own; this one is the tests'."""
    monkeypatch.setattr("bids_app.cli._prepare_process", lambda verbosity: None)


@pytest.fixture
def dirs(tmp_path):
    return build(tmp_path, Skeleton(participants=("01", "02"), runs={"movie": ("1", "2", "3")}))


def settings_of(dirs, **given):
    known = {"bids_dir": dirs[0], "output_dir": dirs[0].parent / "out", "analysis_level": "participant"}
    return load_settings(known | LEAN | given)


def plan_of(dirs, **given):
    settings = settings_of(dirs, **given)
    return make_plan(settings, resolve_recipe(settings))


def rewrite(dirs, participant, run, **columns):
    """Give a run's confounds table other columns."""
    path = (
        dirs[1]
        / f"sub-{participant}/func/sub-{participant}_task-movie_run-{run}_desc-confounds_timeseries.tsv"
    )
    write_table(path, confounds_of_generation(23, 2)[0] | columns)


def dry_run(dirs, *options):
    out = dirs[0].parent / "out"
    return main(
        [str(dirs[0]), str(out), "participant", "--dry-run", "--confounds", "csf", *map(str, options)]
    )


def test_a_run_that_moved_too_much_is_left_out_and_folds_are_planned_without_it(dirs, capsys):
    rewrite(dirs, "01", 2, framewise_displacement=["n/a"] + [0.6] * (N_VOLUMES - 1))
    assert dry_run(dirs, "--max-fd", 0.5) == DONE
    said = capsys.readouterr().out
    assert (
        "sub-01: task-movie_run-2 is left out, because its mean framewise displacement is 0.6 mm, above the 0.5 mm of "
        "--max-fd." in said
    )
    folds = re.findall(r"sub-0(\d) +\d +(task-movie_run-\d)", said)
    assert folds == [("1", f"task-movie_run-{k}") for k in (1, 3)] + [
        ("2", f"task-movie_run-{k}") for k in (1, 2, 3)
    ]
    (first, second) = plan_of(dirs, max_fd=0.5).analyses
    (excluded,) = first.excluded
    assert (excluded.label, excluded.mean_fd_mm) == ("task-movie_run-2", pytest.approx(0.6))
    assert second.excluded == () and len(second.runs) == 3
    assert second.input_versions == {"fMRIPrep": "23.2.0"}
    assert all(not analysis.excluded for analysis in plan_of(dirs, max_fd=0.6).analyses)  # not above


def test_a_run_of_which_little_is_kept_is_left_out(dirs):
    moved = ["n/a"] + [0.1] * 8 + [0.9] * (N_VOLUMES - 9)
    rewrite(dirs, "01", 1, framewise_displacement=moved)
    first, _ = plan_of(dirs, nuisance_regressors="scrubbing", min_volumes=9).analyses
    assert first.excluded[0].reason == "8 of its 12 volumes are kept, fewer than the 9 of --min-volumes"
    assert first.excluded[0].n_volumes_kept == 8
    assert [run.label for run in first.runs] == ["task-movie_run-2", "task-movie_run-3"]
    assert not plan_of(dirs, nuisance_regressors="scrubbing", min_volumes=8).analyses[0].excluded
    # Without a rule a run of which nothing is left is a problem; with one it is left out.
    rewrite(dirs, "01", 1, framewise_displacement=["n/a"] + [0.9] * (N_VOLUMES - 1))
    assert "leaves out every volume" in plan_of(dirs, nuisance_regressors="scrubbing").problems["sub-01"]
    first, _ = plan_of(dirs, nuisance_regressors="scrubbing", min_volumes=8).analyses
    assert first.excluded[0].reason == "0 of its 12 volumes are kept, fewer than the 8 of --min-volumes"
    first, _ = plan_of(dirs, nuisance_regressors="scrubbing", max_fd=2).analyses
    assert first.excluded[0].reason == "0 of its 12 volumes are kept, not one"


def test_when_rules_leave_too_little_it_is_said(dirs, capsys):
    for run in (1, 2):
        rewrite(dirs, "01", run, framewise_displacement=["n/a"] + [0.6] * (N_VOLUMES - 1))
    assert dry_run(dirs, "--max-fd", 0.5) == SOME_FAILED
    assert re.search(
        r"sub-01 has one run only .*run-1 is left out.*run-2 is left out", capsys.readouterr().out
    )
    assert dry_run(dirs, "--max-fd", 0.01, "--participant-label", "01") == NOTHING_TO_DO
    assert re.search("sub-01: all runs are left out by rule: .*run-1.*run-2.*run-3", capsys.readouterr().err)
    split = ("--cross-validation", "split", "--test-runs", "task-movie_run-2", "--participant-label", "01")
    rewrite(dirs, "01", 1)
    assert dry_run(dirs, "--max-fd", 0.5, *split) == INVALID_INPUT
    said = capsys.readouterr().out
    assert "--test-runs names task-movie_run-2, which is none of the runs" in said
    assert "task-movie_run-2 is left out, because" in said


def test_a_rule_needs_its_column(dirs):
    columns, _ = confounds_of_generation(23, 2)
    del columns["framewise_displacement"]
    path = dirs[1] / "sub-01/func/sub-01_task-movie_run-1_desc-confounds_timeseries.tsv"
    write_table(path, columns)
    assert (
        "has no framewise_displacement, by which --max-fd 0.5" in plan_of(dirs, max_fd=0.5).problems["sub-01"]
    )


def test_repetition_times_that_disagree_are_told_before_anything_runs(dirs):
    path = dirs[1] / f"sub-01/func/sub-01_task-movie_run-2_space-{MNI}_desc-preproc_bold.json"
    write_json(path, {"RepetitionTime": 1.5})
    problem = plan_of(dirs).problems["sub-01"]
    assert (
        "the repetition times of the runs disagree: task-movie_run-1 has 2 s and task-movie_run-2 1.5 s"
        in problem
    )


def test_ends_are_trimmed_in_volumes_or_seconds(dirs):
    assert not any("volumes are left out" in text for text in plan_of(dirs, trim="2:3").analyses[0].warnings)
    assert any(
        "9 of 12 volumes are left out" in text for text in plan_of(dirs, trim="4:5").analyses[0].warnings
    )
    for trim, kept in (("2:3", range(2, 9)), ("3s:4s", range(2, 10))):
        (analysis, _) = plan_of(dirs, trim=trim).analyses
        assert analysis.bold.trim == trim
        keep = confounds_of(analysis.runs[0], analysis.bold).keep
        assert list(keep.nonzero()[0]) == list(kept), TR_S
    assert "leaves out every volume" in plan_of(dirs, trim="6:6").problems["sub-01"]
    with pytest.raises(SettingError, match=r"--trim: must be START:END, volumes \(2:11\) .*, found '2'$"):
        plan_of(dirs, trim="2")


def test_a_strategy_of_ones_own_is_kept_with_the_recipe(dirs, tmp_path, monkeypatch):
    own = write_text(
        tmp_path / "my strategy.yml",
        "columns: motion6, compcor_separated, csf*\nn_compcor: 1\nfd_threshold_mm: 0.3\n",
    )
    monkeypatch.chdir(tmp_path)
    settings = settings_of(dirs, nuisance_regressors="my strategy.yml", extra_confounds="{sub}.tsv")
    assert settings.nuisance_regressors == str(own) and settings.extra_confounds == str(
        tmp_path / "{sub}.tsv"
    )
    recipe = resolve_recipe(settings_of(dirs, nuisance_regressors=str(own)))
    strategy = recipe.bold_preparation.confounds
    assert strategy == ConfoundStrategy(
        ("motion6", "compcor_separated", "csf*"), name="my strategy", n_compcor=1, fd_threshold_mm=0.3
    )
    replayed = write_text(tmp_path / "recipe.toml", recipe_toml(recipe))
    assert load_recipe(str(replayed)).bold == recipe.bold
    run = plan_of(dirs, nuisance_regressors="csf").analyses[0].runs[0]
    confounds = confounds_of(run, recipe.bold_preparation)
    assert confounds.strategy == "my strategy"
    assert [name for name in confounds.names if "comp" in name] == ["w_comp_cor_00", "c_comp_cor_00"]
    assert {"csf_power2", "csf_wm", "cosine00"} <= set(confounds.names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file .*own.yaml"),
        ("columns: [", "cannot be read as YAML"),
        ("- motion6", r"must hold keys such as `columns: \[motion6, csf\]`, found list"),
        ("fd_threshold_mm: 0.5", "own.yaml: columns: field required"),
        ("columns: []", "own.yaml: columns: .*at least 1"),
        ("columns: [csf]\nfd_threshold: 0.5", "own.yaml: fd_threshold: .*not permitted"),
        ("columns: [csf]\nfd_threshold_mm: -1", "own.yaml: fd_threshold_mm: .*greater than 0, found -1"),
    ],
)
def test_a_strategy_file_that_makes_no_sense(dirs, tmp_path, content, message):
    own = tmp_path / "own.yaml"
    if content is not None:
        write_text(own, content)
    with pytest.raises(SettingError, match=message):
        resolve_recipe(settings_of(dirs, nuisance_regressors=str(own)))


def test_a_column_that_is_not_there_is_a_problem_of_each_participant(dirs, capsys):
    assert dry_run(dirs, "-p", "simple,global_sginal") == INVALID_INPUT
    assert capsys.readouterr().out.count("has no column global_sginal") == 6
    assert dry_run(dirs, "-p", "csf,,csf") == USAGE


def test_further_regressors_of_each_run(dirs, tmp_path):
    for run in (1, 2, 3):
        for who in ("01", "02"):
            name = f"sub-{who}/physio/sub-{who}_task-movie_run-{run}_recording-cardiac_physio.tsv"
            write_table(tmp_path / name, {"heart_rate": [60 + run] * 6 + [70] * 6})
    pattern = str(tmp_path / "sub-{subject}/physio/*_task-{task}_run-{run}_*_physio.tsv")
    analysis, _ = plan_of(dirs, extra_confounds=pattern).analyses
    assert [run.extra_confounds[-40:] for run in analysis.runs] == [
        f"movie_run-{k}_recording-cardiac_physio.tsv" for k in (1, 2, 3)
    ]
    confounds = confounds_of(analysis.runs[1], analysis.bold)
    assert confounds.names == ("csf", "heart_rate") and confounds.values[0, 1] == 62
    problem = plan_of(dirs, extra_confounds=pattern.replace("{run}", "1")).problems["sub-01"]
    assert "to task-movie_run-1 and to task-movie_run-2; each run needs a table of its own" in problem
    assert "0 files fit" in plan_of(dirs, extra_confounds=str(tmp_path)).problems["sub-01"]
    next(tmp_path.glob("sub-01/physio/*run-2*")).unlink()
    problem = plan_of(dirs, extra_confounds=pattern).problems["sub-01"]
    assert "task-movie_run-2: --extra-confounds needs one file for each run, and 0 files fit" in problem


def test_a_pattern_means_one_file(tmp_path):
    entities = {"sub": "01", "task": "movie"}
    for name in ("sub-01_a.tsv", "sub-01_b.tsv"):
        write_text(tmp_path / name, "x")
    assert (
        file_of_run(str(tmp_path / "sub-{sub}_a.tsv"), entities, "--extra-confounds")
        == tmp_path / "sub-01_a.tsv"
    )
    with pytest.raises(InputError, match=r"2 files fit .* \(sub-01_a.tsv, sub-01_b.tsv\)"):
        file_of_run(str(tmp_path / "sub-{sub}_*.tsv"), entities, "--extra-confounds")
    with pytest.raises(
        InputError, match=r"has \{run\}, which is no entity of this run; it has \{sub\}, \{task\}"
    ):
        file_of_run(str(tmp_path / "sub-{sub}_run-{run}.tsv"), entities, "--extra-confounds")
