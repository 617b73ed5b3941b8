"""The ceiling of repeated films against a planted one."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.encoding.film_ceilings import CEILINGS, Repeat, film_ceiling, find_repeats
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import EncodingSettings


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("estimator", CEILINGS)
def test_the_ceiling_is_the_correlation_of_one_showing_with_its_noiseless_response(share, estimator):
    rng = np.random.default_rng(12)
    n, n_targets = 120, 300
    signal = np.sqrt(share) * rng.normal(size=(n, n_targets))
    responses = np.concatenate(
        [signal + np.sqrt(1 - share) * rng.normal(size=signal.shape) for _ in range(3)]
    )
    rows = [np.arange(n) + n * run for run in range(3)]
    repeats = [Repeat("clip", tuple(rows))]
    if estimator == "pairs":
        repeats = [Repeat("clip", (rows[a], rows[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    ceiling = film_ceiling(responses, repeats, estimator)
    best = [np.corrcoef(signal[:, v], responses[:n, v])[0, 1] for v in range(n_targets)]
    assert np.mean(ceiling**2) == pytest.approx(share, abs=0.03)
    assert np.mean(best) == pytest.approx(np.sqrt(share), abs=0.03)


def test_disagreement_is_zero_and_a_constant_response_nan():
    y = np.random.default_rng(13).normal(size=(20, 1))
    responses = np.concatenate([np.hstack([y, y]), np.hstack([-y, np.ones((20, 1))])])
    ceiling = film_ceiling(responses, [Repeat("clip", (np.arange(20), np.arange(20, 40)))])
    np.testing.assert_array_equal(ceiling, [0.0, np.nan])


def test_repeats_are_matched_by_film_time_where_nothing_else_is_in_the_design(simulate_runs):
    designs, _ = simulate_runs((60, 70), clip=30)
    repeats = find_repeats(stack_rows(designs, (1, 4)), designs)
    # The first four volumes still carry the film before.
    np.testing.assert_array_equal(repeats[0].showings[0], np.arange(34, 60))
    np.testing.assert_array_equal(repeats[0].showings[1], 60 + np.arange(44, 70))
    late = np.where(designs[1].film_of_volume == 1, np.arange(70) - 40 + 2.3, np.nan)
    early = np.where(designs[0].film_of_volume == 1, np.arange(60) - 30.0, np.nan)
    timed = [replace(designs[0], film_time_s=early), replace(designs[1], film_time_s=late)]
    matched = find_repeats(stack_rows(timed, (1, 4)), timed)[0]
    first, second = matched.showings
    np.testing.assert_array_equal(early[first] + 0.3, np.round(late[second - 60], 6))
    assert len(matched) == 24


def test_short_repeats_and_films_of_one_run_give_no_ceiling(simulate_runs):
    for clip in (0, 12):
        designs, _ = simulate_runs((60, 70), clip=clip)
        assert not find_repeats(stack_rows(designs, (1, 4)), designs)


def test_three_showings_are_three_pairs_or_one_set(simulate_runs):
    designs, _ = simulate_runs((60, 70, 65), clip=30)
    rows = stack_rows(designs, (1, 4))
    pairs, (together,) = find_repeats(rows, designs), find_repeats(rows, designs, in_pairs=False)
    assert [len(pair.showings) for pair in pairs] == [2, 2, 2] and len(together.showings) == 3
    np.testing.assert_array_equal(together.showings[0], pairs[0].showings[0])
    np.testing.assert_array_equal(together.showings[2], pairs[1].showings[1])


def test_clips_of_one_row_are_put_together(simulate_runs):
    rng = np.random.default_rng(3)
    (first, second), _ = simulate_runs((40, 40))
    orders = [rng.permutation(40), rng.permutation(40)]
    designs = [
        replace(design, film_of_volume=np.arange(40), film_ids=tuple(f"clip-{clip}" for clip in order))
        for design, order in zip((first, second), orders, strict=True)
    ]
    (repeat,) = find_repeats(stack_rows(designs, (0,)), designs)
    a, b = repeat.showings
    assert repeat.film_id == "40 short films"
    np.testing.assert_array_equal(np.sort(a), np.arange(40))
    np.testing.assert_array_equal(orders[0][a], orders[1][b - 40])


@pytest.mark.parametrize("estimator", CEILINGS)
def test_normalised_scores_stand_where_the_ceiling_is_above_the_floor(simulate_runs, estimator):
    designs, responses = simulate_runs((110, 110, 110), clip=40, n_targets=30)
    settings = EncodingSettings(n_permutations=0, ceiling=estimator, ceiling_floor=0.4)
    result = fit_encoding_model(designs, responses, settings, (1, 2))
    ceiling, normalised = result.maps["noiseceiling"], result.maps["rnorm"]
    assert (np.isfinite(normalised) == (ceiling >= 0.4)).all() and 0 < np.isnan(normalised).sum() < 16
    kept = np.isfinite(normalised)
    np.testing.assert_allclose(normalised[kept], result.maps["r"][kept] / ceiling[kept], rtol=1e-5)
    assert np.median(normalised[:15]) == pytest.approx(1.0, abs=0.15)
    assert result.diagnostics["noise_ceiling"]["method"] == estimator
