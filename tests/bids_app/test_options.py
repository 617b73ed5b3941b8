"""The option table: one row a setting, both spellings, a quick help."""

import subprocess
import sys
import time

import pytest

from bids_app.config import Settings
from bids_app.options import OPTIONS, build_parser, memory_mb


def parse(text):
    return vars(build_parser(version="1").parse_args(["bids", "out", "participant", *text.split()]))


def test_every_setting_has_an_option_and_every_option_a_setting():
    positional = {"bids_dir", "output_dir", "analysis_level"}
    assert {option.field for option in OPTIONS} | positional == set(Settings.model_fields)


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if "_" in option.field], ids=lambda o: o.field
)
def test_both_spellings_are_accepted(option):
    value = (
        ""
        if option.flag
        else {"mem_mb": "900", "derivatives": "a=b", "dummy_scans": "3"}.get(option.field, "1")
    )
    if option.choices:
        value = option.choices[0]
    hyphens, underscores = (
        parse(f"--{spelling} {value}")[option.field]
        for spelling in (option.field.replace("_", "-"), option.field)
    )
    assert hyphens == underscores


def test_options_that_are_not_given_are_absent():
    assert set(parse("")) == {"bids_dir", "output_dir", "analysis_level"}


def test_labels_lose_their_prefix():
    assert parse("--participant-label sub-01 02")["participant_label"] == ["01", "02"]
    assert parse("-t task-movie")["task_id"] == ["movie"]


def test_a_flag_that_a_recipe_may_have_set_can_be_switched_off():
    assert [option.field for option in OPTIONS if option.negatable] == ["variance_partitioning", "layers"]
    assert parse("--layers")["layers"] is True
    assert parse("--no-layers --no-variance-partitioning") == parse("") | {
        "layers": False,
        "variance_partitioning": False,
    }


def test_runs_to_test_on_are_labels_and_a_bare_label_is_a_task():
    assert parse("--test-runs test task-a_run-1")["test_runs"] == ["task-test", "task-a_run-1"]


def test_choices_are_those_of_the_science():
    """The table imports nothing heavy, so it repeats the names."""
    from cinebold.encoding.estimators import ESTIMATORS
    from cinebold.encoding.settings import CV_SCHEMES, PERMUTATION_SCHEMES

    choices = {option.field: option.choices for option in OPTIONS}
    assert set(choices["estimator"]) == {*ESTIMATORS, "lstm"}
    assert choices["cross_validation"] == CV_SCHEMES
    assert choices["permutation_scheme"] == PERMUTATION_SCHEMES
    for field in ("estimator", "cross_validation", "permutation_scheme", "shared_films", "hrf"):
        for choice in choices[field]:
            Settings.model_validate(
                {"bids_dir": "b", "output_dir": "o", "analysis_level": "group", field: choice}
            )


@pytest.mark.parametrize(
    "text", ["--test-runs a=b", "--test-runs task-", "--estimator svm", "--cross-validation loo",
             "--participant-label ../01", "--mem-mb lots", "--dummy-scans -3", "-d =x", "--nonsense"]
)  # fmt: skip
def test_nonsense_is_refused_with_exit_code_2(text, capsys):
    with pytest.raises(SystemExit) as refused:
        parse(text)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"), [("8000", 8000), ("8G", 8000), ("1.5T", 1_500_000), ("500MB", 500)]
)
def test_memory_has_units(text, expected):
    assert memory_mb(text) == expected


def test_the_command_line_loads_nothing_heavy():
    """`--help` must answer at once: no numpy, no pydantic, no nipype behind it."""
    code = (
        "import sys, bids_app.cli\n"
        "heavy = {'numpy', 'pydantic', 'torch', 'nipype', 'nilearn', 'bids', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_levels_and_exit_codes():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bids_app.cli", "--help"], capture_output=True, text=True, check=True
    )
    print(f"--help took {time.perf_counter() - started:.2f} s")
    assert "{stimuli,participant,group}" in done.stdout
    assert "65 nothing to do" in done.stdout
