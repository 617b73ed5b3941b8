"""Loadings tables: sign rule, precision, and the 2021 project's own table."""

import csv

import numpy as np
import pytest

from cinebold.design.loadings import loadings_table, with_fixed_sign
from cinebold.errors import InputError, SettingError


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


def _table_of_2021(path):
    """Names, ids and values of a file in the layout of `kinetics_pc.csv`."""
    with open(path, newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header[:3] == ["", "id", "name"] and header[3:] == [f"pc_{k:02d}" for k in range(len(header) - 3)]
    assert [row[0] for row in rows] == [row[1] for row in rows]
    return [(row[1], row[2]) for row in rows], np.array([[float(v) for v in row[3:]] for row in rows])


def test_the_layout_of_2021_keeps_labels_signs_and_numbers(tmp_path):
    """As that project wrote it: the transposed components beside a table of labels, by pandas."""
    import pandas

    components = np.linalg.qr(np.random.default_rng(2).normal(size=(40, 5)))[0].T.astype(np.float32)
    labels = pandas.DataFrame(
        {"id": range(40), "name": [f'class "{chr(97 + k % 26)}", {k}' for k in range(40)]}
    )
    columns = pandas.DataFrame(components.T, columns=[f"pc_{k:02d}" for k in range(5)])
    labels.join(columns).to_csv(tmp_path / "theirs.csv")
    path = loadings_table(
        components, labels["name"], tmp_path / "ours.csv", fix_signs=False, layout="neurohackademy2021"
    )
    (names, ours), (their_names, theirs) = _table_of_2021(path), _table_of_2021(tmp_path / "theirs.csv")
    assert names == their_names
    assert np.abs(ours - theirs).max() <= 1e-8
    fixed = loadings_table(components, labels["name"], tmp_path / "a.csv", layout="neurohackademy2021")
    np.testing.assert_allclose(_table_of_2021(fixed)[1], with_fixed_sign(components).T, atol=1e-8)
    with pytest.raises(SettingError, match="choose one of index, neurohackademy2021"):
        loadings_table(components, labels["name"], tmp_path / "a.csv", layout="2021")


def test_reproduces_the_table_of_the_2021_project(shared_data, tmp_path):
    folder = shared_data / "kinetics_loadings"
    with open(folder / "kinetics_400_labels.csv", newline="") as stream:
        labels = [row["name"] for row in csv.DictReader(stream)]
    components = np.load(folder / "twovid_pca.npy")
    path = loadings_table(
        components, labels, tmp_path / "a.csv", fix_signs=False, layout="neurohackademy2021"
    )
    (names, ours), (their_names, theirs) = _table_of_2021(path), _table_of_2021(folder / "kinetics_pc.csv")
    assert names == their_names and len(names) == 400
    assert np.abs(ours - theirs).max() <= 1e-8
    # PCA over classes: components of unit length, orthogonal, and here about the mean over classes.
    np.testing.assert_allclose(components @ components.T, np.eye(69), atol=2e-6)
    strongest = [names[k][1] for k in np.argsort(-ours[:, 0])[:2]]
    assert strongest == ["dying hair", "skiing (not slalom or crosscountry)"]
