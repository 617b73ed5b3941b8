"""GIFTI files of one hemisphere, an array at a time: series, masks and maps."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from xml.parsers.expat import ExpatError

import numpy as np

from cinebold.bold.streams import require_content
from cinebold.errors import InputError
from cinebold.files import atomic_path

#: What GIFTI and CIFTI call the hemispheres.
STRUCTURES = {"L": "CortexLeft", "R": "CortexRight"}
_READ_BYTES = 1 << 20
_HEAD = re.compile(rb"<GIFTI\b[^>]*>.*?<DataArray\b[^>]*>", re.DOTALL)
_LONGEST_HEAD_BYTES = 1 << 22


@dataclass(frozen=True)
class GiftiHeader:
    """What the head of a file says of its series."""

    n_vertices: int
    n_volumes: int
    structure: str | None  #: AnatomicalStructurePrimary; None: not said


def read_gifti_header(path: str | Path) -> GiftiHeader:
    """The shape of a series: an array a volume, or one array (n_vertices, n_volumes). The data are not read.

    Raises
    ------
    InputError : no file, a git-annex pointer, or not a GIFTI file with arrays.
    """
    path = require_content(path)
    head = b""
    with open(path, "rb") as stream:
        while not (found := _HEAD.search(head)) and len(head) < _LONGEST_HEAD_BYTES:
            if not (chunk := stream.read(1 << 16)):
                break
            head += chunk
    if not found:
        raise InputError(
            f"{path} is not a GIFTI file with data that can be read; get or write the file again."
        )
    opening, array = found[0].partition(b">")[0], found[0].rpartition(b"<DataArray")[2]
    dimensions = [int(n) for n in re.findall(rb'\bDim\d="(\d+)"', array)]
    n_arrays = re.search(rb'\bNumberOfDataArrays="(\d+)"', opening)
    structure = re.search(
        rb"AnatomicalStructurePrimary(?:\]\]>)?\s*</Name>\s*<Value>\s*(?:<!\[CDATA\[)?(\w+)", head
    )
    if not dimensions or n_arrays is None:
        raise InputError(f"{path} does not say how large its arrays are; get or write the file again.")
    n_volumes = dimensions[1] if len(dimensions) > 1 else int(n_arrays[1])
    return GiftiHeader(dimensions[0], n_volumes, None if structure is None else structure[1].decode())


def stream_gifti(path: str | Path) -> Iterator[np.ndarray]:
    """The arrays of a file in their order, one in memory at a time; all encodings of the format.

    Raises
    ------
    InputError : the file breaks off or is damaged; the message names the volume.
    """
    import zlib

    from nibabel.gifti.parse_gifti_fast import GiftiImageParser, GiftiParseError

    path = require_content(path)
    reader = GiftiImageParser(mmap=False)
    reader.fname = str(path)
    parser = reader._create_parser()
    for name in reader.HANDLER_NAMES:
        setattr(parser, name, getattr(reader, name))
    n_read = 0
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(_READ_BYTES):
                parser.Parse(chunk, False)
                # Arrays leave the image as they come; it must not miss them at the end.
                vars(reader).pop("expected_numDA", None)
                while (
                    reader.img is not None and reader.img.darrays and reader.img.darrays[0].data is not None
                ):
                    yield reader.img.darrays.pop(0).data
                    n_read += 1
        parser.Parse(b"", True)
    except (ExpatError, GiftiParseError, ValueError, OSError, zlib.error, KeyError) as error:
        raise InputError(
            f"{path} breaks off or is damaged at volume {n_read + 1} ({error}); it was probably not copied or "
            "downloaded whole: get it again."
        ) from error


def read_gifti(path: str | Path) -> np.ndarray:
    """(n_vertices,), or (k, n_vertices) of a file with k arrays, float32 or whole numbers."""
    arrays = list(stream_gifti(path))
    if len(arrays) == 1:
        return arrays[0].T
    return np.stack(arrays)


def gifti_array(path: str | Path, number: int) -> np.ndarray:
    """One array of a file; what comes after it is not read."""
    return next(islice(stream_gifti(path), number, None))


def write_gifti(
    path: Path,
    values: np.ndarray,
    hemisphere: str,
    names: Sequence[str],
    *,
    tr_s: float | None = None,
) -> Path:
    """Write (k, n_vertices) as k float32 arrays; with `tr_s` as a time series. Equal values give equal bytes."""
    import nibabel

    intent = "NIFTI_INTENT_NONE" if tr_s is None else "NIFTI_INTENT_TIME_SERIES"
    about = {} if tr_s is None else {"TimeStep": f"{1000 * tr_s:g}"}
    arrays = [
        nibabel.gifti.GiftiDataArray(
            np.ascontiguousarray(row, np.float32),
            intent=intent,
            datatype="NIFTI_TYPE_FLOAT32",
            meta=nibabel.gifti.GiftiMetaData(about | ({"Name": name} if name else {})),
        )
        for row, name in zip(values, names, strict=True)
    ]
    image = nibabel.gifti.GiftiImage(
        meta=nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": STRUCTURES[hemisphere]}),
        darrays=arrays,
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(image.to_bytes())
    return path
