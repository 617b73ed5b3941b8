"""Encoding engine against its peers: prints a table of ratios, equal work and equal answers on this machine.

python benchmarks/encoding.py [--quick] [--only NAME] [--device cpu|cuda] [--json FILE]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.registry import Row, Setup, all_rows

_COLUMNS = "{:<26} {:>9} {:>7} {:>11} {:>11} {:>9} {:>11}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows and print them; 1 where a name is unknown."""
    rows = all_rows()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes: shows that it works, not how fast"
    )
    parser.add_argument("--only", metavar="NAME", choices=tuple(rows), help=f"one row: {', '.join(rows)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows, a list of objects")
    asked = parser.parse_args(arguments)
    setup = Setup(quick=asked.quick, device=asked.device)
    print(
        _COLUMNS.format("work", "ratio", "goal", "ours (s)", "peer (s)", "peak MB", "agreement", "of; peer")
    )
    measured = []
    for name in [asked.only] if asked.only else rows:
        measured.append(rows[name](setup))
        print(_line(measured[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([row.as_json() for row in measured], indent=2) + "\n")
    return 0


def _line(row: Row) -> str:
    return _COLUMNS.format(
        row.name,
        f"{row.ratio:.1f}x",
        f"{row.goal:g}x",
        f"{row.seconds_ours:.3f}",
        f"{row.seconds_peer:.3f}",
        f"{row.peak_mb:.0f}",
        f"{row.agreement:.2g}",
        f"{row.agreement_of}; {row.peer}",
    )


if __name__ == "__main__":
    sys.exit(main())
