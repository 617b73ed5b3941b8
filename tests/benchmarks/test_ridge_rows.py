"""The ridge rows of the benchmark have the answers of their peer; never how fast."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [("ridge", 1e-5), ("banded-ridge", 1e-5), ("ridge-many-features", 1e-4)]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    pytest.importorskip("himalaya")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tolerance"), ROWS)
@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_a_quick_row_has_the_peers_answer(monkeypatch, name, tolerance, path):
    from benchmarks import registry

    if path == "torch":  # what a GPU would do, by torch on the CPU
        import torch

        monkeypatch.setattr(registry.Setup, "on_gpu", True)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 1)
    rows = registry.all_rows()
    monkeypatch.setattr("benchmarks.rows.ridge._backend", lambda setup: "torch")
    row = rows[name](registry.Setup(quick=True))
    assert row.name == name
    assert row.agreement < tolerance
    assert row.sizes.get("same_alphas", 1.0) > 0.99
    assert row.seconds_ours > 0 and row.seconds_peer > 0
    assert sum(row.flops.values()) > 1e8
    assert (row.peak_device_mb is not None) == (path == "torch")


def test_the_formulas_give_the_work_that_the_readme_tells():
    from benchmarks.rows.permutations import permutation_flops
    from benchmarks.rows.ridge import banded_flops, dual_flops, ridge_flops

    for flops, tera in (
        (ridge_flops(3600, 400, 100_000), 1.9),
        (ridge_flops(3600, 400, 100_000, on_gpu=True), 1.9),
        (banded_flops(300, 10_000, 100), 8.6),
        (dual_flops(3600, 20_000, 10_000), 6.2),
        (permutation_flops(3600, 100_000, 10_000), 0.21),
    ):
        assert sum(flops.values()) / 1e12 == pytest.approx(tera, rel=0.03)
