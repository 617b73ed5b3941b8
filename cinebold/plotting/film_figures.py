"""Every figure of one film, and the names under which the report finds them.

Keys (the file is `<prefix>_desc-<key>_figure.png`):
    filmstrip    pictures at even times, with the cuts
    courses      time courses of the feature spaces

The list of them, `<prefix>_desc-figures_report.json`, says under "about" whose they are, and holds cuts and scenes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cinebold.features.overview import read_overview
from cinebold.features.scenes import cut_times, names_classes, scenes_between, top_classes
from cinebold.features.store import read_features
from cinebold.files import content_sha256
from cinebold.plotting.figure_set import FigureSet, drawn_figures
from cinebold.plotting.film_courses import (
    MOST_LINES,
    PICTURE_HEIGHT,
    STRIP_WIDTH,
    courses_figure,
    filmstrip_figure,
)
from cinebold.plotting.film_rows import Rows, rows_of
from cinebold.plotting.thumbnails import glimpses

_VERSION = 2  #: of the drawings: another one draws anew what is there
_SCENES = 20  #: the longest ones
_CUTS_LISTED = 2000


def ensure_film_figures(
    film: str | Path,
    features: Mapping[str, str | Path],
    *,
    out_prefix: str | Path,
    film_name: str,
    recipe: str,
) -> list[str]:
    """Draw the figures of a film unless they are there, and return every file of them, the list last.

    A figure that cannot be drawn is named in the list with the reason; a film of which nothing can be drawn is no
    error.

    Parameters
    ----------
    features : feature space -> stored series
    film_name, recipe : what the report calls the film, and the analysis
    """
    known = {space: read_overview(path) for space, path in features.items()}
    keys = {space: one.provenance.get("key") for space, one in known.items()}
    about = {"film": film_name, "recipe": recipe, "key": content_sha256([_VERSION, keys, film_name])}
    drawn, drawn_about = drawn_figures(out_prefix)
    if drawn_about.get("key") == about["key"]:
        return drawn
    figures = FigureSet(out_prefix, about=about)
    duration_s = max(one.film_duration_s for one in known.values())
    with_cuts = [space for space, one in known.items() if one.provenance.get("extractor") == "low_level"]
    low_level = read_features(features[with_cuts[0]]) if with_cuts else None
    pictures = None
    with figures.attempt("filmstrip"):
        seen = glimpses(film, strip_width=STRIP_WIDTH, height=PICTURE_HEIGHT, measure_cuts=low_level is None)
        pictures, low_level = seen.thumbnails, low_level or seen.low_level
    cuts_s = [] if low_level is None else [round(float(time_s), 3) for time_s in cut_times(low_level)]
    if pictures is not None:
        bin_s = None if low_level is None else low_level.provenance["parameters"]["hop_s"]
        facts = {"n_pictures": len(pictures), "n_cuts": len(cuts_s), "bin_s": bin_s}
        figures.draw(
            "filmstrip", filmstrip_figure, pictures, duration_s, cuts_s, facts=facts, title=film_name
        )
    scenes = [] if low_level is None else scenes_between(cuts_s, duration_s, _SCENES)
    rows: dict[str, Rows] = {}
    classes: dict[str, list[list[dict[str, Any]]]] = {}
    for space, path in features.items():  # one after the other: all the values of a long film are large
        series = read_features(path)
        with figures.attempt("courses"):
            if len(series.times_s) > 1:
                rows[space] = rows_of(series)
        with figures.attempt("scenes"):
            if scenes and names_classes(series.names):
                classes[space] = top_classes(series, scenes)
    figures.about |= _scenes(scenes, classes, cuts_s)
    if rows:
        single = [space for space, one in known.items() if one.n_windows == 1]
        _draw_courses(figures, rows, single, duration_s, cuts_s)
    elif "courses" not in figures.not_made:
        figures.skip("courses", "one window stands for the whole film, so there are no time courses")
    return figures.finish()


def _draw_courses(
    figures: FigureSet,
    rows: Mapping[str, Rows],
    single: Sequence[str],
    duration_s: float,
    cuts_s: Sequence[float],
) -> None:
    facts = {
        "shown": {space: one.what for space, one in rows.items()},
        "one_window": list(single),
        "with_components": any("components" in one.what for one in rows.values()),
        "with_colours": any(not one.are_curves for one in rows.values()),
        "with_cuts": 0 < len(cuts_s) <= MOST_LINES,
    }
    figures.draw(
        "courses", courses_figure, rows, duration_s, cuts_s, facts=facts, title="Feature time courses"
    )


def _scenes(
    scenes: Sequence[tuple[float, float]],
    classes: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    cuts_s: Sequence[float],
) -> dict[str, Any]:
    """Cuts, and the longest scenes with their classes; nothing where no cuts are known."""
    if not scenes:
        return {}
    return {
        "n_cuts": len(cuts_s),
        "cuts_s": list(cuts_s[:_CUTS_LISTED]),
        "class_spaces": list(classes),
        "scenes": [
            {
                "start_s": round(start_s, 3),
                "end_s": round(end_s, 3),
                "classes": {
                    space: [{**one, "score": float(f"{one['score']:.3g}")} for one in best[number]]
                    for space, best in classes.items()
                },
            }
            for number, (start_s, end_s) in enumerate(scenes)
        ],
    }
