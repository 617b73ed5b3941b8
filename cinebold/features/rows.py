"""Where the rows of a feature series go while they are computed: to memory, or to a file that survives a kill.

A partial file begins with a header that names the series, and grows by a record a batch. Each part carries a
checksum, so that what a killed process left half written is recognised and dropped.
"""

import json
import logging
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from cinebold.errors import InputError, SettingError

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
_MAGIC = b"cinebold rows 1\n"
_HEADER = struct.Struct("<II")  # length and checksum of the JSON that follows
_RECORD = struct.Struct("<QQQ")  # windows done, rows, bytes of state
_CHECKSUM = struct.Struct("<I")


class Rows(Protocol):
    """Takes rows in order."""

    n_done: int  #: windows that need not be computed again
    state: bytes  #: what came with the last of them

    def begin(self, names: Sequence[str], partition: Mapping[str, Any]) -> None:
        """The columns, and all besides the key on which the last digits of a row may depend."""

    def append(self, values: np.ndarray, n_done: int, state: bytes = b"") -> None:
        """The next rows, (n, n_features) float32, after `n_done` windows."""

    def values(self) -> "np.ndarray | StoredRows":
        """All rows."""


class RowsInMemory:
    """Rows that nobody will ask for again."""

    def __init__(self) -> None:
        self.n_done, self.state = 0, b""
        self._values: list[np.ndarray] = []

    def begin(self, names: Sequence[str], partition: Mapping[str, Any]) -> None:
        """See `Rows`."""

    def append(self, values: np.ndarray, n_done: int, state: bytes = b"") -> None:
        """See `Rows`."""
        self._values.append(values)
        self.n_done = n_done

    def values(self) -> np.ndarray:
        """(n_rows, n_features) float32"""
        return np.concatenate(self._values)


