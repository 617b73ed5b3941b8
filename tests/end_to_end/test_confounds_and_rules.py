"""Confounds of one's own, trimmed ends and a run that moved too much: from the command line to the report."""

import csv
import json
import re

import numpy as np
import pytest

from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.settings import quick_settings

pytestmark = pytest.mark.slow

QUICK = (
    "--features",
    "low_level",
    "--permutations",
    0,
    "--resolution",
    "native",
    "--participant-label",
    "01",
)


@pytest.fixture
def dataset(tmp_path):
    """Three short runs: the second moved too much; in the first two volumes in the middle did."""
    settings = quick_settings(
        n_runs=3, film_seconds=30.0, shared_seconds=8.0, resolution_mm=12.0, n_participants=1
    )
    bids = simulate_dataset(tmp_path / "bids", settings)
    generator = np.random.default_rng(0)
    for path in bids.glob("derivatives/fmriprep/sub-01/func/*_desc-confounds_timeseries.tsv"):
        run = int(re.search(r"run-(\d)", path.name)[1])
        header, *rows = list(csv.reader(path.read_text().splitlines(), delimiter="\t"))
        column = header.index("framewise_displacement")
        for number, row in enumerate(rows[1:], start=1):
            moved = number > 20 if run == 2 else run == 1 and number in (30, 31)
            row[column] = "0.9" if moved else "0.1"
        path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")
        own = tmp_path / f"physio/run-{run}.tsv"
        own.parent.mkdir(exist_ok=True)
        own.write_text("heart\n" + "".join(f"{value:.4f}\n" for value in generator.normal(size=len(rows))))
    return bids


def test_what_was_asked_for_is_done_and_told(dataset, tmp_path, cinebold):
    (tmp_path / "mine.yml").write_text(
        "columns: [motion6, csf]\nfd_threshold_mm: 0.5\nshortest_segment_volumes: 0\n"
    )
    done = cinebold(
        dataset, tmp_path / "out", "participant", "-w", tmp_path / "work", *QUICK,
        "--confounds", tmp_path / "mine.yml", "--extra-confounds", tmp_path / "physio/run-{run}.tsv",
        "--trim", "2:3", "--max-fd", 0.5, "--min-volumes", 20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out").glob("sub-01/figures/*_desc-summary_report.json")
    summary = json.loads(path.read_text())
    assert [run["label"] for run in summary["runs"]] == ["task-movie_run-1", "task-movie_run-3"]
    assert [(run["label"], run["reason"][:42]) for run in summary["excluded_runs"]] == [
        ("task-movie_run-2", "its mean framewise displacement is 0.661 m")
    ]
    assert [fold["runs"] for fold in summary["folds"]] == [["task-movie_run-1"], ["task-movie_run-3"]]
    first = summary["runs"][0]
    assert first["volumes_dropped"] == {"non_steady_state": 1, "trimmed": 5, "scrubbed": 2}
    assert first["n_volumes"] - first["n_volumes_kept"] == 7
    assert {"trans_x", "csf", "heart"} <= set(first["confound_columns"])
    assert first["degrees_of_freedom_lost"] == len(first["confound_columns"]) + 1
    assert first["fd_max_mm"] == 0.9 and 0.5 < first["coverage"] <= 1
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "Runs left out by rule" in page and "5 trimmed, 2 scrubbed" in page
