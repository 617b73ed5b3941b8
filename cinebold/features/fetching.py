"""Download of pretrained weights, on the user's word only: nothing here runs during an analysis."""

import hashlib
import re
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from cinebold.errors import DownloadError
from cinebold.features.weights import WeightsSource
from cinebold.files import atomic_path, file_sha256

_CHUNK = 2**20
_TIMEOUT_S = 60


def fetch_weights(
    source: WeightsSource,
    folder: str | Path,
    on_progress: Callable[[int, int | None], None] = lambda n_bytes, n_total: None,
) -> tuple[Path, bool]:
    """See that the first of a network's files is in a folder.

    The file is written under a temporary name, checked, and renamed. torchvision's names hold the first eight
    digits of the file's SHA-256, which must agree; other files must have the length that the server announced.
    A good file is never written again; one whose digits do not agree with its name is.

    Parameters
    ----------
    on_progress : told of the bytes so far and of all bytes (None: not announced)

    Returns
    -------
    the file, and whether it was downloaded now

    Raises
    ------
    DownloadError
        One sentence: what could not be had, from where, why, and what to do. Nothing is left in the folder.
    """
    path = Path(folder) / source.file_names[0]
    expected = announced_digits(path.name)
    if path.is_file() and (expected is None or file_sha256(path).startswith(expected)):
        return path, False
    try:
        with atomic_path(path) as temporary:
            found = _download(source, temporary, on_progress)
            if expected is not None and not found.startswith(expected):
                raise DownloadError(
                    f"{source.network}: the SHA-256 of {source.url} begins with {found[:8]}, expected {expected}: "
                    "the download is damaged or another file; try again, or get the file another way."
                )
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{source.network}: {source.url} could not be saved as {path} ({reason}); try again with a network, "
            f"or download it on a machine that has one and copy it there."
        ) from error
    return path, True


def announced_digits(file_name: str) -> str | None:
    """The first digits of the SHA-256 that a file's name holds; None where it holds none.

    >>> announced_digits("alexnet-owt-7be5be79.pth"), announced_digits("X3D_XS.pyth")
    ('7be5be79', None)
    """
    found = re.search(r"-([0-9a-f]{8})\.[a-z]+$", file_name)
    return None if found is None else found[1]


def _download(source: WeightsSource, path: Path, on_progress: Callable[[int, int | None], None]) -> str:
    """Write the bytes to `path`; the SHA-256 of them."""
    digest = hashlib.sha256()
    n_bytes = 0
    with urlopen(source.url, timeout=_TIMEOUT_S) as answer, open(path, "wb") as file:
        length = answer.headers.get("Content-Length")
        n_total = None if length is None else int(length)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            n_bytes += len(chunk)
            on_progress(n_bytes, n_total)
    if not n_bytes or n_total not in (None, n_bytes):
        raise DownloadError(
            f"{source.network}: {source.url} gave {n_bytes} of {n_total} bytes before the connection ended; try again."
        )
    return digest.hexdigest()
