"""Loadings tables: sign rule, precision, and the 2021 project's own table."""

import csv

import numpy as np
import pytest

from cinebold.design.loadings import loadings_table, with_fixed_sign
from cinebold.errors import InputError


def _read(path, delimiter="\t"):
    with open(path, newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=delimiter)
    return header, [row[1] for row in rows], np.array([[float(v) for v in row[2:]] for row in rows])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs_are_fixed_and_nothing_else_changes(dtype):
    components = np.random.default_rng(0).normal(size=(7, 12)).astype(dtype)
    fixed = with_fixed_sign(components)
    assert fixed.dtype == dtype
    np.testing.assert_array_equal(np.abs(fixed), np.abs(components))
    for row in fixed:
        assert row[np.argmax(np.abs(row))] > 0
    np.testing.assert_array_equal(with_fixed_sign(-components), fixed)


def test_no_components():
    assert with_fixed_sign(np.zeros((0, 4))).shape == (0, 4)


def test_table_keeps_names_and_full_precision(tmp_path):
    components = np.random.default_rng(1).normal(size=(2, 3))
    names = ["plain", 'with "quotes"', "with\ttab, comma"]
    header, read_names, values = _read(loadings_table(components, names, tmp_path / "a.tsv"))
    assert header == ["index", "name", "pc_00", "pc_01"]
    assert read_names == names
    np.testing.assert_array_equal(values, with_fixed_sign(components).T)


def test_equal_bytes(tmp_path):
    components = np.random.default_rng(1).normal(size=(2, 3))
    tables = [loadings_table(components, "abc", tmp_path / name).read_bytes() for name in ("a.csv", "b.csv")]
    assert tables[0] == tables[1]


def test_wrong_number_of_names(tmp_path):
    with pytest.raises(InputError, match="2 names for 3 features"):
        loadings_table(np.ones((1, 3)), ["a", "b"], tmp_path / "a.tsv")
    assert not list(tmp_path.iterdir())


def test_reproduces_the_table_of_the_2021_project(shared_data, tmp_path):
    folder = shared_data / "kinetics_loadings"
    with open(folder / "kinetics_400_labels.csv", newline="") as stream:
        labels = [row["name"] for row in csv.DictReader(stream)]
    components = np.load(folder / "twovid_pca.npy")
    _, names, ours = _read(loadings_table(components, labels, tmp_path / "a.csv", fix_signs=False), ",")
    with open(folder / "kinetics_pc.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    theirs = np.array([[float(row[f"pc_{k:02d}"]) for k in range(69)] for row in rows])
    assert names == [row["name"] for row in rows]
    assert np.abs(ours - theirs).max() <= 1e-8