class PartialRows:
    """Rows in a file, `.NAME.partial`, beside the series that they will be; whoever holds the series' lock uses it.

    Parameters
    ----------
    target : the file of the series
    key : of the series; the rows of another are thrown away
    dtype : "float32" or "float16"
    """

    def __init__(self, target: Path, key: str, dtype: str = "float32") -> None:
        self.n_done, self.state = 0, b""
        self.path = target.with_name(f".{target.name}.partial")
        self._target, self._key, self._dtype = target, key, np.dtype(dtype)
        self._names: Sequence[str] = ()
        self._first_rows: list[int] = [0]  # of each record, and of the next
        self._offsets: list[int] = []  # of the rows of each record in the file
        self._file: BinaryIO | None = None

    def begin(self, names: Sequence[str], partition: Mapping[str, Any]) -> None:
        """Take over what an earlier process computed of the same series in the same way."""
        self._names = names
        content = {"key": self._key, "dtype": str(self._dtype), "n_columns": len(names), **partition}
        text = json.dumps(content, sort_keys=True).encode()
        header = _MAGIC + _HEADER.pack(len(text), zlib.crc32(text)) + text
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what was written is in the hands of the system when the process is killed.
        self._file = open(self.path, "r+b" if self.path.exists() else "x+b", buffering=0)
        found = self._file.read(len(header))
        if found != header:
            if found:
                logger.warning(
                    "%s: these rows are of other features, or damaged; they are computed again.", self.path
                )
            self._file.seek(0)
            self._file.truncate()
            self._write(header)
        end = self._read_records(len(header))
        if end < os.fstat(self._file.fileno()).st_size:
            logger.warning("%s: the last rows were not written whole; they are computed again.", self.path)
        self._file.truncate(end)
        self._file.seek(end)
        if self.n_done:
            logger.info("%s: %d windows were computed before and are kept.", self.path, self.n_done)

    def append(self, values: np.ndarray, n_done: int, state: bytes = b"") -> None:
        """See `Rows`; InputError where a value is beyond float16."""
        assert self._file is not None
        rows = as_stored(values, str(self._dtype), self._names, self._target)
        record = _RECORD.pack(n_done, len(rows), len(state)) + rows.tobytes() + state
        offset = self._file.tell() + _RECORD.size
        self._write(record + _CHECKSUM.pack(zlib.crc32(record)))
        self._keep(n_done, len(rows), state, offset)

    def values(self) -> "StoredRows":
        """See `StoredRows`."""
        return StoredRows(self)

    def read(self, begin: int, end: int) -> np.ndarray:
        """Rows `begin` to `end`, (n, n_features), as they are stored."""
        rows = np.empty((end - begin, len(self._names)), self._dtype)
        record = bisect_right(self._first_rows, begin) - 1
        at = begin
        while at < end:
            first, after = self._first_rows[record : record + 2]
            stop = min(end, after)
            rows[at - begin : stop - begin] = self._stored(self._offsets[record], at - first, stop - first)
            at, record = stop, record + 1
        return rows

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_features)"""
        return self._first_rows[-1], len(self._names)

    @property
    def dtype(self) -> np.dtype:
        """Of the stored rows."""
        return self._dtype

    def discard(self) -> None:
        """Delete the file; the series is written."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the rows for the next process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:  # the system does not say which file
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _stored(self, offset: int, begin: int, end: int) -> np.ndarray:
        assert self._file is not None
        row_bytes = len(self._names) * self._dtype.itemsize
        n_bytes = (end - begin) * row_bytes
        content = os.pread(self._file.fileno(), n_bytes, offset + begin * row_bytes)
        if len(content) < n_bytes:
            raise InputError(f"{self.path}: expected rows of features, found the end of the file; run again.")
        return np.frombuffer(content, self._dtype).reshape(end - begin, len(self._names))

    def _read_records(self, begin: int) -> int:
        """Read the records from `begin` on that are whole; where the last of them ends."""
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        row_bytes = len(self._names) * self._dtype.itemsize
        while begin + _RECORD.size <= size:
            self._file.seek(begin)
            head = self._file.read(_RECORD.size)
            n_done, n_rows, n_state = _RECORD.unpack(head)
            end = begin + _RECORD.size + n_rows * row_bytes + n_state + _CHECKSUM.size
            if end > size:
                break
            body = self._file.read(end - begin - _RECORD.size)
            if zlib.crc32(head + body[: -_CHECKSUM.size]) != _CHECKSUM.unpack(body[-_CHECKSUM.size :])[0]:
                break
            state = body[n_rows * row_bytes : -_CHECKSUM.size]
            self._keep(n_done, n_rows, state, begin + _RECORD.size)
            begin = end
        return begin

    def _keep(self, n_done: int, n_rows: int, state: bytes, offset: int) -> None:
        self.n_done, self.state = n_done, state
        if n_rows:
            self._offsets.append(offset)
            self._first_rows.append(self._first_rows[-1] + n_rows)


class StoredRows:
    """Rows on disk with the face of an array: `shape`, `dtype`, slices of rows, `numpy.asarray`."""

    def __init__(self, rows: PartialRows) -> None:
        self._rows = rows
        self.shape, self.dtype = rows.shape, rows.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        begin, end, _ = rows.indices(self.shape[0])
        return self._rows.read(begin, max(begin, end))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def check_dtype(dtype: str) -> None:
    """Raise SettingError unless series can be stored so."""
    if dtype not in DTYPES:
        raise SettingError(f"store_dtype: expected one of {', '.join(DTYPES)}; found {dtype!r}.")


def as_stored(values: np.ndarray, dtype: str, names: Sequence[str], target: str | Path) -> np.ndarray:
    """Values as `dtype`; InputError that names the file and the column where one is too large for float16."""
    values = np.ascontiguousarray(values)
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        stored = values.astype(dtype)
    beyond = np.isinf(stored) & np.isfinite(values)
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise InputError(
            f"{target}: the feature {names[column]!r} reaches {values[row, column]:g}, and float16 ends at 65504; "
            "leave store_dtype at float32."
        )
    return stored
