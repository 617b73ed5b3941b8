"""Which films were shown in a run: from the stimulus map, or from the events of the raw dataset."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_app.events import (
    Event,
    MappedEvent,
    events_of_run,
    kind_of_stimulus,
    read_beta_rows,
    read_events,
)
from bids_app.layouts import BidsFile, inherited, only
from bids_app.stimuli import FilmSearch
from cinebold.errors import InputError
from workflows.specifications import Presentation

_MAP_REMEDY = (
    "if the events do not name the films, say with `--stimulus-map TABLE.tsv` what was shown when "
    "(columns task, run, stim_file, onset, duration, clip_start; optional session, participant)"
)


@dataclass(frozen=True)
class RunShowings:
    """What was shown in one run."""

    presentations: tuple[Presentation, ...]
    events: Path | None  #: the events file; None: the stimulus map told
    warnings: tuple[str, ...] = ()
    other_events_s: tuple[tuple[float, float], ...] = ()  #: onset and duration of events that show no film


@dataclass(frozen=True)
class Showings:
    """Where it is written what was shown."""

    bids_dir: Path
    raw: tuple[BidsFile, ...]
    mapped: tuple[MappedEvent, ...]
    search: FilmSearch

    def of_run(self, file: BidsFile) -> RunShowings:
        """The showings of the run that `file` belongs to. Rows of the stimulus map go before the events file.

        Films that are named but not here have no showing; the film search tells of them once for all runs.

        Raises
        ------
        InputError : no events, an events file that cannot be read, no row that names a film, or a stim_file
            that leads out of the dataset.
        """
        events, path = self._events(file)
        if not _names_film(events):
            where = f"no row of {path}" if path is not None else "no row of the stimulus map for this run"
            raise InputError(
                f"{where} names a film in the column stim_file; choose the runs with films by --task-id, or, "
                f"{_MAP_REMEDY}."
            )
        presentations, warnings = self.search.presentations(events)
        others = tuple(
            (event.onset_s, event.duration_s or 0.0)
            for event in events
            if kind_of_stimulus(event.stim_file) != "film"
        )
        return RunShowings(presentations, path, warnings, others)

    def of_beta_rows(self, path: Path) -> tuple[RunShowings, tuple[int, ...]]:
        """The showings of a table of responses that were made elsewhere, and which of its rows they are."""
        shown, rows, warnings = [], [], []
        events = read_beta_rows(path)
        for row, event in enumerate(events):
            presentations, remarks = self.search.presentations([event])
            shown.extend(presentations)
            rows.extend([row] * len(presentations))
            warnings.extend(remarks)
        if not _names_film(events):
            raise InputError(f"no row of {path} names a film in the column stim_file; correct the table.")
        return RunShowings(tuple(shown), path, tuple(dict.fromkeys(warnings))), tuple(rows)

    def tasks_without_film(self, runs: Sequence[BidsFile]) -> set[str]:
        """Tasks, such as rest, in whose runs no film is shown, while films are shown in other tasks.

        Empty when no task has films: then each run says what it lacks. An events file that cannot be read is
        no proof that there is no film.
        """
        n_with_film: Counter[str] = Counter()
        n_unreadable: Counter[str] = Counter()
        for file in runs:
            task = file.entities.get("task", "")
            try:
                n_with_film[task] += _names_film(self._events(file)[0])
            except InputError:
                n_with_film[task] += 0
                n_unreadable[task] += bool(self._applicable(file))
        if not any(n_with_film.values()):
            return set()
        return {task for task, count in n_with_film.items() if count == 0 and n_unreadable[task] == 0}

    def raw_folder(self, file: BidsFile) -> Path:
        """The func/ folder of the raw dataset that the run belongs to."""
        subject = self.bids_dir / f"sub-{file.entities['sub']}"
        return (subject / f"ses-{file.entities['ses']}" if "ses" in file.entities else subject) / "func"

    def _events(self, file: BidsFile) -> tuple[tuple[Event, ...], Path | None]:
        if from_map := events_of_run(self.mapped, file.run_entities):
            return from_map, None
        applicable = self._applicable(file)
        if not applicable:
            raise InputError(
                f"no events.tsv was found for this run in {self.raw_folder(file)} or above; add it, or, "
                f"{_MAP_REMEDY}."
            )
        # Tables are not merged: the closest one is the one (BIDS, inheritance principle).
        closest = [other for other in applicable if other.path.parent == applicable[-1].path.parent]
        events = only(closest, "events of this run, in one folder", "keep one of them")
        return read_events(events.path), events.path

    def _applicable(self, file: BidsFile) -> list[BidsFile]:
        return inherited(self.raw, file.run_entities, self.raw_folder(file), "events", ".tsv")


def _names_film(events: Sequence[Event]) -> bool:
    return any(kind_of_stimulus(event.stim_file) == "film" for event in events)
