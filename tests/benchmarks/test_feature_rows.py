"""The benchmark of video features: its rows have their facts and their peers' answers; never how fast."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "peer", "ratio", "goal", "agreement", "seconds_ours", "seconds_peer", "peak_mb", "sizes"}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def written_row(tmp_path, name):
    command = importlib.import_module("benchmarks.features")
    assert command.main(["--quick", "--only", name, "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row.keys() >= KEYS and row["name"] == name
    assert row["ratio"] == pytest.approx(row["seconds_peer"] / row["seconds_ours"])
    return row


def test_commands_do_not_mix_their_rows():
    registry = importlib.import_module("benchmarks.registry")
    encoding, features = registry.all_rows("rows"), registry.all_rows("rows_features")
    assert {"motion-energy", "decoding", "decode-once", "x3d-xs", "slowfast"} <= set(features)
    assert {"ridge", "lasso-path"} <= set(encoding)
    assert not set(encoding) & set(features)


def test_an_unknown_row_is_refused_with_the_names_there_are(capsys):
    with pytest.raises(SystemExit):
        importlib.import_module("benchmarks.features").main(["--only", "ridge"])
    assert "decode-once" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "goal"), [("decoding", 1), ("decode-once", 2.7)])
def test_frames_are_those_of_the_plain_loop_and_features_those_of_single_runs(tmp_path, capsys, name, goal):
    row = written_row(tmp_path, name)
    assert (row["agreement"], row["goal"], row["sizes"]["n_frames"]) == (0, goal, 48)
    assert name in capsys.readouterr().out


def test_the_decoder_of_one_pass_is_asked_for_every_frame_once(monkeypatch):
    """Three runs cost three times the decoder's time: here the time of a decoder that takes 1 s a frame."""
    from benchmarks.registry import Setup
    from benchmarks.rows_features import decoding

    ticks = iter(range(10_000))
    monkeypatch.setattr(decoding.time, "thread_time", lambda: float(next(ticks)))
    row = decoding.decode_once(Setup(quick=True))
    assert row.seconds_ours == 49  # 48 frames and the end
    assert row.ratio == pytest.approx(3)


@pytest.mark.slow
def test_motion_energy_has_pymotens_answer(tmp_path):
    row = written_row(tmp_path, "motion-energy")
    assert row["agreement"] < 1e-5 and row["goal"] == 5
    assert set(row["sizes"]["differences"]) == set(row["sizes"]["frames_per_s_peer"])
    assert len(row["sizes"]["differences"]) == 4
    assert max(row["sizes"]["differences"].values()) < 1e-2  # in batches pymoten calculates in float32
    assert row["flops"]["float64"] > 1e6


@pytest.mark.slow
def test_x3d_has_the_librarys_answer_on_the_same_frames():
    from benchmarks.registry import Setup
    from benchmarks.rows_features.x3d import x3d_xs

    row = x3d_xs(Setup(quick=True))
    assert (row.goal, row.sizes["n_windows"]) == (3, 4)
    assert row.agreement < 1e-3  # of the spread over windows, which random weights make small
