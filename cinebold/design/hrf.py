"""Canonical haemodynamic responses: the film's features as the scanner would see them, inside one run."""

import numpy as np

from cinebold.errors import SettingError

#: The response is evaluated on a grid at least this fine before it is read at the volumes.
_FINE_S = 0.01
#: Slower volumes miss the peak of the response, which comes after 5 s.
_SLOWEST_TR_S = 5.0


def hrf_kernel(name: str, tr_s: float, *, duration_s: float = 32.0) -> np.ndarray:
    """The canonical response on the grid of the volumes.

        k_i = h(i TR) / sum_j h(j TR),   i TR = 0, TR, 2 TR, ..., duration_s

    with h of `nilearn.glm.first_level.spm_hrf` or `glover_hrf` on a fine grid. The sum is one, so that a
    feature that does not change keeps its value and the effects of different repetition times are in the same
    units.

    Parameters
    ----------
    name : "spm" (peak after 5 s, shallow undershoot after 15 s) or "glover" (peak after 5 s, undershoot after
        11 s, deeper)
    tr_s : repetition time
    duration_s : where the response ends

    Returns
    -------
    (n_lags,) float64, the first for lag 0

    Raises
    ------
    SettingError
        For an unknown name, and for volumes so far apart that they miss the peak.

    >>> hrf_kernel("spm", 2.0)[:6].round(3).tolist()
    [0.0, 0.085, 0.374, 0.386, 0.217, 0.077]
    """
    if name not in _RESPONSES:
        raise SettingError(f"Unknown haemodynamic response {name!r}: choose one of {', '.join(_RESPONSES)}.")
    if not 0 < tr_s <= _SLOWEST_TR_S:
        raise SettingError(
            f"A canonical response needs a repetition time above 0 and up to {_SLOWEST_TR_S:g} s, got "
            f"{tr_s:g} s: slower volumes miss its peak; use delays."
        )
    if not 20 <= duration_s < np.inf:
        raise SettingError(f"A canonical response lasts at least 20 s, got {duration_s:g} s.")
    from nilearn.glm import first_level

    oversampling = int(np.ceil(tr_s / _FINE_S))
    fine = getattr(first_level, _RESPONSES[name])(tr_s, oversampling=oversampling, time_length=duration_s)
    # nilearn spreads its samples over [0, duration_s] with both ends: their step is a little above TR / oversampling.
    fine_s = np.linspace(0, duration_s, len(fine))
    lags_s = np.arange(int(np.floor(duration_s / tr_s + 1e-9)) + 1) * tr_s
    kernel = np.interp(lags_s, fine_s, fine)
    return kernel / kernel.sum()


def convolved(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The features of one run, convolved in time.

        y_t = sum_i k_i x_{t - i},   x = 0 before the run's start

    Parameters
    ----------
    features : (n_volumes, n_features)
    kernel : (n_lags,)

    Returns
    -------
    (n_volumes, n_features) of the features' type

    >>> convolved(np.array([[1.0], [0.0], [2.0], [0.0]]), np.array([0.0, 0.75, 0.25]))[:, 0].tolist()
    [0.0, 0.75, 0.25, 1.5]
    """
    n_volumes = len(features)
    total = np.zeros(features.shape, np.float64)
    for lag, weight in enumerate(kernel[:n_volumes]):
        total[lag:] += weight * features[: n_volumes - lag]
    return total.astype(features.dtype)


_RESPONSES = {"spm": "spm_hrf", "glover": "glover_hrf"}
