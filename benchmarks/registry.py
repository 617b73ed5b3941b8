"""What a row of a benchmark is, and how it is registered and measured."""

import importlib
import pkgutil
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setup:
    """What the command line asks of every row."""

    quick: bool = False  #: smaller sizes, for a check that the row works
    device: str = "cpu"  #: where our work is done, and that of a peer which can: "cpu" or "cuda"

    @property
    def on_gpu(self) -> bool:
        """Whether the work is done on a CUDA device."""
        return self.device != "cpu"


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
    flops: dict[str, float] = field(
        default_factory=dict
    )  #: work that must be done, in float32 and in float64
    rate_share: float | None = None  #: of the machine's matrix rate, which `flops` in our time amount to
    peak_device_mb: float | None = None  #: memory of the device, everything on it counted; None on the CPU
    device: str = "cpu"

    @property
    def ratio(self) -> float:
        """The peer's time over ours."""
        return self.seconds_peer / self.seconds_ours

    def with_rates(self, rates: dict[str, float]) -> "Row":
        """The row with its share of the machine's matrix rate: the time that `flops` need at it, over ours.

        Parameters
        ----------
        rates : FLOP/s in "float32" and "float64" (`rates.matrix_rates`)
        """
        at_rate = sum(count / rates[width] for width, count in self.flops.items())
        return replace(self, rate_share=at_rate / self.seconds_ours if self.flops else None)

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
            "peak_device_mb": self.peak_device_mb,
            "device": self.device,
            "flops": self.flops,
            "rate_share": self.rate_share,
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


def all_rows(folder: str = "rows") -> dict[str, Callable[[Setup], Row]]:
    """The rows of all files in benchmarks/<folder>, by name; each command has its own folder."""
    package = f"benchmarks.{folder}"
    for module in pkgutil.iter_modules([str(Path(__file__).parent / folder)]):
        importlib.import_module(f"{package}.{module.name}")
    return {name: one for name, one in sorted(_ROWS.items()) if one.__module__.startswith(f"{package}.")}


@dataclass(frozen=True)
class Measured:
    """What our work took."""

    result: Any
    seconds: float
    peak_mb: float
    peak_device_mb: float | None

    def of_row(self) -> dict[str, Any]:
        """The fields of a `Row`."""
        return {
            "seconds_ours": self.seconds,
            "peak_mb": self.peak_mb,
            "peak_device_mb": self.peak_device_mb,
        }


def measure(setup: Setup, work: Callable[[], Any], repeats: int = 1) -> Measured:
    """Do our work, on a GPU once before the clock starts, as its libraries take seconds to begin."""
    if not setup.on_gpu:
        seconds, peak_mb, result = timed(work, repeats)
        return Measured(result, seconds, peak_mb, None)
    import torch

    work()
    torch.cuda.reset_peak_memory_stats()
    seconds, peak_mb, result = timed(work, repeats)
    return Measured(result, seconds, peak_mb, torch.cuda.max_memory_allocated() / 1e6)


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, float, Any]:
    """Seconds of the fastest repeat, peak memory in MB above that at the start, and the last result."""
    fastest, peak_mb, result = float("inf"), 0.0, None
    for _ in range(repeats):
        _wait_for_device()
        with _PeakMemory() as memory:
            start = time.perf_counter()
            result = work()
            _wait_for_device()
            fastest = min(fastest, time.perf_counter() - start)
        peak_mb = max(peak_mb, memory.peak_mb)
    return fastest, peak_mb, result


def _wait_for_device() -> None:
    """What was sent to a GPU has been done."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


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
