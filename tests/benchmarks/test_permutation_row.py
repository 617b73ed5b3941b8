"""The row of block permutations: its facts and its agreement with numpy; never how fast."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_quick_row_agrees_with_numpy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from benchmarks.registry import Setup, all_rows

    row = all_rows()["block-permutations"](Setup(quick=True))
    assert row.agreement < 1e-10
    assert (row.goal, row.sizes["n_permutations"]) == (50, 2000)
    assert row.as_json()["ratio"] == pytest.approx(row.seconds_peer / row.seconds_ours)
