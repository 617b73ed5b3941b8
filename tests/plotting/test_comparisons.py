"""Figures that set feature spaces, layers and models beside each other: pictures, equal bytes, odd input."""

import numpy as np
import pytest
from PIL import Image

from cinebold.plotting.comparisons import (
    layer_profile,
    score_scatter,
    space_bars,
    space_distributions,
    validation_curves,
)
from cinebold.plotting.design import _fitting, design_figure

RNG = np.random.default_rng(0)
SPACES = ("motionenergy", "lowlevel", "x")
DRAWINGS = {
    "bars": (space_bars, ({m: dict(zip(SPACES, RNG.normal(size=3), strict=True)) for m in ("unique", "product")},),
             {"xlabel": "R2"}),
    "bars of nothing": (space_bars, ({"unique": dict.fromkeys(SPACES, float("nan"))},), {"xlabel": "R2"}),
    "distributions": (space_distributions, ({s: RNG.random(100) for s in SPACES},), {"xlabel": "gamma"}),
    "distribution of nothing": (space_distributions, ({"a": np.full(5, np.nan)},), {"xlabel": "gamma"}),
    "layers": (layer_profile, ({"conv1": 0.1, "conv2": 0.3, "fc6long": -0.1}, [3, 0, 9]), {}),
    "layers of nothing": (layer_profile, ({"conv1": float("nan"), "conv2": float("nan")}, [0, 0]), {}),
    "scatter": (score_scatter, (RNG.normal(size=500), np.r_[np.nan, RNG.normal(size=499)]),
                {"xlabel": "a", "ylabel": "b"}),
    "scatter of nothing": (score_scatter, (np.full(3, np.nan), np.zeros(3)), {"xlabel": "a", "ylabel": "b"}),
    "curves": (validation_curves, ({"without run-1": [0.0, 0.1, 0.05], "final": [0.0], "none": []},), {}),
    "many curves": (validation_curves, ({f"run {k}": RNG.random(9) for k in range(20)},), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_and_the_same_twice(name, tmp_path):
    draw, arguments, options = DRAWINGS[name]
    first, second = (draw(*arguments, tmp_path / f"{k}.png", title=name, **options) for k in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.mode == "RGB" and image.width > 500 and image.height > 120


@pytest.mark.parametrize(
    ("name", "inches", "shown"),
    [
        ("clips/a-long-name-of-a-film.mp4", 5.0, "clips/a-long-name-of-a-film.mp4"),
        ("clips/a-long-name-of-a-film.mp4", 1.9, "a-long-name-of-a-film.mp4"),
        ("clips/a-long-name-of-a-film.mp4", 1.5, "a-long-name-of-a-film"),
        ("clips/a-long-name-of-a-film.mp4", 0.6, "a-long-n…"),
        ("clips/a-long-name-of-a-film.mp4", 0.2, ""),
        ("f.mp4", 0.1, "f"),
    ],
)
def test_names_are_as_long_as_their_bars(name, inches, shown):
    assert _fitting(name, inches) == shown
    assert len(shown) * 0.066 <= inches


def test_names_of_many_films_do_not_run_into_each_other(tmp_path):
    """Sixty clips of three seconds: without names the bars are as they are, so nothing is painted over them."""
    time_s = np.arange(200.0)
    films = [(f"clip-{k:03d}.mp4", 3.0 * k, 3.0 * k + 3) for k in range(60)]
    options = {"columns": {"a": RNG.normal(size=(200, 2))}, "has_film": time_s < 180, "title": "run"}
    named, bare = (
        np.asarray(Image.open(design_figure(time_s, films=shown, out_png=tmp_path / f"{k}.png", **options)))
        for k, shown in enumerate((films, [("", *rest) for _, *rest in films]))
    )
    assert np.array_equal(named, bare)
