"""One pass over a film for all extractors."""

import numpy as np
import pytest

from cinebold.features import extraction
from cinebold.features.extraction import extract_features
from cinebold.features.registry import create_extractor


def test_one_pass_gives_what_single_passes_give(moving_film, monkeypatch):
    extractors = {
        "low": create_extractor("low_level"),
        "motion": create_extractor("motion_energy", {"height": 18, "width": 32, "spatial_frequencies": [2]}),
    }
    passes = []
    original = extraction.iterate_frames
    monkeypatch.setattr(
        extraction, "iterate_frames", lambda info, **k: passes.append(1) or original(info, **k)
    )
    together = extract_features(moving_film, extractors)
    assert len(passes) == 1
    for key, extractor in extractors.items():
        alone = extract_features(moving_film, {key: extractor}, n_threads=2)[key]
        np.testing.assert_array_equal(together[key].values, alone.values)
        assert together[key].provenance == alone.provenance


def test_what_was_wrong_with_the_film_is_in_the_provenance(film, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)
    whole = film("whole.mkv", noise)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(UserWarning, match="cut off"):
        series = extract_features(cut, {"a": create_extractor("low_level")})["a"]
    assert series.provenance["warnings"][0].startswith("cut.mkv: the film announces 4.00 s")
    assert 1 < series.film_duration_s < 3
    assert np.isfinite(series.values).all()
    assert series.provenance["film"]["n_frames_decoded"] <= series.provenance["film"]["n_frames"] < 100


def test_a_film_that_nobody_looks_at_is_not_decoded(moving_film, monkeypatch):
    presence, low = create_extractor("presence"), create_extractor("low_level")
    beside = extract_features(moving_film, {"presence": presence, "low": low})["presence"]
    monkeypatch.setattr(extraction, "iterate_frames", None)  # any call fails
    alone = extract_features(moving_film, {"presence": presence})["presence"]
    assert alone.provenance == beside.provenance
    assert alone.provenance["film"]["n_frames"] == 60
    assert "n_frames_decoded" not in alone.provenance["film"]
    np.testing.assert_array_equal(alone.values, 1)
