"""How well any model of the film could do: the agreement of a voxel with itself when a film is shown again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.rows import Rows

MINIMUM_VOLUMES = 10


@dataclass(frozen=True)
class Repeat:
    """A film shown in two runs: rows of both at the same film times."""

    film_id: str
    first: np.ndarray  #: (n,) row indices
    second: np.ndarray  #: (n,) row indices


def find_repeats(rows: Rows, designs: Sequence[RunDesign]) -> list[Repeat]:
    """All pairs of runs that show the same film, with the rows at equal film times (to half a TR).

    Rows count where the film is on the screen and nothing but this film is in their design, so that the
    response to what came before, which differs between runs, has died out. Pairs of fewer than ten volumes
    are left out.
    """
    times_s = np.concatenate(
        [
            np.full(design.n_volumes, np.nan) if design.film_time_s is None else design.film_time_s
            for design in designs
        ]
    )
    repeats = []
    for film_id in dict.fromkeys(rows.whole_films):
        of_film = np.array([film == film_id for film in rows.whole_films])
        alone = rows.used & rows.shows[:, of_film].any(axis=1) & ~rows.touches[:, ~of_film].any(axis=1)
        showings = [np.flatnonzero(alone & (rows.run == run)) for run in range(len(designs))]
        for first, second in combinations([showing for showing in showings if len(showing)], 2):
            tr_s = designs[rows.run[first[0]]].tr_s
            a, b = _matched(times_s[first], times_s[second], tr_s)
            if len(a) >= MINIMUM_VOLUMES:
                repeats.append(Repeat(film_id, first[a], second[b]))
    return repeats


def repeat_ceiling(responses: np.ndarray, repeats: Sequence[Repeat]) -> np.ndarray:
    """The highest r that a model of the film can reach with a single showing, r = sqrt(max(rho, 0)).

    rho is the correlation of the responses to two showings, averaged over pairs of runs with their numbers of
    volumes as weights: the share of the variance that the film drives, where noise is independent between
    runs. It is a ceiling for r of the repeated films, in the units of r; 0 where responses do not agree, NaN
    where a response is constant.

    Parameters
    ----------
    responses : (n_rows, n_targets)
    """
    total = np.zeros(responses.shape[1])
    for repeat in repeats:
        a = responses[repeat.first] - responses[repeat.first].mean(axis=0)
        b = responses[repeat.second] - responses[repeat.second].mean(axis=0)
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        product = (a * b).sum(axis=0)
        total += len(a) * np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0)
    rho = total / sum(len(repeat.first) for repeat in repeats)
    return np.sqrt(np.maximum(rho, 0))


def _matched(first_s: np.ndarray, second_s: np.ndarray, tr_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both showings that are at the same film time; in order of volumes where times are not known."""
    if not (np.isfinite(first_s).all() and np.isfinite(second_s).all()):
        n = min(len(first_s), len(second_s))
        return np.arange(n), np.arange(n)
    distance = np.abs(first_s[:, np.newaxis] - second_s)
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(first_s))
    good = mutual & (distance[np.arange(len(first_s)), nearest] <= tr_s / 2 + 1e-9)
    return np.flatnonzero(good), nearest[good]
