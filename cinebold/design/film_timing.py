"""How long films, their events and the run last: the drift between what was planned and what was shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ShowingTime:
    """One showing of a film in a run, all in seconds."""

    film: str
    onset_s: float
    film_s: float  #: what the file has from the film time at the onset to its end
    event_s: float | None  #: the duration of the event; None: not given
    run_left_s: float  #: from the onset to the end of the run

    @property
    def film_minus_event_s(self) -> float | None:
        """Above 0: the event says that the film was cut short; below 0: the file is shorter than the event."""
        return None if self.event_s is None else self.film_s - self.event_s

    @property
    def end_minus_run_end_s(self) -> float:
        """Above 0: the showing outlasts the run, which has no response to its last part."""
        shown_s = self.film_s if self.event_s is None else min(self.film_s, self.event_s)
        return shown_s - self.run_left_s


def run_timing(label: str, run_s: float, showings: Sequence[ShowingTime]) -> dict[str, Any]:
    """The times of a run's showings and what they amount to, as JSON.

    `film_minus_event_s` is the sum over the showings whose event has a duration, None where none has;
    `end_minus_run_end_s` that of the showing that ends last.

    >>> timing = run_timing("run-1", 100.0, [ShowingTime("a.mp4", 10.0, 92.0, 90.0, 90.0)])
    >>> timing["film_minus_event_s"], timing["end_minus_run_end_s"]
    (2.0, 0.0)
    """
    differences = [one.film_minus_event_s for one in showings if one.film_minus_event_s is not None]
    return {
        "run": label,
        "run_s": run_s,
        "films_s": round(sum(one.film_s for one in showings), 6),
        "events_s": round(sum(one.event_s for one in showings if one.event_s is not None), 6)
        if differences
        else None,
        "film_minus_event_s": round(sum(differences), 6) if differences else None,
        "end_minus_run_end_s": round(max((one.end_minus_run_end_s for one in showings), default=-run_s), 6),
        "showings": [
            {
                key: value if isinstance(value, str | None) else round(value, 6)
                for key, value in asdict(one).items()
            }
            | {"end_minus_run_end_s": round(one.end_minus_run_end_s, 6)}
            for one in showings
        ],
    }
