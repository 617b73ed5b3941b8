"""One row a presentation: what was shown of a clip decides its features."""

import numpy as np
import pytest

from cinebold.design.alignment import Showing
from cinebold.design.clip_design import build_clip_design
from cinebold.errors import InputError
from cinebold.features.series import FeatureSeries


def series(n_windows=6, hop_s=0.5, offset=0.0, names=("a", "b")):
    times_s = (np.arange(n_windows) + 0.5) * hop_s
    values = np.stack([times_s + offset, -times_s], axis=1).astype(np.float32)
    return FeatureSeries(values, times_s, names, np.zeros(n_windows, np.float32), n_windows * hop_s)


def showing(film, onset_s, duration_s=3.0, film_offset_s=0.0, **own):
    return Showing(film, onset_s, duration_s, film_offset_s, {"space": series(**own)}, film)


def test_rows_are_presentations_and_repeats_share_a_film():
    design = build_clip_design(
        "task-train_run-1", [showing("x", 4.0), showing("y", 8.0, offset=10.0), showing("x", 12.0)]
    )
    np.testing.assert_allclose(design.features["space"][:, 0], [1.5, 11.5, 1.5])
    np.testing.assert_array_equal(design.film_of_volume, [0, 1, 0])
    assert design.film_ids == ("x", "y") and design.tr_s == 1.0
    assert design.keep.all() and design.has_film.all()


def test_only_what_was_shown_counts():
    design = build_clip_design("run", [showing("x", 0.0, 1.0, 1.0), showing("x", 5.0, None, 2.0)])
    np.testing.assert_allclose(design.features["space"][:, 0], [1.5, 2.5])


def test_a_showing_between_two_windows_takes_the_nearest():
    design = build_clip_design("run", [showing("x", 0.0, 0.1, 0.3)])
    np.testing.assert_allclose(design.features["space"][0, 0], 0.25)


@pytest.mark.parametrize(
    ("showings", "sentence"),
    [
        ([], "shows no clip"),
        ([showing("x", 0.0), showing("y", 4.0, names=("a", "c"))], "other features"),
        ([showing("x", 0.0, 3.0, 7.0)], "film lasts 3 s"),
        ([showing("x", 0.0, 0.0)], "positive or n/a"),
    ],
)
def test_what_makes_no_design_is_refused(showings, sentence):
    with pytest.raises(InputError, match=sentence):
        build_clip_design("run", showings)
