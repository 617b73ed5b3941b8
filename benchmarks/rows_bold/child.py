"""A process that prepares one made run and says what memory it took: python -m benchmarks.rows_bold.child FOLDER N."""

import json
import re
import sys
from pathlib import Path

import numpy as np


def main(folder: Path, n_volumes: int) -> None:
    """Print {"peak_mb": ...}, of the whole process."""
    from benchmarks.rows_bold.runs import MadeRuns
    from benchmarks.rows_bold.volumes import prepare
    from cinebold.bold.grid import Grid

    mask = np.load(folder / "mask.npy")
    grid = Grid(mask.shape, np.load(folder / "affine.npy"))
    prepare(MadeRuns(folder, grid, mask), n_volumes, "linear")
    # getrusage would give the parent's peak where that is higher.
    (peak_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps({"peak_mb": int(peak_kb) * 1024 / 1e6}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
