"""The feature store: reuse, damage, many processes, equal bytes."""

import json
import logging
from dataclasses import replace

import h5py
import numpy as np
import pytest

from cinebold.errors import InputError
from cinebold.features import store
from cinebold.features.registry import create_extractor
from cinebold.features.series import FeatureSeries
from cinebold.features.store import ensure_features, feature_key, read_features, write_features


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    return FeatureSeries(
        values=rng.standard_normal((7, 3)).astype(np.float32),
        times_s=np.arange(7) + 0.5,
        names=("luminance", "motion dir-045", "café"),
        pad_fraction=np.linspace(0, 1, 7, dtype=np.float32),
        film_duration_s=7.25,
        provenance={"extractor": "x", "parameters": {"hop_s": 1.0}, "warnings": []},
    )


def test_what_is_written_is_read(series, tmp_path):
    back = read_features(write_features(tmp_path / "a.h5", series))
    for name in ("values", "times_s", "pad_fraction"):
        np.testing.assert_array_equal(getattr(back, name), getattr(series, name))
        assert getattr(back, name).dtype == getattr(series, name).dtype
    assert (back.names, back.film_duration_s, back.provenance) == (
        series.names,
        series.film_duration_s,
        series.provenance,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_equal_series_give_equal_bytes(series, tmp_path):
    write_features(tmp_path / "a.h5", series)
    other_order = dict(reversed(series.provenance.items()))
    write_features(tmp_path / "sub" / "b.h5", replace(series, provenance=other_order))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "sub" / "b.h5").read_bytes()


def test_damaged_values_are_noticed(series, tmp_path):
    path = write_features(tmp_path / "a.h5", series)
    content = path.read_bytes()
    place = content.index(series.values.tobytes()[:16])
    path.write_bytes(content[:place] + b"\x00" * 8 + content[place + 8 :])
    with pytest.raises(InputError, match=r"a\.h5.*damaged"):
        read_features(path)
    with pytest.raises(InputError, match="found none"):
        read_features(tmp_path / "b.h5")


def test_computed_once_and_again_only_when_something_changed(moving_film, tmp_path, monkeypatch):
    target = tmp_path / "out" / "stimuli" / "a_desc-lowlevel_features.h5"
    extractor = create_extractor("low_level")
    assert ensure_features(moving_film, {target: extractor}) == (str(target),)
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "a_desc-lowlevel_features.h5",
        "a_desc-lowlevel_features.json",
    ]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in target.parent.iterdir()}
    with monkeypatch.context() as context:
        context.setattr(store, "extract_features", None)  # any call fails
        assert ensure_features(moving_film, {target: extractor}) == ()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in target.parent.iterdir()} == before
    other = create_extractor("low_level", {"hop_s": 0.25})
    assert ensure_features(moving_film, {target: other}) == (str(target),)
    assert len(read_features(target).times_s) == 10
    assert ensure_features(moving_film, {target: extractor}) == (str(target),)
    assert {path: path.read_bytes() for path in before} == {
        path: content for path, (content, _) in before.items()
    }


def test_key_depends_on_film_and_parameters_only():
    one = create_extractor("low_level")
    assert feature_key("00", one) == feature_key("00", create_extractor("low_level", {"hop_s": 0.5}))
    assert feature_key("00", one) != feature_key("01", one)
    assert feature_key("00", one) != feature_key("00", create_extractor("low_level", {"hop_s": 1}))


def test_the_sidecar_says_what_the_series_is(moving_film, tmp_path):
    target = tmp_path / "a.h5"
    ensure_features(
        moving_film, {target: create_extractor("low_level")}, sidecar={"Sources": ["bids:raw:a.mp4"]}
    )
    sidecar = json.loads((tmp_path / "a.json").read_text())
    assert sidecar["Sources"] == ["bids:raw:a.mp4"]
    assert sidecar["FeatureKey"] == read_features(target).provenance["key"]
    assert sidecar["Provenance"]["film"]["n_frames_decoded"] == 60
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()
    whole = (tmp_path / "a.json").read_bytes()
    (tmp_path / "a.json").unlink()  # as if killed between the two files
    assert (
        ensure_features(
            moving_film, {target: create_extractor("low_level")}, sidecar={"Sources": ["bids:raw:a.mp4"]}
        )
        == ()
    )
    assert (tmp_path / "a.json").read_bytes() == whole


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b""])
def test_a_damaged_file_is_computed_again(moving_film, tmp_path, damage, caplog):
    target = tmp_path / "a.h5"
    extractor = create_extractor("low_level")
    ensure_features(moving_film, {target: extractor})
    whole = target.read_bytes()
    target.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        assert ensure_features(moving_film, {target: extractor}) == (str(target),)
    assert "damaged" in caplog.text
    assert target.read_bytes() == whole


def test_only_what_is_missing_is_computed_in_one_pass(moving_film, tmp_path, monkeypatch):
    first, second, third = (tmp_path / f"{name}.h5" for name in "abc")
    extractors = {
        first: create_extractor("low_level"),
        second: create_extractor("low_level", {"hop_s": 1}),
        third: create_extractor("low_level", {"hop_s": 2}),
    }
    ensure_features(moving_film, {second: extractors[second]})
    calls = []
    original = store.extract_features
    monkeypatch.setattr(
        store,
        "extract_features",
        lambda film, wanted, **k: calls.append(len(wanted)) or original(film, wanted, **k),
    )
    assert ensure_features(moving_film, extractors) == (str(first), str(third))
    assert calls == [2]


def test_a_bad_film_leaves_nothing_behind(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no film" * 1000)
    with pytest.raises(InputError, match=r"bad\.mp4"):
        ensure_features(tmp_path / "bad.mp4", {tmp_path / "a.h5": create_extractor("low_level")})
    assert not (tmp_path / "a.h5").exists()
    assert not (tmp_path / "a.json").exists()


def test_values_are_float32_in_chunks_with_checksums(series, tmp_path):
    with h5py.File(write_features(tmp_path / "a.h5", series)) as file:
        assert file["values"].fletcher32
        assert file["values"].chunks == (7, 3)
        assert file["values"].dtype == np.float32
