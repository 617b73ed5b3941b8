"""The command `cinebold`: arguments in, exit code out. Nothing heavy is imported before the arguments are read."""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from bids_app.exit_codes import INTERNAL, INTERRUPTED, INVALID_INPUT, NOTHING_TO_DO, USAGE
from bids_app.options import build_parser

_log = logging.getLogger("cinebold")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cinebold and return its exit code."""
    try:
        release = version("cinebold")
    except PackageNotFoundError:
        release = "unknown"
    given = vars(build_parser(version=release).parse_args(arguments))
    _prepare_process(given.get("verbose", 0))

    from bids_app.config import load_settings
    from cinebold.errors import InputError, NothingSelectedError, SettingError

    try:
        settings = load_settings(given)

        from bids_app.run import run

        return run(settings)
    except SettingError as error:
        return _refuse(error, USAGE)
    except NothingSelectedError as error:
        return _refuse(error, NOTHING_TO_DO)
    except InputError as error:
        return _refuse(error, INVALID_INPUT)
    except KeyboardInterrupt:
        return _refuse("interrupted; the same command goes on where this one stopped", INTERRUPTED)
    except Exception:
        _log.exception("this is a fault of cinebold, not of your data; please report it with the lines below")
        return INTERNAL


def _refuse(reason: object, code: int) -> int:
    print(f"cinebold: {reason}", file=sys.stderr)
    return code


class _Formatter(logging.Formatter):
    """Results of untrained networks are told in red, as on the pages, where a person reads."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"\033[1;31m{text}\033[0m" if "RANDOM weights" in text and sys.stderr.isatty() else text


def _prepare_process(verbose: int) -> None:
    """Logging, and what must be said before the first import of the big libraries."""
    os.environ["NO_ET"] = os.environ["NIPYPE_NO_ET"] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ["CINEBOLD_VERBOSITY"] = str(verbose)
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("cinebold", "bids_app", "workflows"):
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    if verbose < 2:
        # Other libraries' warnings are for people who debug; what matters of them is checked and said in our own words.
        logging.getLogger("py.warnings").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
