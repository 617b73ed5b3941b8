"""Writes stimuli.html, the page of the films, from what lies in the output directory."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bids_app.report.collecting import collect_crashes
from bids_app.report.films import Film, FilmAnalysis, collect_films_of
from bids_app.report.pages import FILM_PAGE, arranged, page_environment
from bids_app.report.summaries import is_number, mappings_of, sequence_of
from cinebold.files import write_text

_OPEN = 4  #: up to so many films lie open; of more, only the first


def write_stimuli_report(output_dir: str | Path, *, problems: Sequence[str] = ()) -> Path:
    """Write `stimuli.html` at the root of the output directory.

    Everything is read from `stimuli/` and `logs/stimuli`: the page can be made again at any time, and says the same
    whichever level asks for it.

    Parameters
    ----------
    problems : sentences on what went wrong, shown before the crash files
    """
    output_dir = Path(output_dir)
    films = collect_films_of(output_dir)
    crashes, n_more = collect_crashes(output_dir, "stimuli")
    drawn = [film.name for film in films if film.analyses]
    open_names = drawn if len(drawn) <= _OPEN else drawn[:1]
    page = page_environment().get_template("stimuli.html.j2").render(
        title="Films, cinebold", label="Films", problems=list(problems), crashes=crashes, n_more_crashes=n_more,
        films=[_prepared(number, film, film.name in open_names) for number, film in enumerate(films, 1)],
        n_drawn=len(drawn),
        spaces=sorted({space for film in films for space in film.spaces}),
        random_spaces=sorted({
            space for film in films for space, one in film.spaces.items() if one.random_weights
        }),
        total_s=sum(film.duration_s or 0.0 for film in films),
        n_runs=len({(who, row.label) for film in films for row in film.rows for who in row.participants}),
        n_participants=len({who for film in films for who in film.participants}),
        n_warned=sum(bool(film.warnings) for film in films),
    )  # fmt: skip
    return write_text(output_dir / FILM_PAGE, page)


def _prepared(number: int, film: Film, is_open: bool) -> dict[str, Any]:
    """What the template needs of one film."""
    scale_s = max([row.run_s for row in film.shown_rows] or [1.0]) or 1.0
    return {
        "id": f"film-{number}",
        "name": film.name,
        "drawn": bool(film.analyses),
        "open": is_open,
        "duration_s": film.duration_s,
        "facts": film.facts,
        "spaces": film.spaces,
        "warnings": film.warnings,
        "n_runs": film.n_runs,
        "rows": film.rows,
        "shown_rows": [
            {**asdict(row), "ticks_s": row.ticks_s, "scale_s": scale_s} for row in film.shown_rows
        ],
        "scale_s": scale_s,
        "analyses": [_prepared_analysis(film, one) for one in film.analyses],
    }


def _prepared_analysis(film: Film, analysis: FilmAnalysis) -> dict[str, Any]:
    scenes, n_cuts = mappings_of(analysis.about, "scenes"), analysis.about.get("n_cuts")
    return {
        "recipe": analysis.recipe,
        "arranged": arranged(analysis.section),
        "class_spaces": [
            str(space) for space in sequence_of(analysis.about, "class_spaces") if space in film.spaces
        ],
        "scenes": scenes,
        "n_scenes": int(n_cuts) + 1 if is_number(n_cuts) else len(scenes),
    }
