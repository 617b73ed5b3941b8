"""What was shown when: events.tsv files, and the table that stands in for them (`--stimulus-map`)."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bids_app.layouts import comparable
from bids_app.sidecars import check_content
from cinebold.errors import InputError

#: Suffixes of files that count as films; a row that names another kind of file is no film.
FILM_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split(),
)
_OTHER_KINDS = {
    "image": frozenset(".bmp .gif .jpeg .jpg .png .svg .tif .tiff .webp".split()),
    "audio": frozenset(".aac .aif .aiff .flac .m4a .mp3 .ogg .opus .wav .wma".split()),
    "text": frozenset(".csv .json .md .srt .tsv .txt .vtt".split()),
}
_ABSENT = frozenset({"", "n/a", "na", "nan"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
#: Optional columns of the map that say which runs a row is about, and the entity that each one is.
_MAP_ENTITIES = {"participant": "sub", "session": "ses", "task": "task", "run": "run"}
MAP_COLUMNS = "task, run, stim_file, onset, duration, clip_start; optional: session, participant"


@dataclass(frozen=True)
class Event:
    """One row of an events file."""

    line: int  #: in the file, the header being line 1
    onset_s: float
    duration_s: float | None = None  #: None: n/a
    stim_file: str | None = None  #: None: n/a
    clip_start_s: float = 0.0  #: the film time that is shown at the onset


@dataclass(frozen=True)
class MappedEvent:
    """One row of a stimulus map: an event, and the runs that it belongs to."""

    entities: dict[
        str, str
    ]  #: e.g. {"task": "movie", "run": "1"}; an entity that is not here matches every run
    event: Event


def read_events(path: str | Path) -> tuple[Event, ...]:
    """The rows of an events.tsv, in the order of the file.

    A row without onset is left out unless it names a stimulus: it is a note, not a showing. The column
    `clip_start`, which BIDS does not define, is read as in a stimulus map.

    Raises
    ------
    InputError : no table, no onset column, or a number that is none; the message names file and line.
    """
    path = Path(path)
    rows = _read_table(path, required=("onset",))
    events = (_event(path, line, row) for line, row in rows)
    return tuple(event for event in events if event is not None)


def read_stimulus_map(path: str | Path) -> tuple[MappedEvent, ...]:
    """The rows of a stimulus map: which film was shown when, for datasets whose events do not say.

    Tab-separated columns: task, stim_file and onset, and if wanted run, session, participant, duration and
    clip_start. n/a in task, run, session or participant matches every run; n/a in duration means until the
    film ends.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"the stimulus map {path} does not exist; correct the path given with --stimulus-map."
        )
    mapped = []
    for line, row in _read_table(path, required=("task", "stim_file", "onset")):
        if row.get("stim_file") is None:
            raise InputError(
                f"{path}, line {line}: stim_file is empty; every row of a stimulus map names a film."
            )
        event = _event(path, line, row)
        if event is None:
            raise InputError(
                f"{path}, line {line}: onset is empty; give the time in seconds from the first volume."
            )
        entities = {
            key: re.sub(rf"^{key}-", "", value)
            for column, key in _MAP_ENTITIES.items()
            if (value := row.get(column)) is not None
        }
        mapped.append(MappedEvent(entities, event))
    return tuple(mapped)


def read_beta_rows(path: str | Path) -> tuple[Event, ...]:
    """The rows of a table of responses that were made elsewhere: a row a map, in their order.

    `stim_file` is needed; `onset` and `duration` are read where they are, else a row's number stands for its time.

    Raises
    ------
    InputError : no table, no column stim_file, or a number that is none.
    """
    path = Path(path)
    return tuple(
        Event(
            line,
            float(number) if (onset_s := _seconds(path, line, "onset", row)) is None else onset_s,
            _seconds(path, line, "duration", row),
            row.get("stim_file"),
            _seconds(path, line, "clip_start", row) or 0.0,
        )
        for number, (line, row) in enumerate(_read_table(path, required=("stim_file",)))
    )


def events_of_run(mapped: Iterable[MappedEvent], entities: Mapping[str, str]) -> tuple[Event, ...]:
    """The rows of a stimulus map that belong to the run with these entities."""
    return tuple(
        row.event
        for row in mapped
        if all(
            key in entities and comparable(key, entities[key]) == comparable(key, value)
            for key, value in row.entities.items()
        )
    )


def kind_of_stimulus(stim_file: str | None) -> str:
    """What a stim_file is, by its suffix: "film", "image", "audio", "text", "other", or "none" for n/a.

    >>> kind_of_stimulus("train/0444.MP4"), kind_of_stimulus("a.wav"), kind_of_stimulus(None)
    ('film', 'audio', 'none')
    """
    if stim_file is None:
        return "none"
    suffix = PurePosixPath(stim_file.replace("\\", "/")).suffix.lower()
    if suffix in FILM_SUFFIXES:
        return "film"
    return next((kind for kind, suffixes in _OTHER_KINDS.items() if suffix in suffixes), "other")


def _event(path: Path, line: int, row: dict[str, str | None]) -> Event | None:
    """The event of a table row; None for a row without onset and without stimulus."""
    onset_s = _seconds(path, line, "onset", row)
    stim_file = row.get("stim_file")
    if onset_s is None:
        if stim_file is not None and kind_of_stimulus(stim_file) == "film":
            raise InputError(
                f"{path}, line {line}: the film {stim_file} has no onset; give the time in seconds."
            )
        return None
    duration_s = _seconds(path, line, "duration", row)
    clip_start_s = _seconds(path, line, "clip_start", row)
    for name, value in (("duration", duration_s), ("clip_start", clip_start_s)):
        if value is not None and value < 0:
            raise InputError(
                f"{path}, line {line}: {name} must not be negative, but is {value:g} s; correct the file."
            )
    return Event(line, onset_s, duration_s, stim_file, clip_start_s or 0.0)


def _seconds(path: Path, line: int, column: str, row: dict[str, str | None]) -> float | None:
    text = row.get(column)
    if text is None:
        return None
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path}, line {line}: {column} must be a number of seconds, but is {text!r}; correct the file."
        )
    return value


def _read_table(path: Path, required: tuple[str, ...]) -> list[tuple[int, dict[str, str | None]]]:
    """(line, row) of a tab-separated table; n/a, NaN and empty cells are None. Blank lines are skipped."""
    check_content(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    # Only these end a line: str.splitlines would also break at characters that may stand in a file name.
    lines = re.split(r"\r\n|\r|\n", text)
    header = [name.strip() for name in lines[0].split("\t")]
    for name in required:
        if name not in header:
            raise InputError(
                f"{path} has no column {name!r} (its header is {', '.join(map(repr, header))}); "
                "it must be a tab-separated table with a header."
            )
    named = [name for name in header if name]
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise InputError(f"{path} has the column {repeated[0]!r} more than once; remove one.")
    rows = []
    for line, content in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in content.split("\t")]
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}; correct it."
            )
        padded = cells + [""] * (len(header) - len(cells))
        rows.append(
            (
                line,
                {n: None if c.lower() in _ABSENT else c for n, c in zip(header, padded, strict=False) if n},
            )
        )
    return rows
