"""From the `stim_file` of an event to the film on disk."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bids_app.events import FILM_SUFFIXES, Event, kind_of_stimulus
from bids_app.sidecars import content_problem
from cinebold.errors import InputError
from workflows.specifications import Presentation

_SHOWN_NAMES = 3


@dataclass(frozen=True)
class Film:
    """A film that an event names."""

    path: Path | None  #: None: it is not here
    name: str  #: its path below stimuli/, with forward slashes; outputs carry it
    in_dataset: bool = True
    warning: str | None = None
    problem: str | None = None  #: why `path` is None, when it is more than "not found"


@dataclass
class FilmSearch:
    """Finds films and remembers what was found, what was not, and what was left out.

    The order: `stimuli/<stim_file>` in the dataset; `<stim_file>` itself where it begins with `stimuli/`, as
    some datasets wrongly write it; then `stimuli_dir`, by the same path or, with a warning, by the only equal
    file name.
    """

    bids_dir: Path
    stimuli_dir: Path | None = None
    found: dict[str, Film] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.bids_dir = Path(self.bids_dir).absolute()
        if self.stimuli_dir is not None:
            self.stimuli_dir = Path(self.stimuli_dir).absolute()
            if not self.stimuli_dir.is_dir():
                raise InputError(f"the folder of films {self.stimuli_dir} (--stimuli-dir) does not exist.")
        self._by_name: dict[str, list[Path]] | None = None

    def presentations(self, events: Iterable[Event]) -> tuple[tuple[Presentation, ...], tuple[str, ...]]:
        """The showings among a run's events, and warnings; rows that show no film are counted in `skipped`.

        A film that is not here has no showing; `problems` tells of it. Two rows with the same film are two
        showings, each from the film's start unless `clip_start` says otherwise.

        Raises
        ------
        InputError : a stim_file that leads out of the dataset.
        """
        shown, warnings = [], []
        for event in events:
            kind = kind_of_stimulus(event.stim_file)
            if kind != "film" or event.stim_file is None:
                self.skipped[kind] += 1
                continue
            film = self.find(event.stim_file)
            if film.path is None:
                continue
            duration_s = event.duration_s
            if duration_s == 0:
                duration_s = None
                warnings.append(f"{film.name} has the duration 0; it is taken as shown until it ends.")
            shown.append(
                Presentation(str(film.path), film.name, event.onset_s, duration_s, event.clip_start_s)
            )
        return tuple(shown), tuple(dict.fromkeys(warnings))

    def find(self, stim_file: str) -> Film:
        """The film of a `stim_file` value; looked for once."""
        if stim_file not in self.found:
            self.found[stim_file] = self._find(stim_file)
        return self.found[stim_file]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the films found so far."""
        return tuple(film.warning for film in self.found.values() if film.warning)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for the films that are missing, and one for each of the other kinds of trouble."""
        missing = sorted(
            film.name for film in self.found.values() if film.path is None and film.problem is None
        )
        others = [film.problem for film in self.found.values() if film.problem]
        sentences = []
        if missing:
            searched = str(self.bids_dir / "stimuli")
            remedy = "put them there or give their folder with --stimuli-dir"
            if self.stimuli_dir is not None:
                searched, remedy = f"{searched} or {self.stimuli_dir}", "put them into one of these folders"
            sentences.append(
                f"{len(missing)} of {len(self.found)} films that the events name were not found in "
                f"{searched} "
                f"({_some(missing)}); {remedy}."
            )
        if others:
            more = f" The same holds for {len(others) - 1} more of the films." if len(others) > 1 else ""
            sentences.append(others[0] + more)
        return tuple(sentences)

    def _find(self, stim_file: str) -> Film:
        relative = PurePosixPath(stim_file.replace("\\", "/"))
        if relative.is_absolute() or ".." in relative.parts or re.match(r"[A-Za-z]:", stim_file):
            raise InputError(
                f"the stim_file {stim_file!r} escapes the dataset {self.bids_dir}; it must be a path below "
                f"the "
                "folder stimuli/ of the dataset."
            )
        below = PurePosixPath(*relative.parts[1:]) if relative.parts[:1] == ("stimuli",) else relative
        candidates = [(self.bids_dir / "stimuli" / relative, relative)]
        if below != relative:
            candidates.append((self.bids_dir / relative, below))
        problem = None
        for path, name in candidates:
            if path.is_symlink() or path.exists():
                self._check_inside(path, stim_file)
                problem = content_problem(path)
                if problem is None:
                    return Film(path, name.as_posix())
        outside = self._find_outside(below)
        if outside is not None and (outside.path is not None or problem is None):
            return outside
        return Film(None, below.as_posix(), problem=problem)

    def _find_outside(self, name: PurePosixPath) -> Film | None:
        """The film in `stimuli_dir`; None when it is not there."""
        if self.stimuli_dir is None:
            return None
        path = self.stimuli_dir / name
        if not (path.is_symlink() or path.exists()):
            same = self._names_outside(self.stimuli_dir).get(name.name, [])
            if not same:
                return None
            if len(same) > 1:
                listed = _some([str(other.relative_to(self.stimuli_dir)) for other in same])
                return Film(
                    None,
                    name.as_posix(),
                    in_dataset=False,
                    problem=f"the film {name} could be {len(same)} files in {self.stimuli_dir} ({listed}); "
                    "remove all but one, or arrange the folder as the events name its files.",
                )
            path = same[0]
        self._check_inside(path, str(name))
        if problem := content_problem(path):
            return Film(None, name.as_posix(), in_dataset=False, problem=problem)
        by_name = path != self.stimuli_dir / name
        warning = f"the film {name} was found by its file name only, as {path}." if by_name else None
        return Film(path, name.as_posix(), in_dataset=False, warning=warning)

    def _names_outside(self, stimuli_dir: Path) -> dict[str, list[Path]]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in sorted(stimuli_dir.rglob("*")):
                hidden = any(part.startswith(".") for part in path.relative_to(stimuli_dir).parts)
                if path.suffix.lower() in FILM_SUFFIXES and not hidden:
                    self._by_name[path.name].append(path)
        return self._by_name

    def _check_inside(self, path: Path, stim_file: str) -> None:
        """Refuse a link that leads out of the dataset; DataLad's links into .git/annex are inside."""
        target = path.resolve()
        allowed = [self.bids_dir.resolve()]
        if self.stimuli_dir is not None:
            allowed.append(self.stimuli_dir.resolve())
        # In a subdataset, .git is a link into the superdataset, and so its annex lies above the dataset.
        for folder in (self.bids_dir, self.bids_dir / "stimuli"):
            allowed.append((folder / ".git").resolve() / "annex" / "objects")
        if not any(target.is_relative_to(folder) for folder in allowed):
            raise InputError(
                f"the stim_file {stim_file!r} escapes the dataset {self.bids_dir}: {path} is a link to "
                f"{target}; "
                "copy the film into the dataset, or give its folder with --stimuli-dir."
            )


def describe_skipped(skipped: Counter[str]) -> str | None:
    """One sentence for the rows of events that show no film; None when there are none.

    >>> describe_skipped(Counter(none=4, image=1))
    '5 event rows show no film and were left out (4 without a stim_file, 1 image).'
    """
    words = {"none": "without a stim_file", "other": "of another kind"}
    parts = [f"{count} {words.get(kind, kind)}" for kind, count in skipped.most_common() if count]
    if not parts:
        return None
    return f"{sum(skipped.values())} event rows show no film and were left out ({', '.join(parts)})."


def _some(names: list[str]) -> str:
    """The first few names."""
    more = f", and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
