"""The ceiling of repeated films against a planted one."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.encoding.noise_ceilings import Repeat, find_repeats, repeat_ceiling
from cinebold.encoding.rows import stack_rows


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_ceiling_is_the_correlation_of_one_showing_with_its_noiseless_response(share):
    rng = np.random.default_rng(12)
    n, n_targets = 120, 300
    signal = np.sqrt(share) * rng.normal(size=(n, n_targets))
    responses = np.concatenate(
        [signal + np.sqrt(1 - share) * rng.normal(size=signal.shape) for _ in range(3)]
    )
    rows = [np.arange(n) + n * run for run in range(3)]
    repeats = [Repeat("clip", rows[a], rows[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    ceiling = repeat_ceiling(responses, repeats)
    best = [np.corrcoef(signal[:, v], responses[:n, v])[0, 1] for v in range(n_targets)]
    assert np.mean(ceiling**2) == pytest.approx(share, abs=0.03)
    assert np.mean(best) == pytest.approx(np.sqrt(share), abs=0.03)


def test_disagreement_is_zero_and_a_constant_response_nan():
    y = np.random.default_rng(13).normal(size=(20, 1))
    responses = np.concatenate([np.hstack([y, y]), np.hstack([-y, np.ones((20, 1))])])
    ceiling = repeat_ceiling(responses, [Repeat("clip", np.arange(20), np.arange(20, 40))])
    np.testing.assert_array_equal(ceiling, [0.0, np.nan])


def test_repeats_are_matched_by_film_time_where_nothing_else_is_in_the_design(simulate_runs):
    designs, _ = simulate_runs((60, 70), clip=30)
    repeats = find_repeats(stack_rows(designs, (1, 4)), designs)
    # The first four volumes still carry the film before.
    np.testing.assert_array_equal(repeats[0].first, np.arange(34, 60))
    np.testing.assert_array_equal(repeats[0].second, 60 + np.arange(44, 70))
    late = np.where(designs[1].film_of_volume == 1, np.arange(70) - 40 + 2.3, np.nan)
    early = np.where(designs[0].film_of_volume == 1, np.arange(60) - 30.0, np.nan)
    timed = [replace(designs[0], film_time_s=early), replace(designs[1], film_time_s=late)]
    matched = find_repeats(stack_rows(timed, (1, 4)), timed)[0]
    np.testing.assert_array_equal(early[matched.first] + 0.3, np.round(late[matched.second - 60], 6))
    assert len(matched.first) == 24


def test_short_repeats_and_films_of_one_run_give_no_ceiling(simulate_runs):
    for clip in (0, 12):
        designs, _ = simulate_runs((60, 70), clip=clip)
        assert not find_repeats(stack_rows(designs, (1, 4)), designs)
