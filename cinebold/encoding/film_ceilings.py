"""The noise ceiling of a fit: the agreement of a voxel with itself when a film is shown again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.noise_ceilings import (
    explainable_variance,
    ncsnr_ceiling,
    noise_ceiling_snr,
    split_half_share,
)
from cinebold.encoding.rows import Rows

MINIMUM_VOLUMES = 10
#: How the ceiling is estimated (`film_ceiling`), and what the model card says of it.
CEILINGS = {
    "pairs": "mean correlation of the responses to a film shown in two runs",
    "split-half": "correlation of the means of two halves of the showings, Spearman-Brown to one showing",
    "explainable-variance": "variance of the mean of the showings over their mean variance, bias-corrected",
    "ncsnr": "ncsnr^2 / (ncsnr^2 + 1), from the variances between and within film times",
}


@dataclass(frozen=True)
class Repeat:
    """A film shown in several runs: rows of all showings at the same film times."""

    film_id: str
    showings: tuple[np.ndarray, ...]  #: (n,) row indices each

    def __len__(self) -> int:
        return len(self.showings[0])


def find_repeats(rows: Rows, designs: Sequence[RunDesign], in_pairs: bool = True) -> list[Repeat]:
    """The films that several runs show, with the rows at equal film times (to half a TR).

    Rows count where the film is on the screen and nothing but this film is in their design, so that the
    response to what came before, which differs between runs, has died out. With `in_pairs` every two showings of a film
    are an item of their own, over all that both show; without it all showings of a film are one, over what all of them
    show. Films shorter than ten volumes, such as clips of one response each, are put together where the same runs show
    them; items of fewer than ten rows are left out.
    """
    times_s = np.concatenate(
        [
            np.full(design.n_volumes, np.nan) if design.film_time_s is None else design.film_time_s
            for design in designs
        ]
    )
    found: list[Repeat] = []
    short: dict[tuple[int, ...], list[tuple[np.ndarray, ...]]] = {}
    for film_id in dict.fromkeys(rows.whole_films):
        of_film = np.array([film == film_id for film in rows.whole_films])
        alone = rows.used & rows.shows[:, of_film].any(axis=1) & ~rows.touches[:, ~of_film].any(axis=1)
        shown = [
            showing
            for run in range(len(designs))
            if len(showing := np.flatnonzero(alone & (rows.run == run)))
        ]
        for group in combinations(shown, 2) if in_pairs else [shown] if len(shown) > 1 else []:
            matched = _matched_rows(group, times_s, designs[rows.run[group[0][0]]].tr_s)
            if len(matched[0]) >= MINIMUM_VOLUMES:
                found.append(Repeat(film_id, matched))
            elif len(matched[0]):
                short.setdefault(tuple(int(rows.run[showing[0]]) for showing in matched), []).append(matched)
    for films in short.values():
        together = tuple(np.concatenate(parts) for parts in zip(*films, strict=True))
        if len(together[0]) >= MINIMUM_VOLUMES:
            found.append(Repeat(f"{len(films)} short films", together))
    return found


def film_ceiling(responses: np.ndarray, repeats: Sequence[Repeat], estimator: str = "pairs") -> np.ndarray:
    """The highest r that a model of the film can reach with a single showing, r = sqrt(max(rho, 0)).

    rho is the share of the variance of one showing that the film drives, where noise is independent between runs,
    averaged over repeats with their numbers of rows as weights: for "pairs" the correlation of the responses to two
    showings, for the others see `noise_ceilings`. It is a ceiling for r of the repeated films, in the units of r; 0
    where responses do not agree, NaN where a response is constant.

    Parameters
    ----------
    responses : (n_rows, n_targets)
    repeats : in pairs for "pairs", else all showings of a film together
    estimator : a name in `CEILINGS`
    """
    total = sum(len(repeat) * _share(responses, repeat, estimator) for repeat in repeats)
    rho = total / sum(len(repeat) for repeat in repeats)
    return np.sqrt(np.maximum(rho, 0))


def _share(responses: np.ndarray, repeat: Repeat, estimator: str) -> np.ndarray:
    """(n_targets,) the share of one showing's variance that the film drives; it may be negative."""
    y = np.stack([responses[showing] for showing in repeat.showings])
    if estimator == "pairs":
        a, b = y - y.mean(axis=1, keepdims=True)
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        product = (a * b).sum(axis=0)
        return np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0)
    if estimator == "split-half":
        return split_half_share(y)
    if estimator == "explainable-variance":
        return explainable_variance(y).values
    # Every film time is a stimulus and every showing a trial, brought to one level and scale first.
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (y - y.mean(axis=1, keepdims=True)) / y.std(axis=1, keepdims=True)
    times = np.tile(np.arange(len(repeat)), len(repeat.showings))
    return ncsnr_ceiling(noise_ceiling_snr(z.reshape(-1, y.shape[2]), times), 1).values


def _matched_rows(showings: Sequence[np.ndarray], times_s: np.ndarray, tr_s: float) -> tuple[np.ndarray, ...]:
    """The rows of each showing at the film times that all of them show."""
    kept = [np.arange(len(showings[0]))]
    for showing in showings[1:]:
        first, other = _matched(times_s[showings[0][kept[0]]], times_s[showing], tr_s)
        kept = [*(indices[first] for indices in kept), other]
    return tuple(showing[indices] for showing, indices in zip(showings, kept, strict=True))


def _matched(first_s: np.ndarray, second_s: np.ndarray, tr_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both showings that are at the same film time; in order of volumes where times are not known."""
    if not len(first_s) or not (np.isfinite(first_s).all() and np.isfinite(second_s).all()):
        n = min(len(first_s), len(second_s))
        return np.arange(n), np.arange(n)
    distance = np.abs(first_s[:, np.newaxis] - second_s)
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(first_s))
    good = mutual & (distance[np.arange(len(first_s)), nearest] <= tr_s / 2 + 1e-9)
    return np.flatnonzero(good), nearest[good]
