"""From a map's numbers to colours: the scale, the fading below a threshold, the colour bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cinebold.plotting.style import CYCLE, MUTED, colour_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Scale(Protocol):
    """From values to colours, with a bar that says so."""

    categories: int  #: values are the whole numbers 1 .. categories; 0: they are quantities

    def rgba(self, values: np.ndarray) -> np.ndarray: ...

    def draw_bar(self, figure: "Figure", axes: "Axes", label: str, *, horizontal: bool = False) -> None: ...


@dataclass(frozen=True)
class ColourScale:
    """The values that the colours stand for.

    With a threshold, weaker values are not cut off but fade out (quadratically), so that the picture does not
    pretend that there is nothing below it (Taylor et al. 2023, NeuroImage 274:120138).
    """

    vmax: float
    threshold: float = 0.0
    symmetric: bool = False
    categories = 0

    def rgba(self, values: np.ndarray) -> np.ndarray:
        """Colours (..., 4) of `values` (...).

        NaN, and values below zero unless `symmetric`, are fully transparent.
        """
        finite = np.isfinite(values)
        filled = np.where(finite, values, 0.0)
        lower = -self.vmax if self.symmetric else 0.0
        colours = colour_map(self.symmetric)(np.clip((filled - lower) / (self.vmax - lower), 0.0, 1.0))
        strength = np.abs(filled) if self.symmetric else np.maximum(filled, 0.0)
        opacity = np.minimum(strength / self.threshold, 1.0) ** 2 if self.threshold > 0 else strength > 0
        colours[..., 3] = np.where(finite, opacity, 0.0)
        return colours

    def draw_bar(self, figure: "Figure", axes: "Axes", label: str, *, horizontal: bool = False) -> None:
        """A colour bar over grey: the fading below the threshold shows in it as on the brain."""
        lower = -self.vmax if self.symmetric else 0.0
        ramp = self.rgba(np.linspace(lower, self.vmax, 256))
        ramp[:, :3] = ramp[:, :3] * ramp[:, 3:] + 0.72 * (1 - ramp[:, 3:])
        ramp[:, 3] = 1.0
        if horizontal:
            axes.imshow(ramp[None], aspect="auto", extent=(lower, self.vmax, 0, 1), interpolation="bilinear")
            axes.set_yticks([])
            axes.set_xlabel(label)
            axis = axes.xaxis
        else:
            axes.imshow(
                ramp[:, None],
                aspect="auto",
                extent=(0, 1, lower, self.vmax),
                origin="lower",
                interpolation="bilinear",
            )
            axes.set_xticks([])
            axes.yaxis.set_label_position("right")
            axes.yaxis.tick_right()
            axes.set_ylabel(label, labelpad=6)
            axis = axes.yaxis
        axis.set_ticks(_ticks(lower, self.vmax))
        _finish_bar(axes)


@dataclass(frozen=True)
class RangeScale:
    """Quantities from `low` to `high` that all count, such as a mean layer: no fading, NaN transparent."""

    low: float
    high: float
    categories = 0

    def rgba(self, values: np.ndarray) -> np.ndarray:
        """Colours (..., 4) of `values` (...)."""
        from matplotlib import colormaps

        finite = np.isfinite(values)
        span = self.high - self.low or 1.0
        position = np.clip((np.where(finite, values, self.low) - self.low) / span, 0.0, 1.0)
        colours = colormaps["viridis"](0.04 + 0.94 * position)
        colours[..., 3] = finite
        return colours

    def draw_bar(self, figure: "Figure", axes: "Axes", label: str, *, horizontal: bool = False) -> None:
        """A colour bar with a tick at every whole number."""
        ramp = self.rgba(np.linspace(self.low, self.high, 256))[:, None]
        axes.imshow(ramp, aspect="auto", extent=(0, 1, self.low, self.high), origin="lower")
        axes.set_xticks([])
        axes.yaxis.set_label_position("right")
        axes.yaxis.tick_right()
        axes.set_ylabel(label, labelpad=6)
        axes.yaxis.set_ticks(_whole_numbers(self.low, self.high))
        _finish_bar(axes)


@dataclass(frozen=True)
class CategoryScale:
    """The whole numbers 1, 2, ... with a colour and a name each; anything else is transparent."""

    names: tuple[str, ...]
    colours: tuple[str | tuple[float, ...], ...]

    @property
    def categories(self) -> int:
        """How many there are."""
        return len(self.names)

    def rgba(self, values: np.ndarray) -> np.ndarray:
        """Colours (..., 4) of `values` (...)."""
        from matplotlib.colors import to_rgba

        table = np.array([(0.0, 0.0, 0.0, 0.0), *(to_rgba(colour) for colour in self.colours)])
        number = np.nan_to_num(values, nan=0.0)
        known = (number >= 1) & (number <= self.categories)
        return table[np.where(known, number, 0).astype(int)]

    def draw_bar(self, figure: "Figure", axes: "Axes", label: str, *, horizontal: bool = False) -> None:
        """A column of patches with their names, the first below."""
        table = self.rgba(np.arange(1, self.categories + 1))
        axes.imshow(table[:, None], aspect="auto", extent=(0, 1, 0.5, self.categories + 0.5), origin="lower")
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.yaxis.set_ticks(range(1, self.categories + 1), [_short(name) for name in self.names])
        axes.set_title(label, fontsize=8, fontweight="normal", pad=7)
        _finish_bar(axes)


def category_scale(names: Sequence[str], *, ordered: bool) -> CategoryScale:
    """Colours for named categories: steps of one ramp where they have an order, else as different as can be."""
    from matplotlib import colormaps

    if ordered:
        ramp = RangeScale(1, max(len(names), 2)).rgba(np.arange(1, len(names) + 1))
        return CategoryScale(tuple(names), tuple(tuple(float(x) for x in colour) for colour in ramp))
    more = [colormaps["tab20"](k) for k in range(20)]
    colours = [*CYCLE, *more] * (1 + len(names) // 26)
    return CategoryScale(tuple(names), tuple(colours[: len(names)]))


def _whole_numbers(low: float, high: float) -> list[int]:
    numbers = list(range(int(np.ceil(low)), int(np.floor(high)) + 1))
    return numbers[:: max(1, len(numbers) // 10)]


def _short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _finish_bar(axes: "Axes") -> None:
    axes.tick_params(length=2.5, pad=2, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(MUTED)
        spine.set_linewidth(0.5)


def scale_for(
    values: np.ndarray, *, threshold: float | None, vmax: float | None, symmetric: bool
) -> ColourScale:
    """The scale for a map: its top is `vmax` or the 99.9th percentile, rounded up to two digits."""
    finite = values[np.isfinite(values)]
    strength = np.abs(finite) if symmetric else np.maximum(finite, 0.0)
    if vmax is None:
        vmax = _rounded_up(float(np.percentile(strength, 99.9))) if strength.size else 1.0
    if not np.isfinite(vmax) or vmax <= 0:
        vmax = 1.0
    return ColourScale(vmax=vmax, threshold=min(max(threshold or 0.0, 0.0), vmax), symmetric=symmetric)


def _rounded_up(value: float) -> float:
    """`value` rounded up to two significant digits; 0 stays 0."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.round(np.ceil(np.round(value / unit, 6)) * unit, 12))


def _ticks(lower: float, upper: float) -> np.ndarray:
    """The two ends and round numbers between them."""
    from matplotlib.ticker import MaxNLocator

    inner = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(lower, upper)
    margin = 0.1 * (upper - lower)
    inner = inner[(inner > lower + margin) & (inner < upper - margin)]
    return np.concatenate([[lower], inner, [upper]])
