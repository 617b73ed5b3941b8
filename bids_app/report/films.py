"""What the page of the films is made of: stored features, showings and figures of films in the output directory."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from bids_app.film_showings import read_showings
from bids_app.report.collecting import Section, collect_section, read_object
from bids_app.report.summaries import mapping_of, mappings_of, sequence_of
from cinebold.errors import InputError
from cinebold.features.overview import FeatureOverview, read_overview

_FEATURES_ENDING = "_features.h5"
_LISTING_ENDING = "_desc-figures_report.json"
_MOST_ROWS = 12  #: of runs that show a film; those that show it alike are one row
_MOST_TICKS = 150  #: volumes of a run that are told apart in its bar


@dataclass(frozen=True)
class RunRow:
    """Runs of the same name that show the same at the same times."""

    label: str
    participants: tuple[str, ...]
    tr_s: float | None
    n_volumes: int | None
    showings: tuple[Mapping[str, Any], ...]  #: of the film: `onset_s`, `shown_s`, `event_s`, `film_offset_s`
    bars: tuple[tuple[float, float, bool], ...]  #: start, length, whether it is this film; seconds in the run
    run_s: float  #: how long the run lasts or, where its volumes are not known, its films do

    @property
    def ticks_s(self) -> list[float]:
        """Where the bar is divided: at every volume or, where they are many, every tenth, hundredth, ..."""
        if self.tr_s is None or self.n_volumes is None:
            return []
        every = 1
        while self.n_volumes / every > _MOST_TICKS:
            every *= 10
        return [self.tr_s * number for number in range(every, self.n_volumes, every)]


@dataclass(frozen=True)
class FilmAnalysis:
    """The figures of a film that one recipe led to."""

    recipe: str
    about: Mapping[str, Any]
    section: Section


@dataclass
class Film:
    """All that the page says of one film."""

    name: str
    spaces: dict[str, FeatureOverview] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    rows: tuple[RunRow, ...] = ()
    analyses: list[FilmAnalysis] = field(default_factory=list)

    @property
    def duration_s(self) -> float | None:
        """As its features were extracted from."""
        return next((one.film_duration_s for one in self.spaces.values()), None)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Frames, rate and size."""
        return next(
            (found for one in self.spaces.values() if (found := mapping_of(one.provenance, "film"))), {}
        )

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the film, in full, each once."""
        said = (str(text) for one in self.spaces.values() for text in sequence_of(one.provenance, "warnings"))
        return [*self.problems, *dict.fromkeys(said)]

    @property
    def n_runs(self) -> int:
        """Runs that show it, of all participants."""
        return sum(len(row.participants) for row in self.rows)

    @property
    def participants(self) -> set[str]:
        """Who saw it."""
        return {who for row in self.rows for who in row.participants}

    @property
    def shown_rows(self) -> tuple[RunRow, ...]:
        """Those that are drawn."""
        return self.rows[:_MOST_ROWS]


def collect_films_of(output_dir: Path) -> list[Film]:
    """The films whose features are stored below `stimuli/`, by name, with what is known of each."""
    root = output_dir / "stimuli"
    films: dict[str, Film] = {}
    for path in sorted(root.rglob(f"*_desc-*{_FEATURES_ENDING}")):
        if path.name.startswith("."):
            continue
        stem, _, space = path.relative_to(root).as_posix().removesuffix(_FEATURES_ENDING).rpartition("_desc-")
        film = films.setdefault(stem, Film(stem))
        try:
            film.spaces[space] = read_overview(path)
        except InputError as error:
            film.problems.append(str(error).replace(str(path), path.name))
    durations = {name: film.duration_s for name, film in films.items()}
    showings = read_showings(output_dir)
    rows = _rows_by_film(showings, durations)
    for name, film in films.items():
        film.rows = tuple(rows.get(name, ()))
    _add_figures(output_dir, films)
    return [films[name] for name in sorted(films)]


def _add_figures(output_dir: Path, films: Mapping[str, Film]) -> None:
    text = (resources.files("bids_app.report") / "templates" / "films.toml").read_text(encoding="utf-8")
    specification = tomllib.loads(text)["section"][0]
    for path in sorted((output_dir / "stimuli" / "figures").rglob(f"*{_LISTING_ENDING}")):
        listing, _ = read_object(path)
        about = mapping_of(listing, "about")
        film = films.get(str(about.get("film")))
        if film is not None:
            prefix = path.with_name(path.name.removesuffix(_LISTING_ENDING))
            section = collect_section(specification, output_dir, prefix, listing, {})
            film.analyses.append(FilmAnalysis(str(about.get("recipe", "?")), about, section))


def _rows_by_film(
    showings: Mapping[str, Mapping[str, Mapping[str, Any]]], durations: Mapping[str, float | None]
) -> dict[str, list[RunRow]]:
    """The rows of each film; runs of several participants that are alike share one."""
    alike: dict[str, tuple[str, Mapping[str, Any], list[str]]] = {}
    for participant, runs in showings.items():
        for label, run in runs.items():
            alike.setdefault(repr((label, run)), (label, run, []))[2].append(participant)
    found: dict[str, list[RunRow]] = {}
    for label, run, participants in alike.values():
        films = [_with_shown(film, durations) for film in mappings_of(run, "films")]
        for name in dict.fromkeys(film["name"] for film in films):
            found.setdefault(name, []).append(_row(label, run, participants, films, name))
    return {name: sorted(rows, key=lambda row: (row.label, row.participants)) for name, rows in found.items()}


def _row(
    label: str,
    run: Mapping[str, Any],
    participants: Sequence[str],
    films: Sequence[Mapping[str, Any]],
    name: str,
) -> RunRow:
    tr_s, n_volumes = run.get("tr_s"), run.get("n_volumes")
    end_s = max(film["onset_s"] + (film["shown_s"] or 0.0) for film in films)
    return RunRow(
        label=label,
        participants=tuple(participants),
        tr_s=tr_s,
        n_volumes=n_volumes,
        showings=tuple(film for film in films if film["name"] == name),
        bars=tuple((film["onset_s"], film["shown_s"] or 0.0, film["name"] == name) for film in films),
        run_s=end_s if tr_s is None or n_volumes is None else tr_s * n_volumes,
    )


def _with_shown(film: Mapping[str, Any], durations: Mapping[str, float | None]) -> dict[str, Any]:
    """A showing with how long it lasts: what the event says or what is left of the film, whichever is shorter."""
    name, offset_s, event_s = (
        str(film.get("name")),
        float(film.get("film_offset_s") or 0),
        film.get("duration_s"),
    )
    duration_s = durations.get(name)
    left_s = None if duration_s is None else duration_s - offset_s
    known = [one for one in (left_s, event_s) if one is not None]
    return {
        "name": name,
        "onset_s": float(film.get("onset_s") or 0),
        "film_offset_s": offset_s,
        "event_s": event_s,
        "left_s": left_s,
        "shown_s": min(known) if known else None,
    }
