"""Run designs on disk."""

import zipfile

import numpy as np
import pytest

from cinebold.design.run_design import RunDesign
from cinebold.errors import InputError


def a_design(film_time_s=None):
    return RunDesign(
        label="task-movie_run-1",
        tr_s=1.75,
        features={"motion": np.arange(8.0).reshape(4, 2), "low": np.ones((4, 1))},
        has_film=np.array([True, True, False, True]),
        film_of_volume=np.array([0, 0, -1, 1]),
        film_ids=("abc", "dé"),
        keep=np.array([False, True, True, True]),
        names={"motion": ("x", "y"), "low": ("luminance",)},
        film_time_s=film_time_s,
    )


@pytest.mark.parametrize("film_time_s", [None, np.array([0.0, 1.75, np.nan, 0.0])])
def test_a_design_comes_back_as_it_was_saved_and_with_the_same_bytes(tmp_path, film_time_s):
    design = a_design(film_time_s)
    loaded = RunDesign.load(design.save(tmp_path / "a.npz"))
    assert (loaded.label, loaded.tr_s, loaded.film_ids, loaded.names) == (
        design.label,
        design.tr_s,
        design.film_ids,
        design.names,
    )
    assert list(loaded.features) == ["motion", "low"]
    for space, values in design.features.items():
        np.testing.assert_array_equal(loaded.features[space], values)
    for what in ("has_film", "film_of_volume", "keep"):
        np.testing.assert_array_equal(getattr(loaded, what), getattr(design, what))
    assert (loaded.film_time_s is None) == (film_time_s is None)
    loaded.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(InputError, match="is not a run design"):
        RunDesign.load(tmp_path / "other.npz")


def test_rows_that_do_not_match_are_refused():
    design = a_design()
    with pytest.raises(InputError, match="a row a volume"):
        RunDesign(**{**design.__dict__, "features": {"motion": np.ones((3, 2))}})
