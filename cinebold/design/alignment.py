"""Features in film time to the volumes of a run: showings, time bases, low-pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.errors import InputError, SettingError

if TYPE_CHECKING:
    import scipy.sparse

    from cinebold.features.series import FeatureSeries

LANCZOS_LOBES = 3
_TIME_TOLERANCE_S = 1e-9


@dataclass(frozen=True)
class Showing:
    """One presentation of a film in a run, with the film's features."""

    film_id: str  #: content hash of the film
    onset_s: float  #: from the first volume's trigger
    duration_s: float | None  #: of the event; None: until the film ends
    film_offset_s: float  #: the film time that is shown at the onset
    series: Mapping[str, "FeatureSeries"]  #: feature space -> features in film time
    name: str = ""  #: what messages call the film

    def __str__(self) -> str:
        return f"the film {self.name}{' ' if self.name else ''}shown at {self.onset_s:g} s"


def build_run_design(
    label: str,
    n_volumes: int,
    tr_s: float,
    start_time_s: float | None,
    showings: Sequence[Showing],
    keep: np.ndarray | None = None,
    low_pass: str = "lanczos",
) -> tuple[RunDesign, list[str]]:
    """The features of all the films of a run, on its volumes; and what is odd about it, one sentence each.

    A volume at time t (`volume_times_s`) sees the film time t - onset + offset of the showing that covers it,
    [onset, onset + duration), where the duration is the event's or the film's rest, whichever is shorter.
    Each showing is low-passed on its own, so that nothing of one film enters another. Volumes without a film
    are zero.

    Showings that overlap, begin more than one TR outside the run, or are longer than the run by more than one
    TR are InputErrors; other misfits of more than one TR are warnings.
    """
    warnings: list[str] = []
    if not showings:
        raise InputError(
            f"Run {label} shows no film: at least one event with a film is needed; leave the run out."
        )
    keep = np.ones(n_volumes, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
    times_s = volume_times_s(n_volumes, tr_s, start_time_s)
    names = _feature_names(label, showings)
    film_ids = tuple(dict.fromkeys(showing.film_id for showing in showings))

    features = {space: np.zeros((n_volumes, len(columns))) for space, columns in names.items()}
    film_of_volume = np.full(n_volumes, -1, dtype=np.int64)
    film_time_s = np.full(n_volumes, np.nan)
    end_of_last_s = -np.inf
    for showing in sorted(showings, key=lambda showing: showing.onset_s):
        duration_s = _duration_s(label, showing, n_volumes * tr_s, tr_s, warnings)
        if showing.onset_s < end_of_last_s - _TIME_TOLERANCE_S:
            raise InputError(
                f"Run {label}: {showing} begins before the one before it ends "
                f"({end_of_last_s:g} s); correct onset and duration in the events file."
            )
        end_of_last_s = showing.onset_s + duration_s
        since_onset_s = times_s - showing.onset_s
        # The tolerance keeps a volume that falls on an edge on the same side whatever the rounding of i * TR.
        shown = (since_onset_s >= -_TIME_TOLERANCE_S) & (since_onset_s < duration_s - _TIME_TOLERANCE_S)
        if not shown.any():
            warnings.append(
                f"Run {label}: {showing} for {duration_s:g} s covers no volume "
                f"(repetition time {tr_s:g} s) and is ignored."
            )
            continue
        film_of_volume[shown] = film_ids.index(showing.film_id)
        film_time_s[shown] = since_onset_s[shown] + showing.film_offset_s
        for space, series in showing.series.items():
            hop_s = _hop_s(np.asarray(series.times_s))
            if hop_s > tr_s / 2 + _TIME_TOLERANCE_S:
                _once(
                    warnings,
                    f"The features of {space} come every {hop_s:g} s, more than half the repetition time of "
                    f"{tr_s:g} s: "
                    "fast changes of the film are aliased; use a shorter hop.",
                )
            features[space][shown] = to_volumes(
                series.values, series.times_s, film_time_s[shown], tr_s, low_pass
            )
    design = RunDesign(
        label=label,
        tr_s=float(tr_s),
        features=features,
        has_film=film_of_volume >= 0,
        film_of_volume=film_of_volume,
        film_ids=film_ids,
        keep=keep,
        names=names,
        film_time_s=film_time_s,
    )
    return design, warnings


def volume_times_s(n_volumes: int, tr_s: float, start_time_s: float | None) -> np.ndarray:
    """The time that each volume stands for, in seconds from the first trigger.

    `start_time_s` is the sidecar's StartTime, which fMRIPrep writes as the reference of its slice timing
    correction; without it a volume stands for the middle of its acquisition.

    >>> volume_times_s(3, 2.0, None)
    array([1., 3., 5.])
    """
    return np.arange(n_volumes) * tr_s + (tr_s / 2 if start_time_s is None else start_time_s)


def to_volumes(
    series_values: np.ndarray,
    series_times_s: np.ndarray,
    film_times_s: np.ndarray,
    tr_s: float,
    low_pass: str = "lanczos",
) -> np.ndarray:
    """Low-pass a feature series and read it at the film time of each volume.

    "lanczos" is the windowed sinc of three lobes with its cut-off at the volumes' Nyquist frequency, 1 / (2
    TR), or the series' own where that is lower; "box" the mean over [t - TR/2, t + TR/2), or the nearest
    window where none falls in. The weights are normalised to a sum of one, so that a constant stays what it
    is, at the ends of the film too.

    Parameters
    ----------
    series_values : (n_windows, n_features)
    series_times_s : (n_windows,) increasing film times
    film_times_s : (n_volumes,)

    Returns
    -------
    (n_volumes, n_features) float64
    """
    if low_pass not in _KERNELS:
        raise SettingError(f"Unknown low-pass {low_pass!r}: choose one of {', '.join(_KERNELS)}.")
    series_times_s = np.asarray(series_times_s, dtype=np.float64)
    film_times_s = np.asarray(film_times_s, dtype=np.float64)
    return _KERNELS[low_pass](series_times_s, film_times_s, tr_s) @ np.asarray(
        series_values, dtype=np.float64
    )


def _lanczos(series_times_s: np.ndarray, film_times_s: np.ndarray, tr_s: float) -> "scipy.sparse.csr_array":
    hop_s = _hop_s(series_times_s)
    # A kernel narrower than the hop would have its zeros on the windows between which a volume stands.
    width_s = max(tr_s, hop_s)
    inside_s = np.clip(film_times_s, series_times_s[0] - hop_s / 2, series_times_s[-1] + hop_s / 2)
    reach_s = LANCZOS_LOBES * width_s
    rows, columns = _neighbours(series_times_s, inside_s - reach_s, inside_s + reach_s)
    distance = (series_times_s[columns] - inside_s[rows]) / width_s
    return _normalised(
        np.sinc(distance) * np.sinc(distance / LANCZOS_LOBES), rows, columns, series_times_s, inside_s
    )


def _box(series_times_s: np.ndarray, film_times_s: np.ndarray, tr_s: float) -> "scipy.sparse.csr_array":
    # Both edges move down by the tolerance: the interval stays half open whatever the rounding.
    first_s = film_times_s - tr_s / 2 - _TIME_TOLERANCE_S
    rows, columns = _neighbours(series_times_s, first_s, first_s + tr_s)
    return _normalised(np.ones(len(rows)), rows, columns, series_times_s, film_times_s)


_KERNELS = {"lanczos": _lanczos, "box": _box}


def _neighbours(
    series_times_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pair of a volume and a window in [first_s, last_s) of that volume."""
    start = np.searchsorted(series_times_s, first_s)
    counts = np.searchsorted(series_times_s, last_s) - start
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, np.repeat(start, counts) + within


def _normalised(
    weights: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    series_times_s: np.ndarray,
    film_times_s: np.ndarray,
) -> "scipy.sparse.csr_array":
    """Weights with rows that sum to one; a volume without windows gets the nearest one."""
    import scipy.sparse

    n_volumes = len(film_times_s)
    total = np.bincount(rows, weights, minlength=n_volumes)
    # Irregular series can leave a sum near zero, where the quotient would be noise.
    lost = total < 1e-3
    good = ~lost[rows]
    after = np.clip(np.searchsorted(series_times_s, film_times_s[lost]), 1, max(len(series_times_s) - 1, 1))
    before_is_nearer = film_times_s[lost] - series_times_s[after - 1] <= (
        series_times_s[np.minimum(after, len(series_times_s) - 1)] - film_times_s[lost]
    )
    nearest = np.where(before_is_nearer | (len(series_times_s) == 1), after - 1, after)
    return scipy.sparse.csr_array(
        (
            np.concatenate([weights[good] / total[rows[good]], np.ones(lost.sum())]),
            (np.concatenate([rows[good], np.flatnonzero(lost)]), np.concatenate([columns[good], nearest])),
        ),
        shape=(n_volumes, len(series_times_s)),
    )


def _duration_s(label: str, showing: Showing, run_s: float, tr_s: float, warnings: list[str]) -> float:
    """How long a showing lasts, in seconds, after its misfits have been refused or noted."""
    where = f"Run {label}: {showing}"
    film_s = min(float(series.film_duration_s) for series in showing.series.values())
    rest_s = film_s - showing.film_offset_s
    if not -tr_s <= showing.onset_s < run_s:
        raise InputError(f"{where} begins outside the run, which lasts {run_s:g} s; correct the events file.")
    if showing.film_offset_s < 0 or rest_s <= 0:
        raise InputError(
            f"{where} starts at film time {showing.film_offset_s:g} s, but the film lasts {film_s:g} s; "
            "correct the "
            "events file."
        )
    if showing.duration_s is not None and not showing.duration_s > 0:
        raise InputError(f"{where} lasts {showing.duration_s:g} s; a duration is positive or n/a.")
    duration_s = rest_s if showing.duration_s is None else min(showing.duration_s, rest_s)
    end_s = showing.onset_s + duration_s
    if duration_s > run_s + tr_s:
        raise InputError(
            f"{where} lasts {duration_s:g} s, longer than the whole run ({run_s:g} s): film and run do not "
            "belong "
            "together; correct the events file."
        )
    if end_s > run_s + tr_s:
        warnings.append(
            f"{where} ends {end_s - run_s:.2f} s after the run, which has no response to its last part."
        )
    if showing.duration_s is not None and showing.duration_s > rest_s + tr_s:
        warnings.append(
            f"{where} lasts {showing.duration_s:g} s by its event, but only {rest_s:g} s of the film are "
            "left: the rest "
            "counts as no film."
        )
    if showing.duration_s is not None and showing.film_offset_s == 0 and showing.duration_s < rest_s - tr_s:
        warnings.append(
            f"{where} lasts {showing.duration_s:g} s by its event, but the film lasts {rest_s:g} s: only its "
            "beginning counts as shown."
        )
    return duration_s


def _feature_names(label: str, showings: Sequence[Showing]) -> dict[str, tuple[str, ...]]:
    """Feature space -> names of its columns, the same in every showing."""
    names = {space: tuple(series.names) for space, series in showings[0].series.items()}
    for showing in showings:
        if not showing.series:
            raise InputError(f"Run {label}: {showing} has no features.")
        other = {space: tuple(series.names) for space, series in showing.series.items()}
        if other != names:
            raise InputError(
                f"Run {label}: {showing} has other features than the first "
                "film of the run; "
                "extract the features of all films with the same settings."
            )
    return names


def _hop_s(times_s: np.ndarray) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0


def _once(warnings: list[str], sentence: str) -> None:
    if sentence not in warnings:
        warnings.append(sentence)
