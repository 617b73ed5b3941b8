"""Files as streams of uncompressed bytes, and what may stand in their place."""

import zlib
from pathlib import Path
from typing import BinaryIO

from cinebold.errors import InputError

#: A git-annex pointer is a short text; a real image is never this small.
LONGEST_POINTER_BYTES = 32 * 1024
#: How much of a compressed file is read at a time.
_CHUNK_BYTES = 1 << 20


def require_content(path: str | Path) -> Path:
    """The path again, when a file with content is there; else an InputError that says what is there instead."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        target = str(path.readlink())
        if "annex" in target:
            raise _annex_pointer(path)
        raise InputError(f"{path} is a link to {target}, which does not exist.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes); get the file again.")
    if size < LONGEST_POINTER_BYTES:
        with open(path, "rb") as stream:
            if b"/annex/objects/" in stream.readline(4096)[:4096]:
                raise _annex_pointer(path)
    return path


def _annex_pointer(path: Path) -> InputError:
    return InputError(
        f"{path} is a git-annex pointer, not the file; get its content with `datalad get` or `git annex get`."
    )


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip is told by its first bytes, not by its name."""
    with open(path, "rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def open_uncompressed(path: Path) -> BinaryIO:
    """The uncompressed bytes of a file, to be read in any way; large reads are copied once more."""
    if not is_gzip(path):
        return open(path, "rb")
    from isal import igzip

    return igzip.open(path, "rb")


class ByteStream:
    """The uncompressed bytes of a file from its beginning, straight into arrays; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")
        self._stream: BinaryIO = self._file
        if is_gzip(path):
            from isal import igzip

            # The reader under igzip's file object: it fills the caller's memory, outside the interpreter's lock.
            reader = getattr(igzip, "_IGzipReader", None)
            self._stream = reader(self._file, _CHUNK_BYTES) if reader else igzip.IGzipFile(fileobj=self._file)

    def __enter__(self) -> "ByteStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fill(self, target: memoryview) -> None:
        """Fill `target` (bytes); an error of `stream_errors` where the file ends before or is damaged."""
        filled = 0
        while filled < len(target):
            n = self._stream.readinto(target[filled:])
            if not n:
                raise EOFError("the file ends there")
            filled += n

    def check_end(self) -> None:
        """Read to the end, which makes gzip compare its checksum."""
        buffer = bytearray(1 << 16)
        while self._stream.readinto(buffer):
            pass


def stream_errors() -> tuple[type[Exception], ...]:
    """What reading a damaged file may raise."""
    from isal import isal_zlib

    return (EOFError, OSError, isal_zlib.error)


def count_readable_bytes(path: Path) -> int:
    """How many bytes a damaged file still gives, by the slower gzip that returns every byte before the break."""
    n_bytes = 0
    try:
        import gzip

        with (gzip.open if is_gzip(path) else open)(path, "rb") as stream:
            while chunk := stream.read1(1 << 16):
                n_bytes += len(chunk)
    except (EOFError, OSError, zlib.error):
        pass
    return n_bytes
