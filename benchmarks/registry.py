"""What a row of a benchmark is, and how it is registered and measured."""

import importlib
import pkgutil
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setup:
    """What the command line asks of every row."""

    quick: bool = False  #: smaller sizes, for a check that the row works
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    """One comparison: equal work, equal answers, on the machine at hand."""

    name: str
    peer: str  #: what is compared with, and on how many voxels it was timed if not on all
    goal: float  #: least ratio
    agreement: float  #: what `agreement_of` says, of the answers of both
    agreement_of: str
    seconds_ours: float
    seconds_peer: float
    peak_mb: float  #: memory above that before the work began, the response matrix not counted
    sizes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The peer's time over ours."""
        return self.seconds_peer / self.seconds_ours

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "name": self.name,
            "peer": self.peer,
            "ratio": self.ratio,
            "goal": self.goal,
            "agreement": self.agreement,
            "agreement_of": self.agreement_of,
            "seconds_ours": self.seconds_ours,
            "seconds_peer": self.seconds_peer,
            "peak_mb": self.peak_mb,
            "sizes": self.sizes,
        }


_ROWS: dict[str, Callable[[Setup], Row]] = {}


def row(name: str) -> Callable[[Callable[[Setup], Row]], Callable[[Setup], Row]]:
    """Register a function of a `Setup` that measures the row `name`."""

    def register(function: Callable[[Setup], Row]) -> Callable[[Setup], Row]:
        if name in _ROWS:
            raise ValueError(f"Two benchmark rows are called {name}.")
        _ROWS[name] = function
        return function

    return register


def all_rows() -> dict[str, Callable[[Setup], Row]]:
    """The rows of all files in benchmarks/rows, by name."""
    folder = Path(__file__).parent / "rows"
    for module in sorted(pkgutil.iter_modules([str(folder)]), key=lambda found: found.name):
        importlib.import_module(f"benchmarks.rows.{module.name}")
    return dict(sorted(_ROWS.items()))


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, float, Any]:
    """Seconds of the fastest repeat, peak memory in MB above that at the start, and the last result."""
    fastest, peak_mb, result = float("inf"), 0.0, None
    for _ in range(repeats):
        with _PeakMemory() as memory:
            start = time.perf_counter()
            result = work()
            fastest = min(fastest, time.perf_counter() - start)
        peak_mb = max(peak_mb, memory.peak_mb)
    return fastest, peak_mb, result


class _PeakMemory:
    """The largest resident memory while the block ran, sampled, above that at its start."""

    def __enter__(self) -> "_PeakMemory":
        self._start, self.peak_mb = _resident_mb(), 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak_mb = max(self.peak_mb, _resident_mb() - self._start)

    def __exit__(self, *problem: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, _resident_mb() - self._start)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
