"""The benchmark of BOLD preparation: its rows have their facts and their peers' answers; never how fast."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.filterwarnings("ignore:Cosine filter was not created")
@pytest.mark.parametrize(
    ("name", "largest"), [("volume-run", 1e-4), ("cifti-run", 1e-4), ("index", 0), ("peak-memory", 1.2)]
)
def test_answers_are_the_peers(name, largest):
    registry = importlib.import_module("benchmarks.registry")
    rows = registry.all_rows("rows_bold")
    assert "volume-run-cubic" in rows
    row = rows[name](registry.Setup(quick=True)).as_json()
    assert (row["name"], row["agreement"] <= largest) == (name, True)
    if name == "peak-memory":
        assert row["peak_mb"] < 1000 and row["ratio"] == pytest.approx(1000 / row["peak_mb"])
