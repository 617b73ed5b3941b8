"""Which rows of the runs can be used, and which films each of them has to do with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.pieces import split_films


@dataclass(frozen=True)
class Rows:
    """The volumes of all runs, stacked in the order of the runs."""

    labels: tuple[str, ...]  #: of the runs
    run: np.ndarray  #: (n_rows,) index of the run
    volume: np.ndarray  #: (n_rows,) index in the run
    film_ids: tuple[str, ...]  #: of all runs: films, and pieces of those that are cut (`split_films`)
    whole_films: tuple[str, ...]  #: (n_films,) the film of which each of them is a piece
    shows: np.ndarray  #: (n_rows, n_films) bool: the film is on the screen
    touches: np.ndarray  #: (n_rows, n_films) bool: the film is in the row's design, delays included
    near: np.ndarray  #: (n_rows, n_films) bool: as `touches`, with the pieces within half a TR of film time
    used: np.ndarray  #: (n_rows,) bool: the row takes part in training and scores

    def __len__(self) -> int:
        return len(self.run)

    def films_of(self, rows: np.ndarray) -> np.ndarray:
        """(n_films,) bool: the films that any of the rows shows or touches."""
        return (self.shows[rows] | self.touches[rows]).any(axis=0)

    def touching(self, films: np.ndarray) -> np.ndarray:
        """(n_rows,) bool: the rows that have to do with any of the films, or are within half a TR of them."""
        return self.near[:, films].any(axis=1)


def stack_rows(designs: Sequence[RunDesign], delays: Sequence[int], include_rest: bool = False) -> Rows:
    """Stack the runs' volumes.

    A row touches a film that is shown at its volume or at any of the delays before it. Rows that are not kept
    are out, though they are still sources of delayed features; so are rows that touch no film unless
    `include_rest`: there the design says nothing, and "no film" is not a film whose features are zero.
    """
    films = split_films(designs)
    keep = np.concatenate([design.keep for design in designs])
    touches = np.concatenate([_with_delays(shown, delays) for shown in films.shows])
    return Rows(
        labels=tuple(design.label for design in designs),
        run=np.repeat(np.arange(len(designs)), [design.n_volumes for design in designs]),
        volume=np.concatenate([np.arange(design.n_volumes) for design in designs]),
        film_ids=films.ids,
        whole_films=films.films,
        shows=np.concatenate(films.shows),
        touches=touches,
        near=np.concatenate([_with_delays(near, delays) for near in films.near]),
        used=keep if include_rest else keep & touches.any(axis=1),
    )


def _with_delays(shown: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """What is shown at a volume or at any of the delays before it, (n_volumes, n_films) bool."""
    touched = shown.copy()
    for delay in delays:
        if 0 < delay < len(shown):
            touched[delay:] |= shown[:-delay]
    return touched
