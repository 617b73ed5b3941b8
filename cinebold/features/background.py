"""Decoding beside computing: an iterator that runs ahead in a thread of its own."""

import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from cinebold.features.registry import Extractor
from cinebold.video.decoding import FilmInfo

Item = TypeVar("Item")

#: Frames that wait for the extractors take no more than this, or than two frames.
_WAITING_BYTES = 64 * 2**20
_MOST_WAITING = 64


@dataclass(frozen=True)
class Sharing:
    """Who uses the threads."""

    n_decoding: int  #: threads of the decoder
    n_computing: int | None  #: threads that torch may use on the CPU meanwhile; None: as it is
    in_background: bool  #: both at once, not one after the other


def sharing(extractors: Iterable[Extractor], n_threads: int) -> Sharing:
    """How decoder and extractors share `n_threads` threads.

    What computes on a GPU leaves the processor to the decoder. On a CPU they take turns with all threads: a network
    keeps them busy, and the decoder's own threads run ahead while an extractor uses one (decoding in the background
    beside `low_level` took no less time, on two cores).
    """
    if any(getattr(extractor, "device", "cpu") != "cpu" for extractor in extractors):
        return Sharing(max(1, n_threads - 1), 1, True)
    return Sharing(n_threads, None, False)


@contextmanager
def torch_threads(n_threads: int | None) -> Iterator[None]:
    """Let torch use so many threads on the CPU, where it is in use at all; None: leave it as it is."""
    torch: Any = sys.modules.get("torch")
    if n_threads is None or torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def frames_ahead(info: FilmInfo) -> int:
    """How many decoded frames may wait."""
    return min(_MOST_WAITING, max(2, _WAITING_BYTES // (3 * info.width * info.height)))


def in_background(items: Iterator[Item], n_ahead: int) -> Iterator[Item]:
    """The same items, made in a thread that is at most `n_ahead` of them before whoever takes them.

    An error in the thread is raised here after the items before it. When this generator is closed, the thread
    closes `items` and ends.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(n_ahead)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                waiting.put((True, item))
                if stopped.is_set():
                    break
        except BaseException as error:
            waiting.put((False, error))
        else:
            waiting.put((False, None))
        finally:
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=produce, name="cinebold-decoding", daemon=True)
    thread.start()
    is_item = True
    try:
        while True:
            is_item, content = waiting.get()
            if is_item:
                yield content
            elif content is None:
                return
            else:
                raise content
    finally:
        stopped.set()
        while is_item:  # the thread may wait for a place in the queue; its last word is not an item
            is_item, _ = waiting.get()
        thread.join()
