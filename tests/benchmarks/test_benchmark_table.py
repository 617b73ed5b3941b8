"""The benchmark command: what it prints and writes; never how fast."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "peer", "ratio", "goal", "agreement", "seconds_ours", "seconds_peer", "peak_mb", "sizes"}


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
def test_a_quick_row_has_all_its_facts_and_the_peers_answer(command, tmp_path, capsys, name, agrees):
    assert command.main(["--quick", "--only", name, "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row.keys() >= KEYS and row["name"] == name
    assert row["ratio"] == pytest.approx(row["seconds_peer"] / row["seconds_ours"])
    assert agrees(row["agreement"])
    assert name in capsys.readouterr().out


def test_an_unknown_row_is_refused_with_the_names_there_are(command, capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "nothing"])
    assert "lasso-path" in capsys.readouterr().err
