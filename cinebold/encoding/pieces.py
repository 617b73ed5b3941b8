"""Films cut into the pieces that runs share and do not share: what was shown is a film and its film time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cinebold.design.run_design import RunDesign

_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class ShownPieces:
    """Which pieces of which films the volumes of each run show; a column a piece."""

    ids: tuple[str, ...]  #: (n_pieces,) the film's id, with ":<first>-<last>" film time where it is cut
    films: tuple[str, ...]  #: (n_pieces,) the film's id
    shows: list[np.ndarray]  #: of each run (n_volumes, n_pieces) bool
    near: list[np.ndarray]  #: of each run (n_volumes, n_pieces) bool: shown, or within half a TR of film time


def split_films(designs: Sequence[RunDesign]) -> ShownPieces:
    """Cut films where runs show different parts of one file.

    Two volumes show the same content when their film times are at most half a TR apart (`find_repeats` matches
    them so). The time axis of a film is cut at the first and the last volume of every showing, so that a showing
    covers a piece from end to end or not at all. A volume is near a piece within half a TR of its own; with
    that, a volume is near the pieces of another run just when the two show the same content: rows left in
    training overlap what the held-out run shows by less than half a TR of film time.

    A clip that falls differently on the volumes of each run is not to be cut at its ends. Where showings begin (or
    end) less than one TR apart the outermost edge stands for all, which leaves out of training up to one
    volume more, never less. Films keep their plain id where no cut is left: shown in one run, or over the same
    film time in all. A film that any run shows without known film times stays whole.

    Parameters
    ----------
    designs : one a run, with one TR; their order changes only the order of the columns
    """
    shown = [np.array([*design.film_ids, None], dtype=object)[design.film_of_volume] for design in designs]
    ids: list[str] = []
    whole: list[str] = []
    shows: list[list[np.ndarray]] = [[] for _ in designs]
    near: list[list[np.ndarray]] = [[] for _ in designs]
    for film in dict.fromkeys(film for design in designs for film in design.film_ids):
        on_screen = [films == film for films in shown]
        pieces_s = _pieces_s(designs, on_screen)
        ids += (
            [film] if len(pieces_s) == 1 else [f"{film}:{first:.3f}-{last:.3f}" for first, last in pieces_s]
        )
        whole += [film] * len(pieces_s)
        for run, design in enumerate(designs):
            for first_s, last_s in pieces_s:
                shows[run].append(_within(design, on_screen[run], first_s, last_s))
                reach_s = design.tr_s / 2 + _ROUNDING_S
                near[run].append(_within(design, on_screen[run], first_s - reach_s, last_s + reach_s))
    return ShownPieces(
        ids=tuple(ids),
        films=tuple(whole),
        shows=[_columns(columns, design.n_volumes) for columns, design in zip(shows, designs, strict=True)],
        near=[_columns(columns, design.n_volumes) for columns, design in zip(near, designs, strict=True)],
    )


def _columns(columns: list[np.ndarray], n_volumes: int) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((n_volumes, 0), dtype=bool)


def _within(design: RunDesign, on_screen: np.ndarray, first_s: float, last_s: float) -> np.ndarray:
    """(n_volumes,) bool: the film is shown, at a film time in [first_s, last_s]."""
    if first_s == -np.inf:
        return on_screen
    return on_screen & (design.film_time_s >= first_s) & (design.film_time_s <= last_s)


def _pieces_s(designs: Sequence[RunDesign], on_screen: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """First and last film time of the volumes of each piece of a film, rising; all of time for a whole film."""
    whole = [(-np.inf, np.inf)]
    showing_runs = [run for run, volumes in enumerate(on_screen) if volumes.any()]
    if len(showing_runs) < 2 or any(designs[run].film_time_s is None for run in showing_runs):
        return whole
    times_s = [designs[run].film_time_s[on_screen[run]] for run in showing_runs]
    all_s = np.sort(np.concatenate(times_s))
    if not np.isfinite(all_s).all():
        return whole
    tr_s = max(design.tr_s for design in designs)
    showings = [(run, *edges) for run, times in enumerate(times_s) for edges in _showings(times, tr_s)]
    _, first_s, last_s = np.array(showings).T
    begins = np.searchsorted(all_s, first_s - _ROUNDING_S)
    ends = np.searchsorted(all_s, last_s + _ROUNDING_S, side="right")
    # Every volume belongs to a showing, so that 0 and the number of volumes are among the edges.
    bounds = np.unique(np.concatenate([begins, ends]))
    runs: list[set[int]] = [set() for _ in bounds[1:]]
    covered = np.searchsorted(bounds, [begins, ends]).T.tolist()
    for (run, _, _), (first, last) in zip(showings, covered, strict=True):
        for piece in range(first, last):
            runs[piece].add(run)
    cuts = _merged(bounds.tolist(), runs, all_s, tr_s - _ROUNDING_S)
    if len(cuts) == 2:
        return whole
    return [(float(all_s[first]), float(all_s[last - 1])) for first, last in pairwise(cuts)]


def _showings(times_s: np.ndarray, tr_s: float) -> Iterator[tuple[float, float]]:
    """First and last film time of each stretch of volumes through which the film runs on."""
    breaks = np.flatnonzero(np.abs(np.diff(times_s) - tr_s) > tr_s / 2) + 1
    for stretch in np.split(times_s, breaks):
        yield float(stretch[0]), float(stretch[-1])


def _merged(bounds: list[int], runs: list[set[int]], times_s: np.ndarray, nearer_s: float) -> list[int]:
    """Without the cuts that part nothing, and those that only the onset of the volumes has made.

    Parameters
    ----------
    bounds : rising indices into times_s where pieces begin, and its length
    runs : of each piece the runs whose showings cover it

    A piece goes into its neighbour where the same runs show both; and where only some of these runs show it
    and the two begin (or end) nearer to each other than `nearer_s`. Starts are taken from the first, ends from the
    last, so that steps of less than one TR do not add up to more.
    """
    bounds, runs = list(bounds), list(runs)

    def join(piece: int) -> None:
        runs[piece : piece + 2] = [runs[piece] | runs[piece + 1]]
        del bounds[piece + 1]

    piece = 0
    while piece < len(runs) - 1:
        begins_s = times_s[bounds[piece + 1]] - times_s[bounds[piece]]
        if runs[piece] == runs[piece + 1] or (runs[piece] < runs[piece + 1] and begins_s < nearer_s):
            join(piece)
        else:
            piece += 1
    piece = len(runs) - 2
    while piece >= 0:
        ends_s = times_s[bounds[piece + 2] - 1] - times_s[bounds[piece + 1] - 1]
        if runs[piece + 1] == runs[piece] or (runs[piece + 1] < runs[piece] and ends_s < nearer_s):
            join(piece)
        piece -= 1
    return bounds
