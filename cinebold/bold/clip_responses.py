"""One response a clip: what a run's series says about each presentation of a short film.

    Y = R B + Q C + E      R: a regressor a presentation, Q: drift, confounds and events without a film

Both sides are projected off Q, so that B is that of the whole model (Frisch-Waugh-Lovell), whose other weights nobody
asks for. Where presentations follow each other within seconds their responses overlap, and the methods differ in what
they do about it; see `METHODS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.errors import InputError, SettingError

#: "lss": least squares, separate (Mumford et al. 2012): a model for each presentation, with one more regressor for all
#: others; "lsa": all presentations in one model; "ridge-lsa": the same, shrunk; "fir": the mean of the series over a
#: window after the onset.
METHODS = ("lss", "lsa", "ridge-lsa", "fir")
RESPONSES = ("spm", "glover")
#: A regressor of which less than this share of its variance is left after the projection cannot be told from noise.
_LEAST_LEFT = 1e-6


@dataclass(frozen=True)
class ClipModel:
    """How a presentation's response is read from the series."""

    method: str = "lss"  #: one of `METHODS`
    hrf: str = "glover"  #: nilearn's "glover" or "spm"; not of "fir"
    ridge: float = 0.1  #: penalty of "ridge-lsa" as a share of the regressors' mean squared length
    window_s: tuple[float, float] = (4.0, 8.0)  #: of "fir", from the onset

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingError(f"Clip responses come by {', '.join(METHODS)}; found {self.method!r}.")
        if self.hrf not in RESPONSES:
            raise SettingError(f"A clip's response is {' or '.join(RESPONSES)}; found {self.hrf!r}.")
        if not 0 < self.ridge < np.inf:
            raise SettingError(f"The penalty of ridge-lsa must be positive; found {self.ridge!r}.")
        first_s, last_s = self.window_s
        if not 0 <= first_s < last_s < np.inf:
            raise SettingError(
                "The window after a clip's onset begins at 0 s or later and ends after it begins; found "
                f"{first_s:g} to {last_s:g} s."
            )


def clip_regressors(
    onsets_s: Sequence[float], durations_s: Sequence[float], times_s: np.ndarray, model: ClipModel
) -> np.ndarray:
    """A regressor a presentation: its duration convolved with the response, or the weights of its window.

    Parameters
    ----------
    onsets_s, durations_s : (n_clips,) from the first volume's trigger
    times_s : (n_volumes,) the time that each volume stands for (`design.alignment.volume_times_s`)

    Returns
    -------
    (n_volumes, n_clips) float64; of "fir" each column sums to one

    Raises
    ------
    InputError
        When no volume lies in a window, or a response lies outside the run.
    """
    onsets_s, durations_s = np.asarray(onsets_s, float), np.asarray(durations_s, float)
    if model.method == "fir":
        since_s = times_s[:, np.newaxis] - onsets_s
        inside = (since_s >= model.window_s[0]) & (since_s < model.window_s[1])
        counts = inside.sum(axis=0)
        _refuse(counts == 0, onsets_s, "no volume lies in the window after it")
        return inside / counts
    regressors = _convolved(onsets_s, durations_s, times_s, model.hrf)
    _refuse(~regressors.any(axis=0), onsets_s, "its response lies outside the run")
    return regressors


def other_events_regressor(
    events_s: Sequence[tuple[float, float]], times_s: np.ndarray, model: ClipModel
) -> np.ndarray:
    """What the events that show no clip evoke together; events without a response in the run are nothing.

    Parameters
    ----------
    events_s : (onset, duration) of each, from the first volume's trigger
    times_s : (n_volumes,) as in `clip_regressors`

    Returns
    -------
    (n_volumes, 1) float64, (n_volumes, 0) where there is nothing; of "fir", which models no events, too
    """
    if model.method == "fir" or not events_s:
        return np.empty((len(times_s), 0))
    together = _convolved(*zip(*events_s, strict=True), times_s, model.hrf).sum(axis=1, keepdims=True)
    return together if together.any() else together[:, :0]


def _convolved(
    onsets_s: Sequence[float], durations_s: Sequence[float], times_s: np.ndarray, hrf: str
) -> np.ndarray:
    """A column an event, (n_volumes, n_events): its duration convolved with the response."""
    from nilearn.glm.first_level.hemodynamic_models import compute_regressor

    columns = [
        compute_regressor(np.array([[onset], [duration], [1.0]]), hrf, times_s)[0][:, 0]
        for onset, duration in zip(onsets_s, durations_s, strict=True)
    ]
    return np.stack(columns, axis=1)


