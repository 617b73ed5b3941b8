"""Which rows of the runs can be used, and which films each of them has to do with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.design.run_design import RunDesign


@dataclass(frozen=True)
class Rows:
    """The volumes of all runs, stacked in the order of the runs."""

    labels: tuple[str, ...]  #: of the runs
    run: np.ndarray  #: (n_rows,) index of the run
    volume: np.ndarray  #: (n_rows,) index in the run
    film_ids: tuple[str, ...]  #: of all runs
    shows: np.ndarray  #: (n_rows, n_films) bool: the film is on the screen
    touches: np.ndarray  #: (n_rows, n_films) bool: the film is in the row's design, delays included
    used: np.ndarray  #: (n_rows,) bool: the row takes part in training and scores

    def __len__(self) -> int:
        return len(self.run)

    def films_of(self, rows: np.ndarray) -> np.ndarray:
        """(n_films,) bool: the films that any of the rows shows or touches."""
        return (self.shows[rows] | self.touches[rows]).any(axis=0)

    def touching(self, films: np.ndarray) -> np.ndarray:
        """(n_rows,) bool: the rows that have to do with any of the films."""
        return self.touches[:, films].any(axis=1)


def stack_rows(designs: Sequence[RunDesign], delays: Sequence[int], include_rest: bool = False) -> Rows:
    """Stack the runs' volumes.

    A row touches a film that is shown at its volume or at any of the delays before it. Rows that are not kept
    are out, though they are still sources of delayed features; so are rows that touch no film unless
    `include_rest`: there the design says nothing, and "no film" is not a film whose features are zero.
    """
    film_ids = tuple(dict.fromkeys(film for design in designs for film in design.film_ids))
    shows, touches = [], []
    for design in designs:
        shown = np.zeros((design.n_volumes, len(film_ids)), dtype=bool)
        for index, film in enumerate(design.film_ids):
            shown[design.film_of_volume == index, film_ids.index(film)] = True
        touched = shown.copy()
        for delay in delays:
            if 0 < delay < design.n_volumes:
                touched[delay:] |= shown[:-delay]
        shows.append(shown)
        touches.append(touched)
    keep = np.concatenate([design.keep for design in designs])
    touches_all = np.concatenate(touches)
    return Rows(
        labels=tuple(design.label for design in designs),
        run=np.repeat(np.arange(len(designs)), [design.n_volumes for design in designs]),
        volume=np.concatenate([np.arange(design.n_volumes) for design in designs]),
        film_ids=film_ids,
        shows=np.concatenate(shows),
        touches=touches_all,
        used=keep if include_rest else keep & touches_all.any(axis=1),
    )
