"""Writes sub-XX.html and group.html from what lies in the output directory; equal files give equal bytes."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.report.collecting import AnalysisFiles, Reportlet, Section, collect_analyses, collect_crashes
from bids_app.report.diagnostics import diagnostics_of, settings_in_force
from bids_app.report.methods import cited, methods_paragraphs
from cinebold.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

#: By the geometry in the summary, or "parcels": what one target is called, and several.
_TARGETS = {
    "surface": ("vertex", "vertices"),
    "cifti": ("grayordinate", "grayordinates"),
    "parcels": ("parcel", "parcels"),
}
#: The report of the films, which the others link to where it is there.
FILM_PAGE = "stimuli.html"
_VOXEL = re.compile(r"\bvoxels?\b(?! tile)")
_NARROW_PX = 900  #: figures up to this width stand two in a row


def write_participant_report(
    output_dir: str | Path, participant: str, *, problems: Sequence[str] = ()
) -> Path:
    """Write `sub-<participant>.html` at the root of the output directory.

    Everything is read from `sub-<participant>/figures` and `logs/sub-<participant>`: the page can be made again at any
    time. A missing figure or an unreadable summary is named on the page.

    Parameters
    ----------
    participant : with or without "sub-"
    problems : sentences on what went wrong, shown before the crash files
    """
    output_dir = Path(output_dir)
    label = f"sub-{participant.removeprefix('sub-')}"
    figure_dirs = [path for path in (output_dir / label).glob("**/figures") if path.is_dir()]
    analyses = collect_analyses(output_dir, figure_dirs, "participant.toml")
    crashes, n_more = collect_crashes(output_dir, label)
    page = page_environment().get_template("participant.html.j2").render(
        title=f"{label}, cinebold", label=label, analyses=[_prepared(analysis) for analysis in analyses],
        problems=list(problems), crashes=crashes, n_more_crashes=n_more, film_page=_film_page(output_dir),
    )  # fmt: skip
    return write_text(output_dir / f"{label}.html", page)


def write_group_report(
    output_dir: str | Path, *, missing: Sequence[str] = (), problems: Sequence[str] = ()
) -> Path:
    """Write `group.html` at the root of the output directory, from `tpl-*/figures` (or `figures`, `group/figures`).

    The summaries there hold: participants, missing, recipe, space, resolution_label, q, n_targets, n_significant,
    scores, diagnostics, warnings, versions; each may be absent.

    Parameters
    ----------
    missing : participants that the group lacks, with or without "sub-"
    """
    output_dir = Path(output_dir)
    figure_dirs = [
        *output_dir.glob("tpl-*/**/figures"),
        output_dir / "figures",
        output_dir / "group" / "figures",
    ]
    analyses = collect_analyses(output_dir, [path for path in figure_dirs if path.is_dir()], "group.toml")
    crashes, n_more = collect_crashes(output_dir, "group")
    page = page_environment().get_template("group.html.j2").render(
        title="Group, cinebold", label="Group", analyses=[_prepared(analysis) for analysis in analyses],
        missing=[f"sub-{name.removeprefix('sub-')}" for name in missing], problems=list(problems), crashes=crashes,
        n_more_crashes=n_more, film_page=_film_page(output_dir),
    )  # fmt: skip
    return write_text(output_dir / "group.html", page)


def _film_page(output_dir: Path) -> str:
    """The address of the report of the films; empty where there is none."""
    return FILM_PAGE if (output_dir / FILM_PAGE).is_file() else ""


def _prepared(analysis: AnalysisFiles) -> dict[str, Any]:
    """What the templates need of one analysis, each part of the type that they expect."""
    summary = analysis.summary
    paragraphs = methods_paragraphs(summary) if summary else []
    return {
        "name": analysis.name,
        "title": " · ".join(str(summary[key]) for key in ("recipe", "space") if summary.get(key))
        or analysis.name,
        "geometry": _mapping(summary.get("bold")).get("geometry", summary.get("geometry")),
        "atlas": _mapping(summary.get("bold")).get("atlas"),
        "problem": analysis.problem,
        "summary": summary,
        "runs": _objects(summary.get("runs")),
        "spaces": _objects(summary.get("spaces")),
        "settings": {
            key: settings_in_force(value)
            for key in ("bold", "encoding")
            if (value := _mapping(summary.get(key)))
        },
        "scores": {key: _mapping(value) for key, value in _mapping(summary.get("scores")).items()},
        "diagnostics": _mapping(summary.get("diagnostics")),
        "fit": diagnostics_of(summary),
        "warnings": _list(summary.get("warnings")),
        "versions": _mapping(summary.get("versions")),
        "participants": _list(summary.get("participants")),
        "missing": _list(summary.get("missing")),
        "random_spaces": _list(summary.get("random_spaces"))
        or [s.get("name", "?") for s in _objects(summary.get("spaces")) if s.get("random_weights")],
        "sections": {key: (section, arranged(section)) for key, section in analysis.sections.items()},
        "shown": [key for key, section in analysis.sections.items() if section.reportlets],
        "methods": paragraphs,
        "references": cited(paragraphs),
    }


def arranged(section: Section) -> list[tuple[Reportlet, str]]:
    """Each figure with its place: "wide", "half" (two share a row) or "beside" (alone, the text at its side)."""
    arranged: list[tuple[Reportlet, str]] = []
    waiting = False  # for a second narrow one
    for reportlet in section.reportlets:
        if not reportlet.url or reportlet.width > _NARROW_PX:
            arranged.append((reportlet, "wide"))
            waiting = False
        elif waiting:
            arranged[-1] = (arranged[-1][0], "half")
            arranged.append((reportlet, "half"))
            waiting = False
        else:
            arranged.append((reportlet, "beside"))
            waiting = True
    return arranged


@cache
def page_environment() -> "Environment":
    """The templates, with the filters that they use."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bids_app.report"),
        autoescape=True,  # names of films and folders are not to be trusted
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": _number,
        "count": _count,
        "value": _value,
        "words": _words,
        "significant": _significant,
        "of": _of,
        "in_terms_of": lambda page, geometry: Markup(_in_terms_of(page, geometry)),  # escaped already
    }
    environment.tests |= {"rows": _are_rows}
    environment.globals["written"] = lambda template, values: Markup(
        environment.from_string(template).render(**values)  # escaped there, and not to be escaped again
    )
    return environment


