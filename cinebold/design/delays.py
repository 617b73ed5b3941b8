"""Finite impulse response delays: copies of the features, shifted in time inside one run."""

from collections.abc import Sequence

import numpy as np

from cinebold.errors import SettingError


def delays_in_volumes(delays_s: Sequence[float], tr_s: float) -> tuple[int, ...]:
    """Delays in whole volumes, each rounded to the nearest.

    Parameters are in seconds. No delay, a negative one, or two that fall on the same volume are
    SettingErrors.

    >>> delays_in_volumes((2.0, 4.0, 6.0, 8.0), tr_s=2.0)
    (1, 2, 3, 4)
    """
    if len(delays_s) == 0:
        raise SettingError(
            "At least one delay in seconds is needed, none was given: use 0 for an undelayed model."
        )
    if not tr_s > 0:
        raise SettingError(f"The repetition time must be positive, got {tr_s} s.")
    if not np.all(np.isfinite(delays_s)) or min(delays_s) < 0:
        raise SettingError(
            "Delays must be finite and not negative (the response follows the film), got "
            f"{_seconds(delays_s)} s."
        )
    volumes = tuple(int(np.floor(delay_s / tr_s + 0.5)) for delay_s in delays_s)
    if len(set(volumes)) < len(volumes):
        raise SettingError(
            f"The delays {_seconds(delays_s)} s fall on the volumes {', '.join(map(str, volumes))} at a "
            "repetition time "
            f"of {tr_s:g} s, which are not all different: space the delays by at least {tr_s:g} s."
        )
    return volumes


def default_delays_s(tr_s: float) -> tuple[float, ...]:
    """Delays from about 2 to about 8 s, where responses to films are, on the grid of the volumes without holes.

    One delay a volume; where volumes come faster than every 1.5 s, evenly spaced ones about 1.5 s apart.

    >>> default_delays_s(2.0), default_delays_s(1.0), default_delays_s(1.75)
    ((2.0, 4.0, 6.0, 8.0), (2.0, 4.0, 6.0, 8.0), (1.75, 3.5, 5.25, 7.0, 8.75))
    >>> default_delays_s(3.0), default_delays_s(0.5)
    ((3.0, 6.0, 9.0), (2.0, 3.5, 5.0, 6.5, 8.0))
    """
    first, last = max(1, round(2.0 / tr_s)), max(1, round(8.0 / tr_s))
    step = max(1, round(1.5 / tr_s))
    return tuple(round(volume * tr_s, 6) for volume in range(first, last + 1, step))


def delayed(features: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """The features of one run, delayed: all features at the first delay, then all at the second, ...

    Parameters
    ----------
    features : array of shape (n_volumes, n_features)
    delays : whole volumes, not negative

    Returns
    -------
    array of shape (n_volumes, n_delays * n_features), zeros before the run's start

    >>> delayed(np.array([[1.0], [2.0], [3.0]]), (0, 2))
    array([[1., 0.],
           [2., 0.],
           [3., 1.]])
    """
    n_volumes, n_features = features.shape
    columns = np.zeros((n_volumes, len(delays), n_features), dtype=features.dtype)
    for index, delay in enumerate(delays):
        if delay < n_volumes:
            columns[delay:, index] = features[: n_volumes - delay]
    return columns.reshape(n_volumes, len(delays) * n_features)


def _seconds(delays_s: Sequence[float]) -> str:
    return ", ".join(f"{delay_s:g}" for delay_s in delays_s)
