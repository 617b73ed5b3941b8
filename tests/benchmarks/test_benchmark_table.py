"""The benchmark command: what it prints and writes; never how fast."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "peer", "ratio", "goal", "agreement", "seconds_ours", "seconds_peer", "peak_mb", "sizes"}
KEYS |= {"flops", "rate_share", "peak_device_mb", "device"}


@pytest.fixture
def command(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    specification = importlib.util.spec_from_file_location(
        "benchmarks.encoding", ROOT / "benchmarks/encoding.py"
    )
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "benchmarks.encoding", module)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "agrees"),
    [("lasso-one-alpha", lambda value: value < 1e-4), ("lasso-path", lambda value: value == 1)],
)
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_a_quick_row_has_all_its_facts_and_the_peers_answer(
    command, monkeypatch, tmp_path, capsys, name, agrees, path
):
    if path == "torch":  # what a GPU would do, by torch on the CPU
        import torch

        monkeypatch.setattr("benchmarks.registry.Setup.on_gpu", True)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 1)
    assert command.main(["--quick", "--only", name, "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row.keys() >= KEYS and row["name"] == name
    assert row["ratio"] == pytest.approx(row["seconds_peer"] / row["seconds_ours"])
    assert agrees(row["agreement"])
    printed = capsys.readouterr().out
    assert name in printed and "GFLOP/s in float64" in printed


def test_an_unknown_row_is_refused_with_the_names_there_are(command, capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "nothing"])
    assert "lasso-path" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_told_in_one_sentence(command, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert command.main(["--quick", "--device", "cuda"]) == 2
    written = capsys.readouterr()
    assert not written.out
    assert written.err.startswith("Device 'cuda' was asked for, but torch") and written.err.count("\n") == 1


def test_the_share_of_the_rate_is_the_time_at_that_rate_over_ours(command):
    from benchmarks.rates import matrix_rates
    from benchmarks.registry import Row

    flops = {"float32": 6e9, "float64": 1e9}
    row = Row("a", "b", 1, 0.0, "c", seconds_ours=2.0, seconds_peer=4.0, peak_mb=1.0, flops=flops)
    assert row.as_json()["rate_share"] is None
    assert row.with_rates({"float32": 6e9, "float64": 2e9}).as_json()["rate_share"] == pytest.approx(0.75)
    rates = matrix_rates(size=64)
    assert rates.keys() == {"float32", "float64"} and min(rates.values()) > 0


def test_the_gpu_has_its_memory_counted(command, monkeypatch):
    import torch

    from benchmarks.registry import Setup, measure

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    calls = []
    measured = measure(Setup(device="cuda"), lambda: calls.append(1) or 5)
    assert measured.result == 5 and len(calls) == 2
    assert measured.of_row()["peak_device_mb"] == 3
    assert measure(Setup(), lambda: 5).peak_device_mb is None