def _in_terms_of(page: str, geometry: Any) -> str:
    """The page of an analysis whose targets are no voxels, in the words for what they are.

    >>> _in_terms_of("In no voxel of 5 voxels is a voxelwise model better.", "surface")
    'In no vertex of 5 vertices is a voxelwise model better.'
    """
    if geometry not in _TARGETS:
        return page
    return _VOXEL.sub(lambda found: _TARGETS[geometry][found[0] == "voxels"], page)


def _number(value: Any, digits: int = 3) -> str:
    """A number with at most so many decimals; a question mark for what is none."""
    if not _is_finite_number(value):
        return "?"
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _significant(value: Any) -> str:
    """A number of any size, three digits of it."""
    return f"{value:,.3g}" if _is_finite_number(value) else "?"


def _of(value: float, whole: float) -> str:
    """A part of a drawing that is 1000 wide."""
    return f"{1000 * value / whole:.4g}"


def _count(value: Any) -> str:
    """A whole number; a question mark for what is none."""
    return f"{int(value):,}" if _is_finite_number(value) else "?"


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _value(value: Any) -> str:
    """Any JSON value as readable text."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    return str(value)


def _words(name: Any) -> str:
    """The key of a setting as words: the unit, if it ends in one, in brackets.

    >>> _words("high_pass_hz"), _words("n_permutations")
    ('high pass (Hz)', 'n permutations')
    """
    units = {"hz": "Hz", "s": "s", "mm": "mm", "mb": "MB"}
    parts = str(name).split("_")
    if len(parts) > 1 and parts[-1] in units:
        return f"{' '.join(parts[:-1])} ({units[parts[-1]]})"
    return " ".join(parts)


def _are_rows(value: Any) -> bool:
    """Whether a value is a table: a list of objects that are not themselves deep."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _objects(value: Any) -> list[dict[str, Any]]:
    return [_mapping(item) for item in _list(value) if isinstance(item, Mapping)]
