"""What a page is made of: summaries, figures, lists of figures and crash files in the output directory."""

import json
import re
import struct
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SUMMARY_ENDING = "_desc-summary_report.json"
_LISTING_ENDING = "_desc-figures_report.json"
_CRASH_CHARACTERS = 20_000  #: of a crash file that are shown: its end, where the error is
_CRASH_FILES = 25  #: whose text is shown; a page with more would be too big to open
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Reportlet:
    """A figure as the page shows it, or the reason why it is missing."""

    key: str
    texts: Mapping[str, str]  #: heading, alt and caption, as templates
    values: Mapping[str, Any]  #: what the texts may refer to
    url: str = ""  #: relative to the page; empty when the figure is missing
    width: int = 0
    height: int = 0
    reason: str = ""
    folded: bool = False  #: shown on a click only


@dataclass(frozen=True)
class Section:
    """A section of figures."""

    id: str
    title: str
    introduction: str
    reportlets: tuple[Reportlet, ...]


@dataclass(frozen=True)
class AnalysisFiles:
    """All that the page shows of one analysis (a recipe in a space)."""

    name: str  #: the file name's beginning that its files share
    summary: dict[str, Any]
    problem: str  #: why the summary could not be read; empty when it could
    sections: dict[str, Section] = field(default_factory=dict)


@dataclass(frozen=True)
class CrashFile:
    """A crash file with the end of its text."""

    path: str
    text: str


def collect_analyses(
    output_dir: Path, figure_dirs: Iterable[Path], specification: str
) -> list[AnalysisFiles]:
    """The analyses whose summary or figures lie in `figure_dirs`, by name.

    `specification` is the file in templates/ that lists the sections, e.g. "participant.toml".
    """
    text = (resources.files("bids_app.report") / "templates" / specification).read_text(encoding="utf-8")
    sections = tomllib.loads(text)["section"]
    found: dict[Path, None] = {}
    for directory in sorted(figure_dirs):
        for ending in (_SUMMARY_ENDING, _LISTING_ENDING):
            for path in sorted(directory.glob(f"*{ending}")):
                found[directory / path.name.removesuffix(ending)] = None
    analyses = []
    for prefix in sorted(found):
        summary, problem = read_object(prefix.with_name(prefix.name + _SUMMARY_ENDING))
        listing, _ = read_object(prefix.with_name(prefix.name + _LISTING_ENDING))
        collected = {s["id"]: collect_section(s, output_dir, prefix, listing, summary) for s in sections}
        analyses.append(AnalysisFiles(prefix.name, summary, problem, collected))
    return analyses


def collect_crashes(output_dir: Path, label: str) -> tuple[list[CrashFile], int]:
    """The crash files of the last run in logs/<label>, and how many more there are than are shown.

    What an earlier run could not do and the last one could is no error any more.
    Pickled crash files are named, never opened: a pickle can run code.
    """
    runs = [folder for folder in (output_dir / "logs" / label).glob("*") if folder.is_dir()]
    last = max(runs, key=lambda folder: (folder.stat().st_mtime_ns, folder.name), default=None)
    paths = sorted(path for path in last.glob("**/crash*") if path.is_file()) if last else []
    crashes = []
    for path in paths[:_CRASH_FILES]:
        if path.suffix in {".pklz", ".pkl", ".gz"}:
            text = "(a binary file; read it with nipypecli crash)"
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
            if len(text) > _CRASH_CHARACTERS:
                text = "[...]\n" + text[-_CRASH_CHARACTERS:]
        crashes.append(CrashFile(path.relative_to(output_dir).as_posix(), text))
    return crashes, max(0, len(paths) - _CRASH_FILES)


def collect_section(
    section: Mapping[str, Any],
    output_dir: Path,
    prefix: Path,
    listing: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> Section:
    """The figures of one section: those drawn, those listed as not made, and those that should be there.

    Parameters
    ----------
    section : as the specification has it
    prefix : what the paths of the figures start with
    listing : what was drawn and why something was not, as `FigureSet` wrote it
    """
    drawn, reasons = (listing.get(name) for name in ("figures", "not_made"))
    listed = isinstance(drawn, dict)
    drawn = drawn if listed else {}
    reasons = reasons if isinstance(reasons, dict) else {}
    start, ending = f"{prefix.name}_desc-", "_figure.png"
    on_disk = {
        path.name[len(start) : -len(ending)]: path
        for path in prefix.parent.iterdir()
        if path.name.startswith(start) and path.name.endswith(ending)
    }
    if listed:  # what an earlier analysis left there is not shown
        on_disk = {key: path for key, path in on_disk.items() if key in drawn}
    reportlets = []
    for texts in section["reportlet"]:
        pattern = re.compile(texts["key"])
        keys = sorted({key for key in (*on_disk, *drawn, *reasons) if pattern.fullmatch(key)}, key=_natural)
        if not keys and not texts.get("optional", False):
            keys = [texts.get("sample", texts["key"])]
        for number, key in enumerate(keys):
            folded = number > 0 and bool(texts.get("fold_others", False))
            facts = drawn.get(key)
            match = pattern.fullmatch(key)
            values = {
                **match.groupdict(),
                "facts": facts if isinstance(facts, dict) else {},
                "summary": summary,
            }
            size = png_size(on_disk[key]) if key in on_disk else None
            if size is not None:
                url = quote(on_disk[key].relative_to(output_dir).as_posix())
                reportlets.append(Reportlet(key, texts, values, url, *size, folded=folded))
            else:
                reason = "its file is not a readable PNG" if key in on_disk else "there is no such file"
                reportlets.append(Reportlet(key, texts, values, reason=str(reasons.get(key, reason))))
    return Section(section["id"], section["title"], section.get("introduction", ""), tuple(reportlets))


def png_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file in pixels, from its header; None when it has none."""
    with open(path, "rb") as stream:
        header = stream.read(24)
    if len(header) < 24 or not header.startswith(_PNG_SIGNATURE) or header[12:16] != b"IHDR":
        return None
    return struct.unpack(">II", header[16:24])


def _natural(key: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object in a file, and the sentence that says why there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"The summary {path.name} is not there: the analysis did not finish."
    except (OSError, ValueError) as error:
        return (
            {},
            f"The summary {path.name} cannot be read ({error}); run the analysis of this participant again.",
        )
    if not isinstance(content, dict):
        return {}, f"The summary {path.name} must hold a JSON object, but holds something else."
    return content, ""
