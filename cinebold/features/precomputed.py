"""Columns that a user already has for a film: annotations, features of other programs."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os.path import normpath
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.features.bins import BinAverage
from cinebold.features.column_files import ColumnFormat, Columns, files_of, read_columns
from cinebold.features.parameters import parameters_from, require
from cinebold.features.series import FeatureSeries
from cinebold.files import file_sha256
from cinebold.video.decoding import FilmInfo, check_is_content
from cinebold.video.windows import TIME_TOLERANCE_S

_NAME = "precomputed"
_FIELDS = ("stem", "name", "parent")
#: Steps that differ from their median by less than this share of it count as equal: times are often rounded.
_EQUAL_STEPS = 0.1


@dataclass(frozen=True)
class PrecomputedParameters:
    """Which file, and what in it is what."""

    #: relative to the film's folder, or absolute; {stem}, {name} and {parent} are those of the film: for
    #: clips/a.mp4 they are a, a.mp4 and clips
    file: str = "{stem}_stim.tsv.gz"
    columns: tuple[str, ...] = ()  #: in this order; none: all
    time_column: str = "time_s"  #: of a CSV or TSV file
    sampling_hz: float = 0.0  #: above 0: the file holds no times, its rows come at this rate
    start_s: float = 0.0  #: the film time of the first row, with sampling_hz
    align: str = "centre"  #: what a time is of the stretch that its row describes: "centre", "start" or "end"
    hop_s: float = 0.5  #: width of the bins over which rows at unequal steps are averaged
    h5_values: str = "values"  #: datasets of an HDF5 file
    h5_times: str = "times_s"
    h5_names: str = "names"

    def __post_init__(self) -> None:
        require(_NAME, bool(self.file), "file must name a file", self.file)
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.file) if field is not None]
        except ValueError:
            fields = [self.file]
        allowed = ", ".join(f"{{{field}}}" for field in _FIELDS)
        require(_NAME, set(fields) <= set(_FIELDS), f"file may hold {allowed} and no other braces", self.file)
        require(_NAME, self.sampling_hz >= 0, "sampling_hz must not be negative", self.sampling_hz)
        is_stim = self.file.endswith("_stim.tsv.gz")
        require(
            _NAME,
            not (is_stim and self.sampling_hz),
            "the sidecar of a _stim.tsv.gz has its rate: leave sampling_hz out",
            self.sampling_hz,
        )
        require(_NAME, self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        choices = ("centre", "start", "end")
        require(_NAME, self.align in choices, f"align must be one of {', '.join(choices)}", self.align)

    def form(self) -> ColumnFormat:
        """Where times, values and names are in the file."""
        return ColumnFormat(
            self.time_column, self.sampling_hz, self.start_s, self.h5_values, self.h5_times, self.h5_names
        )


class Precomputed:
    """The columns of a file that belongs to the film; nothing is computed from its frames.

    Rows at equal steps stay at their times. Rows at unequal steps are averaged over bins of `hop_s`, each for as
    long as it stands: to the next row or from the one before (`align`), or half way to both. Where rows begin late
    or end early, the first and the last stand for the rest of the film, with a warning.
    """

    name = _NAME
    version = 1
    needs_frames = False

    def __init__(
        self, parameters: PrecomputedParameters, *, film: str | Path | None = None, **_: Any
    ) -> None:
        self.parameters = parameters
        self.file = None if film is None else column_file(parameters.file, Path(film))
        self._columns: Columns | None = None

    @staticmethod
    def check_parameters(given: Mapping[str, Any]) -> PrecomputedParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(PrecomputedParameters, _NAME, given)

    def for_film(self, film: Path) -> "Precomputed":
        """The extractor of that film's file; InputError when there is none."""
        bound = Precomputed(self.parameters, film=film)
        for path in bound.files():
            check_is_content(path, f"the precomputed columns of {film.name}")
        return bound

    def files(self) -> tuple[Path, ...]:
        """The film's file, and the sidecar of a BIDS table."""
        if self.file is None:
            raise RuntimeError("Precomputed columns are those of a film: ask `for_film` first.")
        return files_of(self.file)

    def columns(self) -> Columns:
        """What the file holds; read once."""
        if self._columns is None:
            path, *_ = self.files()
            self._columns = read_columns(path, self.parameters.columns, self.parameters.form())
        return self._columns

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film: what the file holds, not where it lies."""
        parameters = asdict(self.parameters)
        del parameters["file"]
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": parameters,
            "content_sha256": [file_sha256(path) for path in self.files()],
        }

    def start(self, info: FilmInfo) -> "PrecomputedAccumulator":
        """An accumulator for one film."""
        bound = self if self.file is not None else self.for_film(Path(info.path))
        bound.columns()
        return PrecomputedAccumulator(bound, info)


class PrecomputedAccumulator:
    """Asks for no frames."""

    def __init__(self, extractor: Precomputed, info: FilmInfo) -> None:
        self._extractor, self._info = extractor, info

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """A frame changes nothing."""

    def finish(self) -> FeatureSeries:
        """The columns in film time."""
        extractor, info = self._extractor, self._info
        parameters, columns = extractor.parameters, extractor.columns()
        path, *_ = extractor.files()
        notes = _check_times(path, columns.times_s, info)
        times_s, values = columns.times_s, columns.values
        pad_fraction = np.zeros(len(times_s), np.float32)
        steps_s = np.diff(times_s)
        step_s = float(np.median(steps_s)) if len(steps_s) else 0.0
        equal = bool((np.abs(steps_s - step_s) <= _EQUAL_STEPS * step_s).all())
        if equal:
            times_s = times_s + {"centre": 0.0, "start": 0.5, "end": -0.5}[parameters.align] * step_s
        else:
            bins = BinAverage(parameters.hop_s, info.duration_s, values.shape[1])
            edges_s = _edges_s(times_s, parameters.align, info.duration_s)
            for begin_s, end_s, row in zip(edges_s[:-1], edges_s[1:], values, strict=True):
                bins.add(begin_s, end_s, row)
            times_s, values, pad_fraction = bins.times_s, bins.means(), bins.pad_fraction
        window = {
            "rule": "as in the file" if equal else "bins",
            "hop_s": step_s if equal else parameters.hop_s,
        }
        return FeatureSeries(
            values=values.astype(np.float32),
            times_s=times_s,
            names=columns.names,
            pad_fraction=pad_fraction,
            film_duration_s=info.duration_s,
            provenance={
                **extractor.fingerprint(),
                "window": window,
                "file": path.name,
                "warnings": notes,
            },
        )


def column_file(pattern: str, film: Path) -> Path:
    """The file that the pattern means for a film.

    A relative pattern starts from the film's folder and stays in its dataset, the nearest folder above with a
    `dataset_description.json`; without one, in the film's folder. An absolute one is the user's own word.

    Raises
    ------
    InputError
        When the file lies outside the dataset, or is a link that leads out of it.
    """
    folder = Path(normpath(film.absolute().parent))
    path = Path(pattern.format(stem=film.stem, name=film.name, parent=folder.name))
    if path.is_absolute():
        return path
    path = Path(normpath(folder / path))
    dataset = next(
        (f for f in (folder, *folder.parents) if (f / "dataset_description.json").is_file()), folder
    )
    # DataLad's links lead into .git/annex, of a subdataset perhaps into that of the dataset above it.
    allowed = [dataset.resolve(), *((f / ".git").resolve() / "annex" / "objects" for f in (folder, dataset))]
    if not path.is_relative_to(dataset) or not any(path.resolve().is_relative_to(one) for one in allowed):
        raise InputError(
            f"{film}: its precomputed columns {path} lie outside {dataset}; copy them into it, or give `file` as "
            "an absolute path."
        )
    return path


def _edges_s(times_s: np.ndarray, align: str, duration_s: float) -> np.ndarray:
    """Where each row begins and the last ends; the first and the last reach to the ends of the film."""
    inner_s = {
        "centre": (times_s[1:] + times_s[:-1]) / 2,
        "start": times_s[1:],
        "end": times_s[:-1],
    }[align]
    return np.concatenate([[min(0.0, inner_s[0])], inner_s, [max(duration_s, inner_s[-1])]])


def _check_times(file: Path, times_s: np.ndarray, info: FilmInfo) -> list[str]:
    """Refuse times that are not this film's; say where rows are missing at its ends, without the folder."""
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else info.duration_s
    slack_s = step_s + TIME_TOLERANCE_S
    first_s, last_s = times_s[0], times_s[-1]
    extent = (
        f"its rows are from {first_s:g} to {last_s:g} s, but the film {Path(info.path).name} is from 0 to "
        f"{info.duration_s:g} s"
    )
    if first_s < -slack_s or last_s > info.duration_s + slack_s:
        raise InputError(
            f"{file}: {extent}; times are in seconds from the film's start: are they another film's?"
        )
    if first_s <= slack_s and last_s >= info.duration_s - slack_s:
        return []
    note = f"{extent}; the first and the last row stand for the rest."
    warnings.warn(f"{file}: {note}", stacklevel=2)
    return [f"{file.name}: {note}"]
