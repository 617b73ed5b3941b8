"""`cinebold-features list` and `extract`."""

import json

import numpy as np
import pytest

from cinebold.features.__main__ import main
from cinebold.features.catalogue import catalogue
from cinebold.features.extraction import extract_features
from cinebold.features.registry import create_extractor, extractor_names
from cinebold.features.store import read_features


def test_the_list_tells_layers_columns_windows_and_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "s3d.pth").write_bytes(b"x")
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "X3D_XS.pyth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    assert main(["list", "--json", "--weights-dir", str(tmp_path)]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert tuple(entries) == extractor_names()
    assert entries["s3d"]["weights_file"] == str(tmp_path / "s3d.pth")
    assert entries["x3d_xs"]["weights_file"] == str(cached)
    assert entries["alexnet"]["weights_file"] is None and entries["alexnet"]["needs_weights"]
    assert entries["alexnet"]["layers"]["conv1"] == 64 * 55 * 55
    assert entries["alexnet"]["n_features"] == 4096
    assert entries["low_level"]["layers"] == {"": 5} and not entries["low_level"]["needs_weights"]
    assert entries["motion_energy"]["n_features"] == 575
    assert entries["slowfast_r50"]["layers"]["avgpool"] == 2304
    assert entries["precomputed"]["n_features"] is None
    for name, entry in entries.items():
        assert entry["n_features"] or name == "precomputed" or entry["problem"] or entry["needs_weights"]
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    assert "alexnet: 4,096 columns, means every 0.5 s" in table and "weights: MISSING; alexnet-owt" in table
    assert main(["list", "--weights-dir", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_number_of_columns_is_that_of_the_network():
    for entry in catalogue():
        if entry.needs_weights and entry.problem is None:
            extractor = create_extractor(entry.name, random_weights=True)
            assert len(extractor.column_names()) == entry.n_features, entry.name


def test_features_of_one_film(moving_film, tmp_path, capsys):
    out = tmp_path / "out" / "a.h5"
    command = [
        "extract",
        str(moving_film),
        "--extractor",
        "low_level",
        "--set",
        "hop_s=0.8",
        "--out",
        str(out),
    ]
    assert main([*command, "--nprocs", "1"]) == 0
    assert "3 windows x 5 features of 2.4 s" in capsys.readouterr().out
    expected = extract_features(moving_film, {"a": create_extractor("low_level", {"hop_s": 0.8})})["a"]
    np.testing.assert_array_equal(read_features(out).values, expected.values)
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (["--set", "hop=1"], 2, "has no parameter 'hop'"),
        (["--set", "hop_s"], 2, "takes KEY=VALUE"),
        (["--set", "hop_s=often"], 2, "hop_s must be a number; found 'often'"),
        (["--extractor", "none"], 2, "Unknown feature extractor 'none'"),
        (["--extractor", "s3d"], 2, "needs its pretrained weights"),
        (["--nprocs", "-1"], 2, "at least 1"),
        (["--out", "a.txt"], 2, "must name a file .h5"),
        (["--extractor", "precomputed", "--set", "file=a.csv"], 16, "found no such file"),
    ],
)
def test_what_users_get_wrong(moving_film, tmp_path, monkeypatch, capsys, change, code, sentence):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    out = str(tmp_path / "a.h5")
    assert main(["extract", str(moving_film), "--extractor", "low_level", "--out", out, *change]) == code
    assert sentence in capsys.readouterr().err


def test_no_film(tmp_path, capsys):
    arguments = [
        "extract",
        str(tmp_path / "a.mp4"),
        "--extractor",
        "presence",
        "--out",
        str(tmp_path / "a.h5"),
    ]
    assert main(arguments) == 16
    assert "found no such file" in capsys.readouterr().err
