"""The row of block permutations: its facts and its agreement with numpy; never how fast."""

from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("path", ["numba", "torch"])
def test_the_quick_row_agrees_with_numpy(monkeypatch, path):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from benchmarks import registry

    if path == "torch":  # what a GPU would do, by torch on the CPU
        import torch

        monkeypatch.setattr(registry.Setup, "on_gpu", True)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 1)
    row = registry.all_rows()["block-permutations"](registry.Setup(quick=True))
    assert row.agreement < 1e-10
    assert (row.goal, row.sizes["n_permutations"]) == (50, 2000)
    assert row.as_json()["ratio"] == pytest.approx(row.seconds_peer / row.seconds_ours)
