"""Reading and preparing BOLD against its peers: prints a table of ratios, equal work and equal answers on this machine.

python benchmarks/bold.py [--quick] [--only NAME] [--json FILE]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.table import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows and print them; 2 where a name is unknown or the device is not there."""
    return run_command(__doc__.splitlines()[0], "rows_bold", "nothing here is done on a GPU", arguments)


if __name__ == "__main__":
    sys.exit(main())
