"""Reading a summary that may lack anything, or hold something else than is expected."""

from collections.abc import Mapping, Sequence
from typing import Any


def version_of(summary: Mapping[str, Any], program: str) -> str:
    """The version of a program, or the empty string."""
    for name, version in mapping_of(summary, "versions").items():
        if str(name).lower() == program:
            return str(version)
    return ""


def plural(count: int, thing: str) -> str:
    """A count and its thing."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def is_number(value: Any) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def mapping_of(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key; an empty one where there is none."""
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def sequence_of(parent: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The list under a key; an empty one where there is none."""
    value = parent.get(key)
    return value if isinstance(value, list | tuple) else ()


def mappings_of(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects in the list under a key."""
    return [value for value in sequence_of(parent, key) if isinstance(value, Mapping)]
