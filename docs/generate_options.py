"""Write options.md from the option table of the program: `python docs/generate_options.py`."""

from itertools import groupby
from pathlib import Path

from bids_app.config import Settings
from bids_app.options import LEVELS, OPTIONS, Option

PAGE = Path(__file__).with_name("options.md")
_INTRODUCTION = f"""# Options

<!-- Written by docs/generate_options.py from bids_app/options.py: do not edit. -->

    cinebold BIDS_DIR OUTPUT_DIR {{{",".join(LEVELS)}}} [options]

This page is made from the table that the command line itself is made from. `cinebold --help` says the same.

- A long option may be written with `-` or `_`: `--work-dir` and `--work_dir` are the same. It cannot be shortened.
- Options that take several values take them with spaces between: `--participant-label 01 02`.
- The column *field* is the name in a TOML file for `--config-file` (see [replay a run](usage.md#replay-a-run)). A
  dash means that the option is never recorded.
- Where no default is given, the recipe decides (see [the recipes page](recipes.md)), or there is none.
"""
_NOT_RECORDED = {"config_file", "dry_run", "verbose", "reports_only", "clean_workdir"}


def options_page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION]
    for group, options in groupby(OPTIONS, key=lambda option: option.group):
        rows = [_row(option) for option in options]
        header = ["| option | what it does | default | field |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {group[0].upper()}{group[1:]}", "", *header, *rows, ""]))
    return "\n".join([*parts, "`--version` prints the version, `-h` or `--help` the options.", ""])


def _row(option: Option) -> str:
    names = ([option.short] if option.short else []) + [f"--{option.field.replace('_', '-')}"]
    names += [f"--{alias}" for alias in option.aliases]
    names += [f"--no-{option.field.replace('_', '-')}"] if option.negatable else []
    spellings = ", ".join(f"`{name}`" for name in names)
    value = (
        "" if option.flag or option.count else option.metavar or "{" + ",".join(option.choices or ()) + "}"
    )
    value = f" `{value}{' ...' if option.many else ''}`" if value else ""
    recorded = option.field in Settings.model_fields and option.field not in _NOT_RECORDED
    cells = [
        spellings + value,
        option.help,
        option.default,
        f"`{option.field}`" if recorded else "-",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(options_page(), encoding="utf-8", newline="\n")
