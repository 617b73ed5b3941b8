"""What a user asks for: participants, sessions, tasks, runs, a space. And who is there."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_app.datasets import check_raw_dataset
from bids_app.layouts import BidsFile, comparable
from bids_app.spaces import is_surface, space_entity
from bids_app.surface_files import is_surface_series
from cinebold.errors import InputError, SettingError

logger = logging.getLogger(__name__)

#: The names of entities in a filter file (pybids) and in file names.
_FILTER_ENTITIES = {
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
}
#: What a filter file made for fMRIPrep says of raw BOLD files, and what has no meaning for preprocessed ones.
_IGNORED_ENTITIES = frozenset({"datatype", "suffix", "extension", "echo", "part", "scope"})
#: Queries of fMRIPrep that are not about functional runs.
_IGNORED_QUERIES = frozenset({"fmap", "sbref", "flair", "t2w", "t1w", "roi", "dwi", "asl", "pet"})


@dataclass(frozen=True)
class Selection:
    """Which part of a dataset is wanted. Labels carry no "task-" and the like; None means all."""

    participants: tuple[str, ...] | None = None
    sessions: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    space: str | None = (
        "MNI152NLin2009cAsym"  #: None or "func": the BOLD's own space, without `space` in the name
    )
    resolution_entity: str | None = (
        None  #: `res` of the input files; "native": without `res`; None: whatever is there
    )
    density: str | None = None  #: `den` of surfaces and grayordinates; None: whatever is there
    filters: dict[str, Any] = field(default_factory=dict)  #: a parsed --bids-filter-file

    def has_run(self, file: BidsFile) -> bool:
        """Whether the file belongs to a run that is wanted."""
        return all(
            key in file.entities
            and comparable(key, file.entities[key]) in {comparable(key, x) for x in labels}
            for _, key, labels in self.requested()
        ) and all(_fits(file, key, value) for key, value in self._bold_filter())

    def has_space(self, file: BidsFile) -> bool:
        """Whether the file is in the space, and on the grid or surface, that is wanted."""
        if is_surface_series(file):
            space, density = file.entities.get("space"), file.entities.get("den")
            return is_surface(space, density, self.space_entity, self.density)
        if self.density is not None:
            return False
        if not file.has(space=self.space_entity):
            return False
        if self.resolution_entity is None:
            return True
        return file.has(res=None if self.resolution_entity == "native" else self.resolution_entity)

    @property
    def space_entity(self) -> str | None:
        """The value of `space` in file names."""
        return space_entity(self.space)

    def requested(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """(option, entity, labels) of what was asked for."""
        for option, key, labels in (
            ("--session-label", "ses", self.sessions),
            ("--task-id", "task", self.tasks),
            ("--run-id", "run", self.runs),
        ):
            if labels is not None:
                yield option, key, tuple(label.removeprefix(f"{key}-") for label in labels)

    def describe_runs(self) -> str:
        """The filters in words."""
        words = [f"{option} {' '.join(labels)}" for option, _, labels in self.requested()]
        words += ["--bids-filter-file"] if self.filters else []
        return ", ".join(words) or "none"

    def _bold_filter(self) -> Iterator[tuple[str, Any]]:
        """(entity, wanted value) of the filter file's "bold" query."""
        for query, wanted in self.filters.items():
            if query in _IGNORED_QUERIES:
                continue
            if query != "bold" or not isinstance(wanted, dict):
                raise SettingError(
                    f"the BIDS filter file has the query {query!r}, which is not known; "
                    'the runs are chosen by {"bold": {entity: value}}.'
                )
            for name, value in wanted.items():
                key = _FILTER_ENTITIES.get(name, name if name in _FILTER_ENTITIES.values() else None)
                if key is not None:
                    yield key, value
                elif name not in _IGNORED_ENTITIES:
                    remedy = (
                        "; choose it with --output-spaces" if name in ("space", "resolution", "res") else ""
                    )
                    raise SettingError(
                        f"the BIDS filter file filters BOLD by {name!r}, but runs can be chosen by "
                        f"{', '.join(_FILTER_ENTITIES)} only{remedy}."
                    )


def find_participants(
    bids_dir: str | Path, derivatives_dir: str | Path | None, selection: Selection
) -> tuple[str, ...]:
    """The labels, without "sub-", of the participants that are wanted, sorted; only folder names are read.

    All participants of the raw dataset are wanted when none was named; who has no derivatives is told in a
    log line now, and is a problem when the participant is collected.

    Raises
    ------
    SettingError : a label was asked for that is not in the raw dataset.
    InputError : the dataset has no participants.
    """
    bids_dir = check_raw_dataset(bids_dir)
    existing = _labels(bids_dir)
    if not existing:
        raise InputError(f"the dataset {bids_dir} has no folders sub-*; give the folder that holds them.")
    if selection.participants is None:
        wanted = existing
    else:
        wanted = tuple(sorted({label.removeprefix("sub-") for label in selection.participants}))
        if unknown := [label for label in wanted if label not in existing]:
            raise SettingError(
                f"--participant-label names {', '.join(unknown)}, who "
                f"{'is' if len(unknown) == 1 else 'are'} not in "
                f"{bids_dir}; there are {', '.join(existing)}."
            )
    if derivatives_dir is not None:
        preprocessed = _labels(Path(derivatives_dir))
        if absent := [label for label in wanted if label not in preprocessed]:
            logger.warning("no derivatives in %s for %s", derivatives_dir, ", ".join(absent))
    return wanted


def read_filters(path: str | Path | None) -> dict[str, Any]:
    """The content of a --bids-filter-file, as it stands there; empty when there is none.

    Raises
    ------
    SettingError : the file does not exist or is not a JSON object of queries.
    """
    if path is None:
        return {}
    path = Path(path)
    if not path.is_file():
        raise SettingError(f"the BIDS filter file {path} does not exist; correct the path.")
    try:
        filters = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingError(f"the BIDS filter file {path} is not valid JSON ({error}); correct it.") from error
    if not isinstance(filters, dict):
        raise SettingError(
            f"the BIDS filter file {path} must hold a JSON object, "
            'such as {"bold": {"task": "movie"}}; correct it.'
        )
    return filters


def _labels(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name.removeprefix("sub-") for path in folder.glob("sub-*") if path.is_dir()))


def _fits(file: BidsFile, key: str, wanted: Any) -> bool:
    """Whether an entity fits a filter: null for absence, "*" for presence, a value, or a list of these.

    pybids's Query.NONE, Query.ANY and Query.OPTIONAL, into which fMRIPrep turns them, are understood as well.
    """
    if isinstance(wanted, list | tuple):
        return any(_fits(file, key, one) for one in wanted)
    name = getattr(wanted, "name", None)
    if wanted is None or name == "NONE":
        return key not in file.entities
    if name == "OPTIONAL":
        return True
    if wanted == "*" or name in ("ANY", "REQUIRED"):
        return key in file.entities
    return file.has(**{key: str(wanted).removeprefix(f"{key}-")})
