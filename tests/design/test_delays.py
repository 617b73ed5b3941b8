"""Delays against a loop over volumes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinebold.design.delays import delayed, delays_in_volumes
from cinebold.errors import SettingError


@given(
    n_volumes=st.integers(1, 12),
    n_features=st.integers(1, 4),
    delays=st.lists(st.integers(0, 15), min_size=1, max_size=4, unique=True),
)
def test_delayed_equals_a_loop(n_volumes, n_features, delays):
    features = np.random.default_rng(0).normal(size=(n_volumes, n_features))
    expected = np.zeros((n_volumes, len(delays) * n_features))
    for volume in range(n_volumes):
        for position, delay in enumerate(delays):
            if volume - delay >= 0:
                expected[volume, position * n_features : (position + 1) * n_features] = features[
                    volume - delay
                ]
    np.testing.assert_array_equal(delayed(features, delays), expected)


@given(st.floats(0.3, 3.0), st.lists(st.integers(0, 10), min_size=1, max_size=5, unique=True))
def test_whole_volumes_survive_the_way_through_seconds(tr_s, volumes):
    assert delays_in_volumes([volume * tr_s for volume in volumes], tr_s) == tuple(volumes)


def test_delays_are_rounded_to_the_nearest_volume():
    assert delays_in_volumes((2.0, 4.0, 6.0, 8.0), 1.75) == (1, 2, 3, 5)


@pytest.mark.parametrize(
    ("delays_s", "tr_s", "message"),
    [
        ((2.0, -1.0), 1.0, "not negative"),
        ((2.0, 2.2), 1.0, "not all different"),
        ((), 1.0, "At least one delay"),
        ((1.0,), 0.0, "repetition time"),
        ((float("nan"),), 1.0, "finite"),
    ],
)
def test_senseless_delays_are_refused(delays_s, tr_s, message):
    with pytest.raises(SettingError, match=message):
        delays_in_volumes(delays_s, tr_s)
