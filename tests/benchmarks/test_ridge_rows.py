"""The ridge rows of the benchmark have the answers of their peer; never how fast."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tolerance"), [("ridge", 1e-5), ("banded-ridge", 1e-5), ("ridge-many-features", 1e-4)]
)
def test_a_quick_row_has_the_peers_answer(monkeypatch, name, tolerance):
    monkeypatch.syspath_prepend(str(ROOT))
    pytest.importorskip("himalaya")
    from benchmarks.registry import Setup, all_rows

    row = all_rows()[name](Setup(quick=True))
    assert row.name == name
    assert row.agreement < tolerance
    assert row.sizes.get("same_alphas", 1.0) > 0.99
    assert row.seconds_ours > 0 and row.seconds_peer > 0
