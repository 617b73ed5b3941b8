"""Which films are shown when, and the film files of a simulated dataset."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import InputError
from cinebold.files import atomic_path
from cinebold.simulate.films import make_film
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.signals import Showing

if TYPE_CHECKING:
    from cinebold.features.series import FeatureSeries

FILM_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg")
FEATURE_SPACES = ("low_level", "motion_energy")
SHORTEST_SHOWING_S = 2.0


@dataclass(frozen=True)
class Programme:
    """What every run shows."""

    runs: tuple[tuple[Showing, ...], ...]
    n_volumes: int
    shared_film: str | None

    @property
    def films(self) -> tuple[str, ...]:
        """Every film once, in the order of its first showing."""
        return tuple(dict.fromkeys(showing.film for run in self.runs for showing in run))


def make_programme(stimuli_dir: Path, settings: SimulationSettings, *, progress: bool = False) -> Programme:
    """Write the films into `stimuli_dir` and say when each is shown: each run its own, then the shared clip."""
    if settings.films_dir is None:
        own, shared = _procedural_films(stimuli_dir, settings, progress)
    else:
        own, shared = _real_films(stimuli_dir, settings)
    runs = tuple(_schedule([*films, *shared], settings) for films in own)
    last_s = max(run[-1].onset_s + run[-1].duration_s for run in runs)
    n_volumes = int(np.ceil((last_s + settings.tail_s) / settings.tr_s))
    return Programme(runs, n_volumes, shared[0][0] if shared else None)


def extract_all(
    stimuli_dir: Path, films: Sequence[str], *, progress: bool = False
) -> tuple[dict[str, Mapping[str, "FeatureSeries"]], dict[str, dict[str, Any]]]:
    """The features of every film, film -> space -> series, and the fingerprints of the extractors."""
    from tqdm import tqdm

    from cinebold.features.extraction import extract_features
    from cinebold.features.registry import create_extractor

    extractors = {space: create_extractor(space, {}) for space in FEATURE_SPACES}
    bar = tqdm(films, desc="features of the films", disable=not progress)
    features = {film: extract_features(stimuli_dir / film, extractors) for film in bar}
    return features, {space: extractor.fingerprint() for space, extractor in extractors.items()}


def list_films(folder: Path) -> list[Path]:
    """The films in a folder, by name; an error when there are none."""
    films = (
        sorted(path for path in folder.glob("*") if path.suffix.lower() in FILM_SUFFIXES)
        if folder.is_dir()
        else []
    )
    if not films:
        raise InputError(
            f"Expected films ({', '.join(FILM_SUFFIXES)}) in the folder {folder}, and there are none."
        )
    return films


def copy_film(source: Path, target: Path) -> None:
    """Copy a film without its permissions: the source may be read-only."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _schedule(films: Sequence[tuple[str, float]], settings: SimulationSettings) -> tuple[Showing, ...]:
    """Showings one after the other, to the millisecond that events.tsv keeps."""
    showings, onset_s = [], settings.first_onset_s
    for film, duration_s in films:
        duration_s = np.floor(duration_s * 1000) / 1000
        showings.append(Showing(film, round(onset_s, 3), float(duration_s)))
        onset_s += duration_s + settings.blank_s
    return tuple(showings)


def _procedural_films(
    stimuli_dir: Path, settings: SimulationSettings, progress: bool
) -> tuple[list[list[tuple[str, float]]], list[tuple[str, float]]]:
    """One film in odd runs, two in even ones, and the shared clip; names and durations in seconds."""
    from tqdm import tqdm

    own: list[list[tuple[str, float]]] = []
    for run in range(settings.n_runs):
        n_films = 1 + run % 2
        first = sum(map(len, own)) + 1
        seconds = settings.film_seconds / n_films
        own.append([(f"film-{first + i:02d}.mp4", seconds) for i in range(n_films)])
    shared = [("shared.mp4", settings.shared_seconds)] if settings.shared_seconds > 0 else []
    films = [film for run in own for film in run] + shared
    duration_s = {}
    for order, (name, seconds) in enumerate(tqdm(films, desc="films", disable=not progress)):
        make_film(
            stimuli_dir / name,
            seconds,
            np.random.default_rng([settings.seed, 1, order]),
            frames_per_second=settings.frames_per_second,
            frame_shape=settings.frame_shape,
            scene_seconds=settings.scene_seconds,
        )
        duration_s[name] = round(seconds * settings.frames_per_second) / settings.frames_per_second
    return [[(name, duration_s[name]) for name, _ in run] for run in own], [
        (n, duration_s[n]) for n, _ in shared
    ]


def _real_films(
    stimuli_dir: Path, settings: SimulationSettings
) -> tuple[list[list[tuple[str, float]]], list[tuple[str, float]]]:
    """Deal the films of a folder out to the runs; a run repeats its own films until its time is filled.

    The last film is the shared clip. No other film is shown in two runs, and a film is cut where the time is
    over.
    """
    from cinebold.video.decoding import probe_film

    assert settings.films_dir is not None
    films = list_films(settings.films_dir)
    shared = [films.pop()] if settings.shared_seconds > 0 else []
    if len(films) < settings.n_runs:
        raise InputError(
            f"Expected at least {settings.n_runs + len(shared)} films in {settings.films_dir} (one a run"
            f"{', and one that all runs share' if shared else ''}), and there are {len(films) + len(shared)}; "
            "add films or ask for fewer runs."
        )
    duration_s = {film: probe_film(film).duration_s for film in [*films, *shared]}
    own = []
    for run in range(settings.n_runs):
        mine, left_s = [], settings.film_seconds
        candidates = films[run :: settings.n_runs]
        while left_s >= SHORTEST_SHOWING_S:
            film = candidates[len(mine) % len(candidates)]
            mine.append((film.name, min(duration_s[film], left_s)))
            left_s -= duration_s[film] + settings.blank_s
        own.append(mine)
    for film in [*films, *shared]:
        if film in shared or any(film.name == name for run in own for name, _ in run):
            copy_film(film, stimuli_dir / film.name)
    return own, [(film.name, min(duration_s[film], settings.shared_seconds)) for film in shared]
