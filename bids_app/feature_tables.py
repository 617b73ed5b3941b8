"""What the user asks of the films: names and parameters of extractors are checked, files of bases found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cinebold.errors import SettingError


def checked_features(
    tables: Sequence[dict[str, Any]], extractors: Sequence[str] | None
) -> list[dict[str, Any]]:
    """The `[[features]]` tables of a recipe, or one for each of `--features`, with whole paths.

    Raises
    ------
    SettingError : an extractor or a parameter is unknown or makes no sense, or a basis does not exist.
    """
    from cinebold.features.registry import extractor_names, validate_parameters

    if extractors is not None:
        tables = [
            {"space": name.replace("_", ""), "extractor": name, "parameters": {}} for name in extractors
        ]
    checked = []
    for table in tables:
        if table["extractor"] not in extractor_names():
            raise SettingError(
                f"expected a feature extractor out of {', '.join(extractor_names())}, found {table['extractor']!r}"
            )
        basis = table.get("basis")
        validate_parameters(table["extractor"], table["parameters"], with_basis=basis is not None)
        if basis is not None:
            path = Path(basis).expanduser().absolute()
            if not path.is_file():
                raise SettingError(
                    f"features of {table['space']}: expected basis to be a file of cinebold-features fit-basis, and "
                    f"there is none at {basis!r}"
                )
            table = {**table, "basis": str(path)}
        checked.append(table)
    return checked
