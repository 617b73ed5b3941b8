"""Which files of a dataset belong to the participants that were asked for, and what their names say.

pybids walks the folders, and only those of the requested participants. Files are then matched by the entities
of their names, in any order, and never by string templates: fMRIPrep has changed the order of entities more
than once.
"""

import hashlib
import logging
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinebold.errors import InputError, SettingError

logger = logging.getLogger(__name__)

#: What tells several versions of one run apart; everything else in a name says which run it is.
VERSION_ENTITIES = frozenset({"space", "cohort", "res", "den", "hemi", "desc", "echo", "part", "label"})
IMAGE_EXTENSIONS = (".nii.gz", ".nii")
_NAME_PIECE = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_COUNTED = frozenset({"run", "echo"})


@dataclass(frozen=True)
class BidsFile:
    """A file whose name follows BIDS: `key-value` pieces, a suffix, an extension.

    >>> parse_name("sub-01/func/sub-01_task-movie_run-02_bold.nii.gz").entities
    {'sub': '01', 'task': 'movie', 'run': '02'}
    >>> parse_name("sub-01_task-movie_desc-preproc-interpTR1s_bold.nii.gz") is None  # not a BIDS name
    True
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    extension: str

    def has(self, **entities: str | None) -> bool:
        """Whether the entities have these values; None asks for their absence."""
        return all(
            (key in self.entities) is (value is not None)
            and (value is None or comparable(key, self.entities[key]) == comparable(key, value))
            for key, value in entities.items()
        )

    @property
    def run_entities(self) -> dict[str, str]:
        """The entities that say which run this is, without those of its versions (space, res, desc, ...)."""
        return {key: value for key, value in self.entities.items() if key not in VERSION_ENTITIES}

    @property
    def run_key(self) -> tuple[tuple[str, str], ...]:
        """The same for all files of one run, whatever the order of entities or the zeros before an index."""
        return run_key(self.run_entities)


def run_label(file: BidsFile) -> str:
    """A run's name among the runs of its participant, e.g. "ses-01_task-movie_run-1"."""
    return "_".join(f"{key}-{value}" for key, value in file.run_entities.items() if key != "sub")


def run_key(entities: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The entities of a run in a form that can be compared.

    >>> run_key({"task": "movie", "run": "01"}) == run_key({"run": "1", "task": "movie"})
    True
    """
    return tuple(sorted((key, comparable(key, value)) for key, value in entities.items()))


def comparable(key: str, value: str) -> str:
    """An entity's value as it is compared: `run-01` and `run-1` are the same run.

    >>> comparable("run", "01"), comparable("sub", "01")
    ('1', '01')
    """
    return str(int(value)) if key in _COUNTED and value.isdecimal() else value


def parse_name(path: str | Path) -> BidsFile | None:
    """The entities of a file name, or None when the name is not made as BIDS names are."""
    path = Path(path)
    stem, dot, extension = path.name.partition(".")
    *pieces, suffix = stem.split("_")
    matches = [_NAME_PIECE.fullmatch(piece) for piece in pieces]
    if not dot or not suffix.isalnum() or not all(matches):
        return None
    entities = {match[1]: match[2] for match in matches if match}
    if len(entities) != len(pieces):
        return None
    return BidsFile(path, entities, suffix, "." + extension)


def index_files(
    root: str | Path, participants: Sequence[str], *, database_dir: str | Path | None = None
) -> tuple[BidsFile, ...]:
    """The files of a dataset that pybids finds at its root and in the folders of the participants.

    Parameters
    ----------
    root : dataset, raw or derivative.
    participants : labels without "sub-"; nobody else's folder is opened.
    database_dir : where the index is kept for the next run; a kept index is used as it is, so delete it when
        the dataset has changed. None: index in memory, always fresh.
    """
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    root = Path(root).absolute()
    started = time.perf_counter()
    wanted = "|".join(re.escape(participant) for participant in sorted(participants))
    others = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("sub-")]
    ignore = [re.compile(rf"^/sub-(?!(?:{wanted})(?:/|$))[^/]*$"), re.compile(r"/(?:figures|log)(?:/|$)")]
    if others:
        ignore.append(re.compile(rf"^/(?:{'|'.join(map(re.escape, sorted(others)))})(?:/|$)"))
    kept = None
    if database_dir is not None:
        digest = hashlib.sha256(f"{root}\n{wanted}".encode()).hexdigest()[:16]
        kept = Path(database_dir).absolute() / f"{root.name}-{digest}"
    if kept is not None and kept.is_dir():
        layout = BIDSLayout(root, validate=False, database_path=str(kept))
    else:
        # Reading every sidecar is what makes pybids slow (pybids#970); the few that matter are read by hand.
        indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
        layout = BIDSLayout(root, validate=False, config=["bids", "derivatives"], indexer=indexer)
        if kept is not None:
            _keep(layout, kept)
    names = sorted(layout.get(return_type="filename"))
    logger.info("indexed %d files of %s in %.2f s", len(names), root, time.perf_counter() - started)
    return tuple(file for file in map(parse_name, names) if file is not None)


def inherited(
    files: Iterable[BidsFile], entities: Mapping[str, str], folder: Path, suffix: str, extension: str
) -> list[BidsFile]:
    """The files that apply to a data file by the inheritance principle of BIDS, from the root downwards.

    A file applies when it lies in `folder` or above it and has no entity that the data file lacks or has
    otherwise. Within one folder the more specific file comes later.
    """
    target = dict(run_key(entities))
    found = [
        file
        for file in files
        if file.suffix == suffix
        and file.extension == extension
        and (file.path.parent == folder or file.path.parent in folder.parents)
        and all(target.get(key) == value for key, value in run_key(file.entities))
    ]
    return sorted(found, key=lambda file: (len(file.path.parts), len(file.entities), file.path.name))


def only(files: Sequence[BidsFile], what: str, remedy: str) -> BidsFile:
    """The only one of the candidates.

    Raises
    ------
    InputError : there is none, or there are several, which are listed.
    """
    if len(files) == 1:
        return files[0]
    if not files:
        raise InputError(f"no {what} was found; {remedy}.")
    listed = ", ".join(sorted(file.path.name for file in files))
    raise InputError(f"{len(files)} files could be the {what} ({listed}); {remedy}.")


def _keep(layout: Any, folder: Path) -> None:
    """Save an index under its name in one step, so that jobs that run at once never read half of one."""
    temporary = folder.with_name(f".{uuid.uuid4().hex[:12]}.{folder.name}")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise SettingError(
            f"the folder {folder.parent} (--bids-database-dir) cannot be written to ({error}); choose another."
        ) from error
    layout.save(str(temporary), replace_connection=False)  # the file is renamed under its feet
    try:
        temporary.replace(folder)
    except OSError:
        logger.info("another job has kept the index %s meanwhile", folder)
        for file in temporary.iterdir():
            file.unlink()
        temporary.rmdir()
