"""Reading a confounds table: tab-separated, a header, `n/a` where there is no value."""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.reading import require_content
from cinebold.errors import InputError

NOT_AVAILABLE = {"n/a", "N/A", "NA", "nan", "NaN", ""}


@dataclass(frozen=True, eq=False)
class ConfoundsTable:
    """A table whose columns become numbers only when they are asked for: most are not."""

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]] = field(repr=False)
    sidecar_path: Path

    @property
    def n_rows(self) -> int:
        """One a volume."""
        return len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """(n_rows,) float64, NaN where the table says n/a."""
        index = self.names.index(name)
        values = np.empty(self.n_rows)
        for row, cells in enumerate(self.rows):
            cell = cells[index].strip()
            try:
                values[row] = np.nan if cell in NOT_AVAILABLE else float(cell)
            except ValueError as error:
                raise InputError(
                    f"The column {name} of {self.path} should hold numbers, but row {row + 1} holds {cell!r}."
                ) from error
        return values

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """What the JSON beside the table says of its columns; empty when there is none."""
        if not self.sidecar_path.exists():
            return {}
        try:
            content = json.loads(require_content(self.sidecar_path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.sidecar_path} is not JSON ({error}).") from error
        return content if isinstance(content, dict) else {}


def read_confounds_table(
    tsv: str | Path, *, sidecar: str | Path | None = None, of_fmriprep: bool = True
) -> ConfoundsTable:
    """Read a table of fMRIPrep 1.2 or later, or one of somebody's own in the same form.

    Raises
    ------
    InputError : no file, a git-annex pointer, no rows, rows of unequal length, no header, or the CamelCase
    columns of fMRIPrep before 1.2.
    """
    path = require_content(tsv)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text table ({error}).") from error
    rows = [line.split("\t") for line in lines if line.strip()]
    if len(rows) < 2:
        raise InputError(f"The confounds table {path} has no rows; get the file again.")
    names = tuple(name.strip() for name in rows[0])
    if _is_number(names[0]):
        raise InputError(f"The confounds table {path} has no header, but starts with numbers.")
    camel_case = next((name for name in names if re.search("[a-z][A-Z]", name)), None)
    if camel_case and of_fmriprep:
        raise InputError(
            f"The confounds table {path} has columns named like {camel_case!r}, as fMRIPrep wrote before "
            "version 1.2; preprocess the data with a newer version."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"The confounds table {path} has two columns named {twice!r}.")
    for number, cells in enumerate(rows[1:], start=1):
        if len(cells) != len(names):
            raise InputError(
                f"Row {number} of the confounds table {path} has {len(cells)} cells, its header "
                f"{len(names)}; get the file again."
            )
    return ConfoundsTable(path, names, rows[1:], Path(sidecar) if sidecar else path.with_suffix(".json"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
