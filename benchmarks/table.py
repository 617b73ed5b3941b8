"""The command of a benchmark: measures rows, prints their table and writes them."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rates import matrix_rates, rates_line
from benchmarks.registry import Row, Setup, all_rows

_COLUMNS = "{:<26} {:>9} {:>7} {:>11} {:>11} {:>7} {:>9} {:>9} {:>11}  {}"
_TITLES = (
    "work",
    "ratio",
    "goal",
    "ours (s)",
    "peer (s)",
    "share",
    "peak MB",
    "device MB",
    "agreement",
    "of; peer",
)


def run_command(
    description: str, folder: str, device_help: str, arguments: Sequence[str] | None = None
) -> int:
    """Measure the rows of a folder and print them; 2 where a name is unknown or the device is not there."""
    rows = all_rows(folder)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes: shows that it works, not how fast"
    )
    parser.add_argument("--only", metavar="NAME", choices=tuple(rows), help=f"one row: {', '.join(rows)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=device_help)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows, a list of objects")
    asked = parser.parse_args(arguments)
    setup = Setup(quick=asked.quick, device=asked.device)
    if setup.on_gpu:
        from cinebold.encoding.gpu.device import checked_device
        from cinebold.errors import SettingError

        try:
            checked_device(setup.device)
        except SettingError as error:
            print(error, file=sys.stderr)
            return 2
    rates = matrix_rates(setup.device)
    print(rates_line(setup.device, rates))
    print(_COLUMNS.format(*_TITLES), flush=True)
    measured = []
    for name in [asked.only] if asked.only else rows:
        measured.append(rows[name](setup).with_rates(rates))
        print(_line(measured[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([row.as_json() for row in measured], indent=2) + "\n")
    return 0


def _line(row: Row) -> str:
    return _COLUMNS.format(
        row.name,
        f"{row.ratio:.1f}x" if row.ratio >= 10 else f"{row.ratio:.2f}x",
        f"{row.goal:g}x",
        f"{row.seconds_ours:.3f}",
        f"{row.seconds_peer:.3f}",
        "-" if row.rate_share is None else f"{row.rate_share:.1%}",
        f"{row.peak_mb:.0f}",
        "-" if row.peak_device_mb is None else f"{row.peak_device_mb:.0f}",
        f"{row.agreement:.2g}",
        f"{row.agreement_of}; {row.peer}",
    )
