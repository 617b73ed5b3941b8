"""From what a recipe says to an extractor's frozen parameters, with a clear word on what does not fit."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, TypeVar

from cinebold.errors import SettingError

Parameters = TypeVar("Parameters")


def parameters_from(kind: type[Parameters], extractor: str, given: Mapping[str, Any]) -> Parameters:
    """An instance of the frozen dataclass `kind`; each field is a float, an int, a bool, a str or a tuple of
    floats or strs.

    Raises
    ------
    SettingError
        For an unknown name or a value of another type; ranges are the dataclass's own business.
    """
    types = {field.name: field.type for field in fields(kind)}
    unknown = [name for name in given if name not in types]
    if unknown:
        raise SettingError(f"{extractor} has no parameter {unknown[0]!r}; it has {', '.join(types)}.")
    return kind(**{name: _converted(extractor, name, types[name], value) for name, value in given.items()})


def require(extractor: str, condition: bool, expectation: str, found: Any) -> None:
    """Raise the SettingError that says what was expected and found, unless `condition`."""
    if not condition:
        raise SettingError(f"{extractor}: {expectation}; found {found!r}.")


def _converted(extractor: str, name: str, kind: Any, value: Any) -> Any:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and float(value).is_integer():
        return int(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind == tuple[float, ...] and isinstance(value, list | tuple):
        return tuple(_converted(extractor, name, float, item) for item in value)
    if kind == tuple[str, ...] and isinstance(value, list | tuple):
        return tuple(_converted(extractor, name, str, item) for item in value)
    words = {
        float: "a number",
        int: "a whole number",
        str: "a text",
        bool: "true or false",
        tuple[str, ...]: "a list of texts",
    }
    expected = words.get(kind, "a list of numbers")
    raise SettingError(f"{extractor}: {name} must be {expected}; found {value!r}.")