def clip_responses(
    series: np.ndarray,
    regressors: np.ndarray,
    nuisance: np.ndarray,
    keep: np.ndarray,
    model: ClipModel,
    onsets_s: Sequence[float],
    *,
    voxel_tile: int = 4096,
) -> np.ndarray:
    """The responses of a run.

    Parameters
    ----------
    series : (n_volumes, n_targets) not standardised; projected off `nuisance` or not
    regressors : (n_volumes, n_clips), `clip_regressors`
    nuisance : (n_volumes, n_nuisance), the constant not among them
    keep : (n_volumes,) bool, the volumes that count
    onsets_s : (n_clips,), for messages

    Returns
    -------
    (n_clips, n_targets) float32 in the units of the series; NaN in targets that are

    Raises
    ------
    InputError
        When the volumes that are kept do not tell a presentation from the nuisance, or presentations from each other.
    """
    keep = np.asarray(keep, bool)
    basis = _basis(nuisance[keep])
    own = regressors[keep].astype(np.float64)
    if model.method == "fir":
        weights = own.sum(axis=0)
        _refuse(weights < 0.5, onsets_s, "most volumes of its window were left out")
        readers = (own - basis @ (basis.T @ own)) / weights
    else:
        left = own - basis @ (basis.T @ own)
        share = (left**2).sum(axis=0) / np.maximum((regressors**2).sum(axis=0), 1e-300)
        _refuse(share < _LEAST_LEFT, onsets_s, "nothing of its response is left beside the confounds")
        readers = left @ _readout(left, model)
    responses = np.empty((own.shape[1], series.shape[1]), np.float32)
    for start in range(0, series.shape[1], voxel_tile):
        tile = slice(start, start + voxel_tile)
        values = series[keep, tile].astype(np.float64)
        responses[:, tile] = readers.T @ (values - values.mean(axis=0))
    return responses


def _readout(left: np.ndarray, model: ClipModel) -> np.ndarray:
    """A, (n_clips, n_clips), such that the responses are A' R'Y for projected regressors R."""
    gram = left.T @ left
    lengths = np.diag(gram)
    if model.method == "ridge-lsa":
        return np.linalg.inv(gram + model.ridge * lengths.mean() * np.eye(len(gram)))
    if model.method == "lsa":
        if np.linalg.cond(gram) > 1e10:
            raise InputError(
                f"The responses of {len(gram)} presentations cannot be told from each other in one model: they follow "
                "each other too closely, or two begin at once; use lss or ridge-lsa."
            )
        return np.linalg.inv(gram)
    if len(gram) == 1:
        return 1 / gram
    # Of two regressors a (the presentation's) and o (all others'): b = (oo ay - ao oy) / (aa oo - ao^2).
    total = gram.sum(axis=0)
    with_others = total - lengths
    others = gram.sum() - 2 * total + lengths
    determinant = lengths * others - with_others**2
    alone = others <= _LEAST_LEFT * lengths
    if (~alone & (determinant <= _LEAST_LEFT * lengths * others)).any():
        raise InputError(
            "A presentation's response cannot be told from that of all others together: its run shows too few."
        )
    readout = np.where(alone, 0.0, -with_others / np.where(alone, 1.0, determinant)) * np.ones_like(gram)
    np.fill_diagonal(readout, np.where(alone, 1 / lengths, others / np.where(alone, 1.0, determinant)))
    return readout


def _basis(nuisance: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the constant and the nuisance."""
    import scipy.linalg

    columns = np.hstack([np.ones((len(nuisance), 1)), nuisance])
    lengths = np.linalg.norm(columns, axis=0)
    columns = columns[:, lengths > 0] / lengths[lengths > 0]
    q, r, _ = scipy.linalg.qr(columns, mode="economic", pivoting=True)
    return q[:, np.abs(np.diag(r)) > 1e-9]


def _refuse(which: np.ndarray, onsets_s: Sequence[float], why: str) -> None:
    if np.any(which):
        onset_s = float(np.asarray(onsets_s)[np.flatnonzero(which)[0]])
        raise InputError(
            f"The clip shown at {onset_s:g} s has no response: {why} ({int(np.sum(which))} such presentations); "
            "leave the event out, or the run."
        )
