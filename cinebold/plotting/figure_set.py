"""A set of figures of one analysis: drawn one by one, and listed with the reasons for those missing."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cinebold.files import read_json, write_json

logger = logging.getLogger(__name__)

_FAILED = "drawing failed"


def figure_path(out_prefix: str | Path, key: str) -> Path:
    """The file of the figure `key`: `<prefix>_desc-<key>_figure.png`."""
    return Path(f"{out_prefix}_desc-{key}_figure.png")


def listing_path(out_prefix: str | Path) -> Path:
    """The list of the figures, `<prefix>_desc-figures_report.json`."""
    return Path(f"{out_prefix}_desc-figures_report.json")


def drawn_figures(out_prefix: str | Path) -> tuple[list[str], dict[str, Any]]:
    """The files of a set that an earlier run finished, its list last, and what the list says of all of them.

    No files where the list or a figure is not there, or a figure failed.
    """
    listing = listing_path(out_prefix)
    try:
        content = read_json(listing)
        paths = [figure_path(out_prefix, key) for key in content["figures"]]
        failed = any(_FAILED in reason for reason in content["not_made"].values())
        about = dict(content.get("about", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [], {}
    if failed or not all(path.is_file() for path in paths):
        return [], {}
    return [*map(str, paths), str(listing)], about


class NotDrawnError(Exception):
    """A picture that cannot be made of such data; the message is the reason that the report gives."""


@dataclass
class FigureSet:
    """Draws figures of one analysis and remembers the facts that their captions need.

    A figure that cannot be drawn does not stop the others; the reason is logged and shown by the report.
    """

    out_prefix: str | Path
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  #: key -> numbers for the caption
    not_made: dict[str, str] = field(default_factory=dict)  #: key -> reason
    #: options that every call of a function gets
    options_of: Mapping[Callable[..., object], Mapping[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  #: what else the list says, of all figures

    def draw(
        self, key: str, draw: Callable[..., object], *arguments: Any, facts: Mapping[str, Any], **options: Any
    ):
        """Call `draw(*arguments, out_png=..., **options)` for the figure `key`."""
        with self.attempt(key):
            common = self.options_of.get(draw, {})
            draw(*arguments, out_png=figure_path(self.out_prefix, key), **common, **options)
            self.made[key] = {name: _known(fact) for name, fact in facts.items()}

    @contextmanager
    def attempt(self, *keys: str) -> Iterator[None]:
        """A block that makes the figures `keys`; when it fails, those not made by then are listed with the reason."""
        try:
            yield
        except NotDrawnError as error:
            for key in keys:
                if key not in self.made:
                    self.skip(key, str(error))
        except Exception as error:  # whatever is wrong with one picture, the others are worth having
            logger.warning(
                "figures %s of %s could not be drawn", ", ".join(keys), self.out_prefix, exc_info=True
            )
            for key in keys:
                if key not in self.made:
                    self.skip(key, f"{_FAILED} with {type(error).__name__}: {error}")

    def skip(self, key: str, reason: str) -> None:
        """Remember why the figure `key` is not made, and remove one that an earlier analysis left."""
        figure_path(self.out_prefix, key).unlink(missing_ok=True)
        self.not_made[key] = reason

    def finish(self) -> list[str]:
        """Write `<prefix>_desc-figures_report.json` and return every file of the set, that one last."""
        listing = listing_path(self.out_prefix)
        about = {"about": self.about} if self.about else {}
        write_json(listing, {**about, "figures": self.made, "not_made": self.not_made})
        return [*(str(figure_path(self.out_prefix, key)) for key in self.made), str(listing)]


def _known(fact: Any) -> Any:
    """JSON has no NaN: a number that is not known is None."""
    if isinstance(fact, Mapping):
        return {name: _known(one) for name, one in fact.items()}
    return None if isinstance(fact, float) and not math.isfinite(fact) else fact
