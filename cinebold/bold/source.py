"""What responses are prepared from: anything that gives (n_volumes, n_targets), a block of volumes at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


class RunSource(Protocol):
    """A run before cleaning, as a stream of volumes whose targets are chosen already.

    Attributes
    ----------
    path : the file that messages name (of several, one that stands for them)
    n_volumes : number of volumes
    n_targets : number of targets (voxels, vertices, grayordinates or parcels)
    targets_name : what a target is called in a message, in the plural: "voxels"
    bytes_per_volume : what one volume needs while it is read, without its n_targets float32 results
    description : what the run's summary says of the way from file to targets; plain JSON values
    """

    @property
    def path(self) -> Path: ...

    @property
    def n_volumes(self) -> int: ...

    @property
    def n_targets(self) -> int: ...

    @property
    def targets_name(self) -> str: ...

    @property
    def bytes_per_volume(self) -> int: ...

    @property
    def description(self) -> Mapping[str, Any]: ...

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first volume, (n, n_targets) float32) in order of time, every volume once.

        n is at most `n_volumes_per_block`. The rows may be a view of a buffer that the next block overwrites. Values
        are not judged: NaN stays, `prepare_responses` looks at it. No value may depend on the size of the blocks.

        Raises
        ------
        InputError : the file is damaged; the message names the file and the volume.
        """
        ...


@runtime_checkable
class TargetReader(Protocol):
    """A `RunSource` whose file holds the time series of one target after the other (CIFTI), not volumes."""

    def read_targets(self, start: int, stop: int) -> np.ndarray:
        """(n_volumes, stop - start) float32, the targets from `start` to before `stop`; used in place of `blocks`.

        Asked for once for every target, some hundreds at a time and from several threads. NaN stays.
        """
        ...
