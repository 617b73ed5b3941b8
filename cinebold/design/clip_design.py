"""Designs of one row a presentation: the features of each clip, for responses of clips."""

from collections.abc import Sequence

import numpy as np

from cinebold.design.alignment import Showing
from cinebold.design.run_design import RunDesign
from cinebold.errors import InputError
from cinebold.features.series import FeatureSeries

_TOLERANCE_S = 1e-6


def build_clip_design(label: str, showings: Sequence[Showing]) -> RunDesign:
    """A row a presentation, in the order given: the mean of each feature over what was shown of the clip.

    There is no time between rows: delays and haemodynamic responses make no sense for them, and `tr_s` is 1, so that
    what the model says of seconds is of presentations.

    Raises
    ------
    InputError
        When there is no presentation, the features differ between clips, or a presentation shows nothing of its film.
    """
    if not showings:
        raise InputError(
            f"Run {label} shows no clip: at least one event with a film is needed; leave it out."
        )
    names = {space: tuple(series.names) for space, series in showings[0].series.items()}
    for showing in showings:
        if {space: tuple(series.names) for space, series in showing.series.items()} != names:
            raise InputError(
                f"Run {label}: {showing} has other features than the first clip of the run; extract the features of "
                "all films with the same settings."
            )
    features = {
        space: np.stack([clip_mean(showing.series[space], showing, label) for showing in showings])
        for space in names
    }
    film_ids = tuple(dict.fromkeys(showing.film_id for showing in showings))
    n_rows = len(showings)
    return RunDesign(
        label=label,
        tr_s=1.0,
        features=features,
        has_film=np.ones(n_rows, bool),
        film_of_volume=np.array([film_ids.index(showing.film_id) for showing in showings]),
        film_ids=film_ids,
        keep=np.ones(n_rows, bool),
        names=names,
    )


def averaged_design(label: str, designs: Sequence[RunDesign], rows: Sequence[tuple[int, int]]) -> RunDesign:
    """A design of one row a clip, each taken from a design and a row of it (`clip_standardisation.average_repeats`)."""
    films = [designs[number].films_of_rows[row] or "" for number, row in rows]
    return RunDesign(
        label=label,
        tr_s=designs[0].tr_s,
        features={
            space: np.stack([designs[number].features[space][row] for number, row in rows])
            for space in designs[0].features
        },
        has_film=np.ones(len(rows), bool),
        film_of_volume=np.arange(len(rows)),
        film_ids=tuple(films),
        keep=np.ones(len(rows), bool),
        names=designs[0].names,
    )


def clip_mean(series: FeatureSeries, showing: Showing, label: str) -> np.ndarray:
    """The mean over the windows whose times were on the screen, or the nearest window where none was; (n_features,)."""
    first_s = showing.film_offset_s
    left_s = series.film_duration_s - first_s
    if first_s < 0 or left_s <= 0:
        raise InputError(
            f"Run {label}: {showing} starts at film time {first_s:g} s, but the film lasts "
            f"{series.film_duration_s:g} s; correct the events file."
        )
    shown_s = left_s if showing.duration_s is None else min(showing.duration_s, left_s)
    if not shown_s > 0:
        raise InputError(f"Run {label}: {showing} lasts {shown_s:g} s; a duration is positive or n/a.")
    times_s = np.asarray(series.times_s)
    inside = (times_s >= first_s - _TOLERANCE_S) & (times_s < first_s + shown_s - _TOLERANCE_S)
    if not inside.any():
        inside[np.abs(times_s - (first_s + shown_s / 2)).argmin()] = True
    return series.values[inside].mean(axis=0, dtype=np.float64)
