"""Which runs show which film: what the page of the films tells of it, kept beside its figures."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.files import read_json, write_json
from workflows.specifications import ParticipantAnalysis, Presentation

#: Films of one level that are drawn; of more, so many evenly over their names.
MOST_DRAWN_FILMS = 30
_FOLDER = "stimuli/figures"
_ENDING = "_desc-showings_report.json"


@dataclass(frozen=True)
class ShownRun:
    """A run and what it shows; the level `stimuli` knows no volumes."""

    participant: str
    label: str
    presentations: tuple[Presentation, ...]
    tr_s: float | None = None
    n_volumes: int | None = None


def runs_of_analyses(analyses: Iterable[ParticipantAnalysis]) -> tuple[ShownRun, ...]:
    """The runs that are analysed."""
    return tuple(
        ShownRun(one.participant, run.label, run.presentations, run.tr_s, run.n_volumes)
        for one in analyses
        for run in one.runs
    )


def write_showings(output_dir: Path, runs: Iterable[ShownRun]) -> None:
    """Keep what the runs show in a file a participant, beside the runs that are known from earlier.

    The volumes of a run stay known where it is met again without them and shows the same.
    """
    by_participant: dict[str, list[ShownRun]] = defaultdict(list)
    for run in runs:
        by_participant[run.participant].append(run)
    for participant, shown in by_participant.items():
        path = output_dir / _FOLDER / f"sub-{participant}{_ENDING}"
        known = _runs_of(path)
        content = dict(known)
        for run in shown:
            entry = _entry(run)
            before = known.get(run.label, {})
            if run.n_volumes is None and before.get("films") == entry["films"]:
                continue
            content[run.label] = entry
        if content != known:
            ordered = [{"label": label, **content[label]} for label in sorted(content)]
            write_json(path, {"participant": participant, "runs": ordered})


def read_showings(output_dir: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Participant -> label of a run -> `tr_s`, `n_volumes` (None: not known) and `films`, each with `name`,
    `onset_s`, `duration_s` (None: until it ends) and `film_offset_s`. A file that cannot be read is left out."""
    found = {}
    for path in sorted((output_dir / _FOLDER).glob(f"sub-*{_ENDING}")):
        if runs := _runs_of(path):
            found[path.name.removesuffix(_ENDING).removeprefix("sub-")] = runs
    return found


def film_figure_prefixes(output_dir: Path, film_names: Sequence[str], recipe: str) -> dict[str, str]:
    """Of the films that are drawn: film name -> what the paths of its figures start with.

    >>> films = [f"{number:02d}.mp4" for number in range(61)]
    >>> drawn = film_figure_prefixes(Path("/out"), films, "m")
    >>> len(drawn), drawn["60.mp4"]
    (30, '/out/stimuli/figures/60.mp4_model-m')
    """
    names = sorted(film_names)
    n_drawn = min(len(names), MOST_DRAWN_FILMS)
    chosen = [names[int(place)] for place in np.linspace(0, len(names) - 1, n_drawn).round()]
    return {name: str(output_dir / _FOLDER / f"{name}_model-{recipe}") for name in chosen}


def _entry(run: ShownRun) -> dict[str, Any]:
    return {
        "tr_s": run.tr_s,
        "n_volumes": run.n_volumes,
        "films": [
            {
                "name": p.film_name,
                "onset_s": p.onset_s,
                "duration_s": p.duration_s,
                "film_offset_s": p.film_offset_s,
            }
            for p in run.presentations
        ],
    }


def _runs_of(path: Path) -> dict[str, dict[str, Any]]:
    """The runs that a file holds, by label; none where it cannot be read."""
    try:
        content = read_json(path)
        return {
            run["label"]: {"tr_s": run["tr_s"], "n_volumes": run["n_volumes"], "films": list(run["films"])}
            for run in content["runs"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
