"""Tables of columns over time: BIDS `_stim.tsv.gz`, CSV and TSV with a header, HDF5."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.files import read_json
from cinebold.video.decoding import check_is_content

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_HDF5 = (".h5", ".hdf5")
#: What a table in text writes for a value that is not there.
_ABSENT = ("", "n/a", "nan", "na", "null", "none")


@dataclass(frozen=True)
class ColumnFormat:
    """Where times, values and names are in a file."""

    time_column: str = "time_s"  #: of a CSV or TSV file
    sampling_hz: float = 0.0  #: above 0: rows come at this rate, and the file need not hold times
    start_s: float = 0.0  #: the time of the first row, with `sampling_hz`
    values: str = "values"  #: dataset of an HDF5 file, (n_rows, n_columns)
    times: str = "times_s"  #: dataset of an HDF5 file, (n_rows,)
    names: str = "names"  #: dataset of an HDF5 file, (n_columns,); where it is absent columns are numbered


@dataclass(frozen=True, eq=False)
class Columns:
    """What a file holds."""

    values: np.ndarray  #: (n_rows, n_columns) float64, finite
    times_s: np.ndarray  #: (n_rows,) ascending
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Table:
    columns: dict[str, np.ndarray]  #: those that were read
    times_s: np.ndarray
    names: list[str]  #: of all columns that could be asked for
    word: str  #: what a row is called
    numbers: Sequence[int]  #: of the rows


def files_of(path: Path) -> tuple[Path, ...]:
    """The file and, of a BIDS `_stim.tsv.gz`, the sidecar that says what its columns are."""
    if path.name.endswith("_stim.tsv.gz"):
        return path, path.with_name(path.name.removesuffix(".tsv.gz") + ".json")
    return (path,)


def read_columns(path: Path, columns: Sequence[str], form: ColumnFormat) -> Columns:
    """Read a table; the kind of file is told by its name.

    Parameters
    ----------
    columns : the names of those that are wanted, in this order; empty: all but the times

    Raises
    ------
    InputError
        When the file is missing or not such a table, a value is absent or not finite, times do not rise, or a
        column that is asked for is not there; the message names the first line (of text, the header is line 1)
        or row (of other tables, counted from 1).
    """
    for one in files_of(path):
        check_is_content(one, "a file of feature columns")
    suffix = path.name.removesuffix(".gz")
    suffix = suffix[suffix.rfind(".") :].lower()
    if path.name.endswith("_stim.tsv.gz"):
        table = _read_stim(path, columns)
    elif suffix in _DELIMITERS:
        table = _read_text(path, _DELIMITERS[suffix], form, columns)
    elif suffix in _HDF5:
        table = _read_hdf5(path, form)
    else:
        raise InputError(
            f"{path}: expected feature columns in a file .tsv, .csv (also .gz), .h5 or .hdf5, found {suffix!r}."
        )
    return _checked(path, table, columns)


def _checked(path: Path, table: _Table, columns: Sequence[str]) -> Columns:
    missing = [name for name in columns if name not in table.names]
    if missing:
        raise InputError(f"{path}: there is no column {missing[0]!r}; there are {_some(table.names)}.")
    names, times_s = tuple(columns) or tuple(table.names), table.times_s
    if not names or not len(times_s):
        raise InputError(f"{path}: expected a row and a feature column at least, found none.")
    values = np.stack([table.columns[name] for name in names], axis=1)
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{path}: {table.word} {table.numbers[row]} has no finite number in the column {names[column]!r} "
            f"({values[row, column]:g}), and {len(np.unique(bad[:, 0]))} of {len(values)} rows lack one; fill "
            "the gaps or leave the column out with `columns`."
        )
    late = np.flatnonzero(~(np.diff(times_s, prepend=-np.inf) > 0) | ~np.isfinite(times_s))
    if len(late):
        at = late[0]
        raise InputError(
            f"{path}: times must rise from row to row, and {table.word} {table.numbers[at]} has "
            f"{times_s[at]:g} s" + (f" after {times_s[at - 1]:g} s." if at else ".")
        )
    return Columns(values, times_s, names)


def _read_stim(path: Path, wanted: Sequence[str]) -> _Table:
    sidecar = files_of(path)[1]
    try:
        about = read_json(sidecar)
        sampling_hz, start_s = float(about["SamplingFrequency"]), float(about["StartTime"])
        names = [str(name) for name in about["Columns"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{sidecar}: expected JSON with SamplingFrequency, StartTime and Columns for {path.name}, found "
            f"{_reason(error)}."
        ) from error
    if not sampling_hz > 0:
        raise InputError(f"{sidecar}: SamplingFrequency must be above 0 Hz; found {sampling_hz:g}.")
    columns, _, lines = _read_table(path, "\t", names, wanted)
    return _Table(columns, start_s + np.arange(len(lines)) / sampling_hz, names, "line", lines)


def _read_text(path: Path, delimiter: str, form: ColumnFormat, wanted: Sequence[str]) -> _Table:
    wanted = (*wanted, form.time_column) if wanted else ()
    times = None if form.sampling_hz else form.time_column
    columns, header, lines = _read_table(path, delimiter, None, wanted, times)
    times_s = columns.pop(form.time_column, None)
    if form.sampling_hz:
        times_s = form.start_s + np.arange(len(lines)) / form.sampling_hz
    names = [name for name in header if name != form.time_column]
    return _Table(columns, times_s, names, "line", lines)


def _read_hdf5(path: Path, form: ColumnFormat) -> _Table:
    import h5py

    def numbers(file: Any, name: str) -> np.ndarray:
        if name not in file or not isinstance(file[name], h5py.Dataset):
            raise InputError(f"{path}: there is no dataset {name!r}; there are {_some(_datasets(file))}.")
        return np.asarray(file[name][()], dtype=np.float64)

    try:
        with h5py.File(path, "r") as file:
            values = numbers(file, form.values)
            values = values[:, np.newaxis] if values.ndim == 1 else values
            if form.sampling_hz:
                times_s = form.start_s + np.arange(len(values)) / form.sampling_hz
            else:
                times_s = numbers(file, form.times)
            names = [f"column {index:04d}" for index in range(values.shape[-1])]
            if form.names in file:
                names = [str(name) for name in file[form.names].asstr()[()]]
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: expected an HDF5 file of numbers, found {_reason(error)}.") from error
    if values.ndim != 2 or times_s.shape != values.shape[:1] or len(names) != values.shape[1]:
        raise InputError(
            f"{path}: expected values (n_rows, n_columns), a time a row and a name a column, found "
            f"{values.shape}, {times_s.shape} and {len(names)} names."
        )
    _check_names(path, names)
    columns = dict(zip(names, values.T, strict=True))
    return _Table(columns, times_s, names, "row", range(1, len(values) + 1))


def _read_table(
    path: Path,
    delimiter: str,
    names: Sequence[str] | None,
    wanted: Sequence[str],
    times: str | None = None,
) -> tuple[dict[str, np.ndarray], list[str], list[int]]:
    """Columns of a text file by name, all its names, and the numbers of its lines.

    Parameters
    ----------
    names : of the columns; None: the first line has them
    wanted : columns to read; empty: all, which then must be numbers
    times : a column that has to be there
    """
    found: list[np.ndarray] = []
    numbers: list[int] = []
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, delimiter=delimiter, strict=True)
            if names is None:
                names = [name.strip() for name in next(lines, [])]
            if times is not None and times not in names:
                raise InputError(
                    f"{path}: expected a column {times!r} with the times in seconds, found {_some(names)}; name it "
                    "with `time_column`, or give `sampling_hz` (and `start_s`)."
                )
            _check_names(path, names)
            places = [place for place, name in enumerate(names) if not wanted or name in wanted]
            for row in lines:
                if row:
                    found.append(_numbers(path, lines.line_num, row, names, places))
                    numbers.append(lines.line_num)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table as text in UTF-8, found {_reason(error)}.") from error
    values = np.array(found).reshape(len(found), len(places))
    return {names[place]: values[:, i] for i, place in enumerate(places)}, list(names), numbers


def _numbers(
    path: Path, line: int, row: Sequence[str], names: Sequence[str], places: Sequence[int]
) -> np.ndarray:
    if len(row) != len(names):
        raise InputError(
            f"{path}: line {line} has {len(row)} values, expected {len(names)}, one a column ({_some(names)})."
        )
    numbers = np.empty(len(places))
    for i, place in enumerate(places):
        try:
            numbers[i] = float(row[place])
        except ValueError:
            if row[place].strip().lower() not in _ABSENT:
                raise InputError(
                    f"{path}: line {line} has {row[place]!r} in the column {names[place]!r}, expected a number; "
                    "name the columns that are features with `columns`."
                ) from None
            numbers[i] = np.nan
    return numbers


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = [name for index, name in enumerate(names) if not name or name in names[:index]]
    if twice:
        raise InputError(f"{path}: each column needs a name of its own, found {twice[0]!r} twice or empty.")


def _datasets(file: Any) -> list[str]:
    import h5py

    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more if names else "none"


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"no entry {text}" if isinstance(error, KeyError) else text
