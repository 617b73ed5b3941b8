"""Word clouds of signed weights."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cinebold.plotting.style import MUTED, drawing

#: From weak to strong, for loadings above and below zero; all with a contrast of at least 4.5 on white.
_ABOVE = ("#a85a14", "#b04a0c", "#8c2d04")
_BELOW = ("#4577a9", "#215f9a", "#08306b")
_FEW = 6  #: up to so many words a side are listed under each other


def wordcloud_figure(
    loadings: Mapping[str, float], out_png: str | Path, *, title: str, max_words: int = 30, seed: int = 0
) -> Path:
    """Two word clouds: names with positive weights on the left, with negative ones on the right.

    The size of a word follows the magnitude of its weight on one common scale: the sides can be compared.
    Words with less than 5 % of the largest weight are left out. The same input gives the same picture.

    Parameters
    ----------
    loadings : name -> signed weight; entries that are not finite are left out
    max_words : the most words on a side
    """
    weights = {str(name): float(weight) for name, weight in loadings.items() if np.isfinite(weight)}
    strongest = max((abs(weight) for weight in weights.values()), default=0.0)
    sides = [
        {
            name.replace("_", " "): abs(weight) / strongest
            for name, weight in weights.items()
            if weight * sign > 0.05 * strongest
        }
        for sign in (1, -1)
    ]
    height = 3.3 if max(map(len, sides)) > _FEW else 2.3
    with drawing(out_png, 9.0, height) as figure:
        figure.text(0.012, 1 - 0.23 / height, title, fontsize=11, fontweight="bold", va="center")
        for left, heading, colours, side in zip(
            (0.012, 0.506),
            ("+  positive loadings", "−  negative loadings"),
            (_ABOVE, _BELOW),
            sides,
            strict=True,
        ):
            figure.text(left, 1 - 0.58 / height, heading, fontsize=9, color=colours[1], va="center")
            axes = figure.add_axes((left, 0.02, 0.482, 1 - 0.7 / height - 0.02))
            axes.set_axis_off()
            if len(side) > _FEW:
                picture = _cloud(side, colours, max_words, seed)
                axes.imshow(picture, interpolation="antialiased", aspect="auto")
            elif side:
                _draw_few(axes, side, colours)
            else:
                axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=MUTED)
    return Path(out_png)


def worth_reading(names: Sequence[str]) -> bool:
    """Whether column names are words, and not one word and a number.

    >>> worth_reading(["luminance", "contrast", "cuts"]), worth_reading(["filter0", "filter1", "filter2"])
    (True, False)
    """
    stems = {re.sub(r"[\W\d_]+", "", name) for name in names}
    return len(stems - {""}) >= max(2, len(names) / 2)


def _draw_few(axes, side: Mapping[str, float], colours: Sequence[str]) -> None:
    """A few words under each other, the largest first; a cloud of them would be mostly empty."""
    sizes = {word: 9 + 11 * size for word, size in sorted(side.items(), key=lambda item: -item[1])}
    heights = np.array(
        [1.6 * size / 72 / 1.55 for size in sizes.values()]
    )  # of the panel, which is 1.55 inches high
    centres = 0.5 + heights.sum() / 2 - np.cumsum(heights) + heights / 2
    for (word, size), height in zip(sizes.items(), centres, strict=True):
        axes.text(
            0.5,
            height,
            word,
            transform=axes.transAxes,
            fontsize=size,
            color=_shades(colours)(side[word]),
            ha="center",
            va="center",
        )


def _shades(colours: Sequence[str]):
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("side", colours)


def _cloud(side: Mapping[str, float], colours: Sequence[str], max_words: int, seed: int) -> np.ndarray:
    """The picture (height, width, 3) of one side; `side`: sizes relative to the strongest word."""
    from matplotlib.colors import to_hex
    from wordcloud import WordCloud

    shades = _shades(colours)
    largest = max(side.values())
    # Few words may be large; many must leave room for each other.
    ceiling = int(np.clip(260 / np.sqrt(len(side)), 64, 110) * largest)
    cloud = WordCloud(
        font_path=_bundled_font(),
        width=1128,
        height=660,
        background_color="white",
        max_words=max_words,
        max_font_size=max(ceiling, 16),
        min_font_size=19,
        prefer_horizontal=1.0,
        relative_scaling=0.8,
        margin=9,
        random_state=seed,
        color_func=lambda word, **_: to_hex(shades(side[word])),
    )
    return cloud.generate_from_frequencies(dict(sorted(side.items()))).to_array()


def _bundled_font() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
