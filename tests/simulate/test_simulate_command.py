"""The command line: exit codes, one sentence for each error, a summary at the end."""

import subprocess
import sys

import pytest

from cinebold.simulate.__main__ import main


def test_a_small_dataset_and_its_summary(tmp_path, capsys):
    options = (
        "--participants 1 --runs 2 --resolution 12 --film-seconds 12 --shared-seconds 0 --seed 3 -q".split()
    )
    assert main([str(tmp_path / "out"), *options]) == 0
    printed = capsys.readouterr().out
    assert "1 participants, 2 runs, 3 films" in printed
    assert "occipital" in printed
    events = (tmp_path / "out/sub-01/func/sub-01_task-movie_run-2_events.tsv").read_text()
    assert "film-03.mp4" in events and "shared" not in events


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--participants", "many"], 2, "--participants must be one whole number"),
        (["--film-seconds", "3"], 2, "film_seconds must be at least"),
        (["--like", "raw"], 2, "--like needs --fmriprep"),
        (["--films", "no/such/folder"], 16, "and there are none"),
        (["--like", "raw", "--fmriprep", "f", "--films", "v"], 16, "Expected runs with events in raw"),
    ],
)
def test_errors_are_one_line_and_have_their_code(tmp_path, capsys, options, code, message):
    assert main([str(tmp_path / "out"), "-q", *options]) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_full_directory_is_exit_code_two(tmp_path, capsys):
    (tmp_path / "x").write_text("x")
    assert main([str(tmp_path)]) == 2
    assert "new or empty" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from cinebold.simulate.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'av', 'nilearn', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "OUT_DIR" in done.stdout
