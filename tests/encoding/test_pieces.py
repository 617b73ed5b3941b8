"""Pieces of films: what the held-out run shows is left out of training, and what it does not show is not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cinebold.design.run_design import RunDesign
from cinebold.encoding.film_ceilings import find_repeats
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.pieces import split_films
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import InputError

TR_S = 2.0


def a_run(label, *showings, tr_s=TR_S):
    """A run of showings (film, film time of the first volume, n_volumes), three volumes of rest after each."""
    films, times_s = [], []
    for film, first_s, n in showings:
        films += [film] * n + [None] * 3
        times_s += [first_s + index * tr_s for index in range(n)] + [np.nan] * 3
    names = tuple(dict.fromkeys(film for film in films if film is not None))
    film_of_volume = np.array([-1 if film is None else names.index(film) for film in films])
    return RunDesign(
        label=label,
        tr_s=tr_s,
        features={"a": np.zeros((len(films), 1))},
        has_film=film_of_volume >= 0,
        film_of_volume=film_of_volume,
        film_ids=names,
        keep=np.ones(len(films), dtype=bool),
        names={"a": ("x",)},
        film_time_s=np.array(times_s),
    )


def content(designs, delays):
    """Of every row the (film, film time) that its design holds; slow, and without pieces."""
    rows = []
    for design in designs:
        for volume in range(design.n_volumes):
            sources = [volume - delay for delay in {0, *delays} if volume >= delay]
            rows.append(
                [
                    (design.film_ids[design.film_of_volume[source]], design.film_time_s[source])
                    for source in sources
                    if design.film_of_volume[source] >= 0
                ]
            )
    return rows


def meets(row, others, reach_s):
    return any(film == other and abs(a - b) <= reach_s + 1e-6 for film, a in row for other, b in others)


def pairwise_excluded(designs, delays, held_out, reach_s=TR_S / 2):
    """(n_rows,) bool: rows of other runs that share content with the held-out run."""
    rows = content(designs, delays)
    run = np.repeat(np.arange(len(designs)), [design.n_volumes for design in designs])
    shown = [item for row, of in zip(rows, run, strict=True) if of == held_out for item in row]
    return np.array(
        [of != held_out and meets(row, shown, reach_s) for row, of in zip(rows, run, strict=True)]
    )


def excluded(designs, delays, held_out):
    rows = stack_rows(designs, delays)
    return (rows.run != held_out) & rows.touching(rows.films_of(rows.run == held_out))


def test_a_film_in_pieces_fits_as_the_same_film_cut_into_files(simulate_runs):
    files, responses = simulate_runs((60, 70, 80), clip=12)
    ends_s = np.cumsum([0, 48, 58])
    pieces, no_times = [], []
    for end_s, design in zip(ends_s, files, strict=True):
        in_clip = design.film_of_volume == 1
        clip_s = np.arange(design.n_volumes) - np.argmax(in_clip) + 0.5
        film_time_s = np.where(in_clip, clip_s, end_s + np.arange(design.n_volumes) + 0.5)
        pieces.append(replace(design, film_ids=("long", "clip"), film_time_s=film_time_s))
        no_times.append(replace(design, film_ids=("long", "clip")))
    settings = EncodingSettings(n_permutations=0)
    expected = fit_encoding_model(files, responses, settings, (1, 2))
    found = fit_encoding_model(pieces, responses, settings, (1, 2))
    for name, values in expected.maps.items():
        if name != "noiseceiling":  # files without film times are matched in the order of volumes
            np.testing.assert_array_equal(found.maps[name], values)
    np.testing.assert_array_equal(found.model.weights["a"], expected.model.weights["a"])
    assert found.diagnostics["folds"] == expected.diagnostics["folds"]
    assert found.diagnostics["noise_ceiling"] == expected.diagnostics["noise_ceiling"]
    with pytest.raises(InputError, match="No row is left to train on"):
        fit_encoding_model(no_times, responses, settings, (1, 2))


@pytest.mark.parametrize("delays", [(0,), (1, 2), (2, 5)])
@pytest.mark.parametrize("jitter_s", [0.0, 0.4, 1.0, 1.7])
def test_of_pieces_that_overlap_just_the_rows_in_common_leave_training(delays, jitter_s):
    designs = [
        a_run("a", ("film", 1.0, 60)),
        a_run("b", ("film", 101.0 + jitter_s, 60), ("other", 1.0, 10)),
        a_run("c", ("film", 240.0, 40)),
    ]
    for run in range(3):
        np.testing.assert_array_equal(excluded(designs, delays, run), pairwise_excluded(designs, delays, run))
    n_common = 10 - (jitter_s > 1)
    assert excluded(designs, (0,), 1).sum() == n_common
    sets = outer_folds(stack_rows(designs, delays), max(delays))
    assert [fold.n_excluded for fold in sets] == [
        int((pairwise_excluded(designs, delays, run) & stack_rows(designs, delays).used).sum())
        for run in range(3)
    ]


def test_pieces_side_by_side_share_one_volume_at_most_wherever_the_volumes_fall():
    for first_s in np.arange(0, 2, 0.1):
        for second_s in np.arange(0, 2, 0.1):
            designs = [
                a_run("a", ("film", first_s, int(np.ceil((300 - first_s) / TR_S)))),
                a_run("b", ("film", 300 + second_s, 150)),
            ]
            assert excluded(designs, (0,), 0).sum() <= 1 and excluded(designs, (0,), 1).sum() <= 1


def test_a_clip_that_falls_differently_on_the_volumes_stays_one_film():
    for onsets_s in [(0.1, 1.9), (1.0, 1.0), (0.0, 0.7, 1.4), (0.0, 1.999)]:
        designs = [
            a_run(f"run-{run}", (f"film-{run}", 1.0, 20), ("clip", onset_s, 12))
            for run, onset_s in enumerate(onsets_s)
        ]
        rows = stack_rows(designs, (1, 2))
        assert rows.film_ids == tuple(dict.fromkeys(film for design in designs for film in design.film_ids))
        for run in range(len(designs)):
            others = (rows.run != run) & rows.touches[:, rows.film_ids.index("clip")]
            np.testing.assert_array_equal(excluded(designs, (1, 2), run), others)


def test_edges_within_one_tr_are_the_outermost_edge():
    # The long film, and two showings of its middle that begin and end 1.5 s apart.
    designs = [a_run("a", ("film", 1.0, 100)), a_run("b", ("film", 61.0, 20)), a_run("c", ("film", 62.5, 20))]
    assert split_films(designs).ids == ("film:1.000-59.000", "film:61.000-100.500", "film:101.000-199.000")
    # Steps of less than one TR do not add up: the last showing begins 3.6 s after the first.
    steps = [*designs[:2], *(a_run(f"d{index}", ("film", 61.0 + 1.8 * index, 20)) for index in (1, 2))]
    np.testing.assert_array_equal(np.flatnonzero(excluded(steps, (0,), 3)[:103])[[0, -1]], [32, 51])


def test_what_needs_no_cut_keeps_its_id_and_unknown_times_forbid_cuts():
    whole = [a_run("a", ("film", 1.0, 50), ("film", 21.0, 10)), a_run("b", ("other", 1.0, 50))]
    assert split_films(whole).ids == ("film", "other")
    parts = [a_run("a", ("film", 1.0, 50)), a_run("b", ("film", 301.0, 50)), a_run("c", ("film", 1.0, 50))]
    assert split_films(parts).ids == ("film:1.000-99.000", "film:301.000-399.000")
    for unknown in (None, np.where(np.arange(53) == 4, np.nan, parts[2].film_time_s)):
        assert split_films([*parts[:2], replace(parts[2], film_time_s=unknown)]).ids == ("film",)


def test_repeats_are_found_across_pieces():
    designs = [
        a_run("a", ("film", 1.0, 60)),
        a_run("b", ("film", 1.3, 30)),
        a_run("c", ("film", 61.0, 30)),
    ]
    assert len(split_films(designs).ids) == 2
    repeats = find_repeats(stack_rows(designs, (1, 2)), designs)
    assert [(repeat.film_id, len(repeat)) for repeat in repeats] == [("film", 30), ("film", 30)]
    times_s = np.concatenate([design.film_time_s for design in designs])
    for repeat in repeats:
        assert np.abs(times_s[repeat.showings[0]] - times_s[repeat.showings[1]]).max() <= TR_S / 2


SHOWINGS = st.tuples(
    st.sampled_from(["film", "film", "other"]),
    st.one_of(st.integers(0, 60).map(float), st.floats(0, 60)),
    st.integers(1, 25),
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    runs=st.lists(st.lists(SHOWINGS, min_size=1, max_size=3), min_size=2, max_size=5),
    delays=st.sampled_from([(0,), (1, 2), (2, 4)]),
)
def test_no_training_row_has_content_of_the_held_out_run(runs, delays):
    designs = [
        a_run(f"run-{index}", *showings, (f"own-{index}", 1.0, 25)) for index, showings in enumerate(runs)
    ]
    reversed_designs = designs[::-1]
    for run in range(len(designs)):
        out = excluded(designs, delays, run)
        assert not (pairwise_excluded(designs, delays, run) & ~out).any()
        # Nor are rows left out for more than onsets within one TR.
        assert not (out & ~pairwise_excluded(designs, delays, run, 2 * TR_S)).any()
        again = excluded(reversed_designs, delays, len(designs) - 1 - run)
        lengths = np.cumsum([other.n_volumes for other in reversed_designs])[:-1]
        np.testing.assert_array_equal(np.concatenate(np.split(again, lengths)[::-1]), out)
    rows = stack_rows(designs, delays)
    held = content(designs, delays)
    for fold in outer_folds(rows, max(delays)):
        for part in (fold, *fold.inner):
            for run in np.unique(rows.run[part.test]):
                test = part.test & (rows.run == run)
                shown = {item for row in np.flatnonzero(test) for item in held[row]}
                others = np.flatnonzero(part.train & (rows.run != run))
                assert not any(meets(held[row], shown, TR_S / 2) for row in others)
