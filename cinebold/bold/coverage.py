"""How much of what is to be analysed each run's field of view covers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.bold.grid import Grid
from cinebold.bold.masks import build_mask


def coverage_of_runs(
    kind: str | Path,
    grid: Grid,
    *,
    brain_masks: Sequence[str | Path],
    gm_probseg: str | Path | None = None,
    gm_threshold: float = 0.2,
) -> list[float | None]:
    """The share of the wanted voxels that lies inside each run's brain mask.

    Wanted are the grey matter, or the voxels of a given mask, before the brain masks cut them; for "brain" what any
    run's brain mask holds.

    Parameters
    ----------
    kind, grid, brain_masks, gm_probseg, gm_threshold : as in `build_mask`

    Returns
    -------
    One share a run, from 0 to 1; None for the kind "none", which takes every voxel of the grid whatever the run covers.
    """
    if str(kind) == "none":
        return [None] * len(brain_masks)
    covered = [build_mask("brain", grid, brain_masks=[path]) for path in brain_masks]
    if str(kind) == "brain":
        wanted = np.any(covered, axis=0)
    else:
        wanted = build_mask(kind, grid, brain_masks=(), gm_probseg=gm_probseg, gm_threshold=gm_threshold)
    return [float((wanted & mask).sum() / wanted.sum()) for mask in covered]
