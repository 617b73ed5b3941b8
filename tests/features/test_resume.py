"""What a killed extraction had computed is not computed again, and the end is the same to the byte."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from tiny_network import Tiny, TinyParameters

from cinebold.errors import InputError, SettingError
from cinebold.features.registry import create_extractor
from cinebold.features.rows import PartialRows, StoredRows
from cinebold.features.series import FeatureSeries
from cinebold.features.store import ensure_features, read_features, write_features

N_WINDOWS = 24  # of the moving film


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def kept(monkeypatch) -> list[bytes]:
    """The partial files of finished series, as they were before they were deleted."""
    found = []
    discard = PartialRows.discard
    monkeypatch.setattr(
        PartialRows, "discard", lambda rows: (found.append(rows.path.read_bytes()), discard(rows))
    )
    return found


@pytest.mark.parametrize("bin_s", [0.0, 0.25])
def test_killed_in_the_middle_and_started_again(bin_s, moving_film, tmp_path):
    whole = Tiny(TinyParameters(bin_s=bin_s))
    ensure_features(moving_film, {tmp_path / "whole" / "a.h5": whole})
    target = tmp_path / "killed" / "a.h5"
    command = [sys.executable, tiny_network.__file__, moving_film, target, str(bin_s), "12"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(signal.SIGKILL)
    assert sorted(contents(target.parent)) == [".a.h5.lock", ".a.h5.partial"]
    again = Tiny(TinyParameters(bin_s=bin_s))
    assert ensure_features(moving_film, {target: again}) == (str(target),)
    assert (whole.n_windows, again.n_windows) == (N_WINDOWS, N_WINDOWS - 12)
    assert again.n_prepared < 0.7 * whole.n_prepared
    assert contents(target.parent) == contents(tmp_path / "whole")


@pytest.mark.parametrize("bin_s", [0.0, 0.25])
def test_wherever_the_partial_file_breaks_off(bin_s, moving_film, tmp_path, kept):
    parameters = TinyParameters(bin_s=bin_s)
    ensure_features(moving_film, {tmp_path / "whole" / "a.h5": Tiny(parameters)})
    (whole,) = kept
    target = tmp_path / "again" / "a.h5"
    target.parent.mkdir()
    computed = []
    cuts = np.linspace(0, len(whole), 17).astype(int)
    for cut in cuts:
        partial = bytearray(whole[:cut])
        if cut % 2 and cut > 200:
            partial[-100] ^= 1  # a damaged record, and what comes after it, is lost
        target.with_name(".a.h5.partial").write_bytes(partial)
        tiny = Tiny(parameters)
        ensure_features(moving_film, {target: tiny})
        assert contents(target.parent) == contents(tmp_path / "whole")
        computed.append(tiny.n_windows)
        target.unlink()
    assert computed[0] == N_WINDOWS
    assert computed[-1] <= 4
    assert all(n % 4 == 0 for n in computed)
    assert len(set(computed)) > 4


def test_rows_of_something_else_are_thrown_away(moving_film, tmp_path, kept, caplog):
    target = tmp_path / "out" / "a.h5"
    ensure_features(moving_film, {target: Tiny()})
    whole = contents(target.parent)
    for other in (Tiny(TinyParameters(hop_s=0.2)), Tiny(scale=2.0), Tiny()):
        other.batch = {"cpu": 3}  # changes the key of none, but which windows meet
        ensure_features(moving_film, {tmp_path / "b" / "b.h5": other})
    for partial in (*kept[1:], b"", b"nothing of ours", kept[0][:40] + b"x" + kept[0][41:]):
        target.unlink()
        target.with_name(".a.h5.partial").write_bytes(partial)
        caplog.clear()
        tiny = Tiny()
        with caplog.at_level(logging.WARNING):
            ensure_features(moving_film, {target: tiny})
        assert tiny.n_windows == N_WINDOWS
        assert ("computed again" in caplog.text) == bool(partial)
        assert contents(target.parent) == whole


def test_layers_of_one_network_need_not_be_equally_far(moving_film, tmp_path, kept, monkeypatch):
    from cinebold.features.alexnet import AlexNet

    monkeypatch.setattr(AlexNet, "batch", {"cpu": 8})

    def extract(folder: str) -> dict[str, bytes]:
        given = {
            "a": {"layer": "conv1", "spatial": "mean"},
            "b": {"layer": "conv3", "spatial": "mean", "log": False},
        }
        requests = {
            tmp_path / folder / f"{name}.h5": create_extractor("alexnet", parameters, random_weights=True)
            for name, parameters in given.items()
        }
        ensure_features(moving_film, requests)
        return contents(tmp_path / folder)

    whole = extract("whole")
    batches = []
    original = AlexNet.values
    monkeypatch.setattr(
        AlexNet,
        "values",
        lambda self, clips: (batches.append(self.parameters.layer), original(self, clips))[1],
    )
    (tmp_path / "again").mkdir()
    for name, partial, share in zip("ab", kept, (0.75, 0.4), strict=True):
        (tmp_path / "again" / f".{name}.h5.partial").write_bytes(partial[: int(share * len(partial))])
    assert extract("again") == whole
    assert batches == ["conv3", "conv1", "conv3"]  # of three batches, a had two and b had one


def test_what_killed_writers_left_is_swept(moving_film, tmp_path):
    target = tmp_path / "out" / "a.h5"
    target.parent.mkdir()
    (target.parent / ".0123456789ab.a.h5").write_bytes(b"half")
    (target.parent / ".0123456789ab.b.h5").write_bytes(b"of another")
    ensure_features(moving_film, {target: create_extractor("low_level")})
    assert sorted(contents(target.parent)) == [".0123456789ab.b.h5", "a.h5", "a.json"]


def test_float16_on_request(moving_film, tmp_path, kept):
    full, half = tmp_path / "full.h5", tmp_path / "half.h5"
    dtypes = {half: "float16"}
    ensure_features(moving_film, {full: Tiny(), half: Tiny()}, dtypes=dtypes)
    series = read_features(half)
    assert series.values.dtype == np.float32
    np.testing.assert_array_equal(series.values, read_features(full).values.astype(np.float16))
    assert series.provenance["store_dtype"] == "float16"
    assert series.provenance["key"] != read_features(full).provenance["key"]
    assert ensure_features(moving_film, {half: Tiny()}, dtypes=dtypes) == ()
    whole = half.read_bytes()
    half.unlink()
    half.with_name(".half.h5.partial").write_bytes(kept[1][:-60])
    tiny = Tiny()
    ensure_features(moving_film, {half: tiny}, dtypes=dtypes)
    assert 0 < tiny.n_windows < N_WINDOWS
    assert half.read_bytes() == whole
    with pytest.raises(InputError, match=r"large\.h5: the feature 'tiny \d' reaches -?\d+.*65504"):
        ensure_features(
            moving_film, {tmp_path / "large.h5": Tiny(scale=1e6)}, dtypes={tmp_path / "large.h5": "float16"}
        )
    with pytest.raises(SettingError, match="float32, float16; found 'int8'"):
        ensure_features(moving_film, {half: Tiny()}, dtypes={half: "int8"})


def test_rows_on_disk_give_the_file_that_rows_in_memory_give(tmp_path):
    n_windows, n_columns = 11, 2**16  # chunks of 4 windows
    values = np.random.default_rng(0).standard_normal((n_windows, n_columns)).astype(np.float32)
    rows = PartialRows(tmp_path / "a.h5", "key")
    names = tuple(f"unit {index}" for index in range(n_columns))
    rows.begin(names, {})
    for begin, end in ((0, 3), (3, 3), (3, 4), (4, 9), (9, 11)):
        rows.append(values[begin:end], end)
    series = FeatureSeries(values, np.arange(11.0), names, np.zeros(11, np.float32), 11.0)
    stored = rows.values()
    assert isinstance(stored, StoredRows)
    for begin, end in ((0, 11), (2, 4), (3, 10), (5, 6), (4, 4), (8, 99)):
        np.testing.assert_array_equal(stored[begin:end], values[begin:end])
    on_disk = FeatureSeries(stored, series.times_s, names, series.pad_fraction, 11.0)
    write_features(tmp_path / "disk.h5", on_disk)
    rows.discard()
    assert (tmp_path / "disk.h5").read_bytes() == write_features(tmp_path / "memory.h5", series).read_bytes()
    np.testing.assert_array_equal(read_features(tmp_path / "disk.h5").values, values)
    assert not rows.path.exists()
