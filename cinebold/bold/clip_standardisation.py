"""Responses of clips over sessions: z-scored with what the training presentations say, averaged over repeats."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.errors import InputError


def standardise_sessions(
    responses: Sequence[np.ndarray], sessions: Sequence[str], training: Sequence[bool]
) -> list[np.ndarray]:
    """Each target minus its mean, over its standard deviation (ddof 1), both of the session's training runs.

    Parameters
    ----------
    responses : of each run, (n_clips, n_targets)
    sessions : of each run, the label of its session
    training : of each run, whether it may be learned from

    Returns
    -------
    list of (n_clips, n_targets) float32; NaN where a target does not vary over the session's training runs

    Raises
    ------
    InputError
        When a session has no training run, or fewer than two training presentations.
    """
    standardised: list[np.ndarray] = [np.empty(0)] * len(responses)
    for session in dict.fromkeys(sessions):
        own = [run for run, label in enumerate(sessions) if label == session]
        learned = [responses[run] for run in own if training[run]]
        if sum(map(len, learned)) < 2:
            raise InputError(
                f"Session {session or 'without label'}: responses are z-scored with what its training runs say, and "
                "they show fewer than two clips; train on a run of each session, or do not standardise."
            )
        known = np.concatenate(learned).astype(np.float64)
        mean, sd = known.mean(axis=0), known.std(axis=0, ddof=1)
        sd[~(sd > 1e-12 * np.abs(known).max(axis=0))] = np.nan
        for run in own:
            standardised[run] = ((responses[run] - mean) / sd).astype(np.float32)
    return standardised


@dataclass(frozen=True, eq=False)
class AveragedClips:
    """Responses of clips, each once."""

    responses: np.ndarray  #: (n_clips, n_targets) float32
    films: tuple[str, ...]  #: in the order of their first presentation
    n_repeats: np.ndarray  #: (n_clips,) how many presentations were averaged
    first: tuple[tuple[int, int], ...]  #: run and presentation where each clip was first shown


def average_repeats(responses: Sequence[np.ndarray], films: Sequence[Sequence[str]]) -> AveragedClips:
    """The mean response of each clip over all its presentations.

    Parameters
    ----------
    responses : of each run, (n_clips, n_targets)
    films : of each run, the film of each presentation
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for run, shown in enumerate(films):
        if len(shown) != len(responses[run]):
            raise InputError(
                f"Run {run + 1} shows {len(shown)} clips and has responses to {len(responses[run])}."
            )
        for presentation, film in enumerate(shown):
            places.setdefault(film, []).append((run, presentation))
    means = [
        np.mean([responses[run][presentation] for run, presentation in own], axis=0, dtype=np.float64)
        for own in places.values()
    ]
    return AveragedClips(
        np.stack(means).astype(np.float32),
        tuple(places),
        np.array([len(own) for own in places.values()]),
        tuple(own[0] for own in places.values()),
    )
