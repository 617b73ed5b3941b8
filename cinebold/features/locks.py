"""One process at a time for one file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file, `.NAME.lock` beside it; wait, and say so, while another process holds it.

    The system frees the lock of a process that is killed. The lock file is deleted while the lock is held: whoever had
    it open sees, once the lock is free, that it has no name any more, and tries again with the new one (filelock from
    4.2 on looks).
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(f".{path.name}.lock")
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("%s: another process is making these features; waiting for it.", path)
        lock.acquire()
    try:
        yield
    finally:
        lock_path.unlink(missing_ok=True)
        lock.release()
