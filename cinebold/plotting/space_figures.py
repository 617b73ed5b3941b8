"""The figures of an analysis that compares feature spaces, layers or models; drawn where their maps are.

Keys (the file is `<prefix>_desc-<key>_figure.png`):
    spacebars                          unique, product and partial R2 of each space, means over predicted voxels
    uniquebest, uniquebestsurface      the space with the largest unique R2 on slices; of vertices and grayordinates
    bestlayersurface, bestlayerslices  the layer that predicts a voxel best
    centrelayerslices                  centre of mass over layers
    layerprofile                       mean r of each layer, and how often it is the best
    gammas                             how banded ridge weighs the spaces
    lstmscatter, lstmcurves            the LSTM against ridge; its validation
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.maps import geometry_of_map, map_values
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.plotting.colouring import RangeScale, category_scale
from cinebold.plotting.comparisons import (
    layer_profile,
    score_scatter,
    space_bars,
    space_distributions,
    validation_curves,
)
from cinebold.plotting.figure_set import FigureSet, figure_path
from cinebold.plotting.slices import statmap_slices
from cinebold.plotting.surface import statmap_surface, surface_of

#: Statistic -> what the figure calls it.
_MEASURES = {
    "unique": "unique",
    "product": "product measure",
    "partial": "partial",
}
Maps = Mapping[str, str | Path]


def draw_space_figures(
    figures: FigureSet, maps: Maps, spaces: Sequence[str], diagnostics: Mapping[str, Any], q: float
) -> None:
    """Draw those of the figures whose maps are there; the others are neither made nor missed.

    Parameters
    ----------
    maps : "<statistic>" or "<statistic>-<space>" -> 3-D image
    spaces : in their order, which is that of the layers
    diagnostics : of the fit, for the LSTM's validation
    """
    with figures.attempt("spacebars", "uniquebest"):
        _draw_partitioning(figures, maps, spaces, q)
    with figures.attempt("bestlayersurface", "bestlayerslices", "centrelayerslices", "layerprofile"):
        _draw_layers(figures, maps, spaces, q, diagnostics)
    with figures.attempt("gammas"):
        _draw_gammas(figures, maps, spaces, q)
    with figures.attempt("lstmscatter", "lstmcurves"):
        _draw_lstm(figures, maps, diagnostics)


def predicted(maps: Maps, q: float) -> tuple[np.ndarray, str]:
    """The voxels that the model predicts, (x, y, z) bool, and what to call them."""
    if "q" in maps:
        with np.errstate(invalid="ignore"):
            chosen = map_values(maps["q"]) < q
        if chosen.any():
            return chosen, f"{int(chosen.sum()):,} voxels with q < {q:g}"
    r = map_values(maps["r"])
    return np.isfinite(r), f"all {int(np.isfinite(r).sum()):,} voxels"


def _of_spaces(maps: Maps, statistic: str, spaces: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        space: map_values(maps[f"{statistic}-{space}"]) for space in spaces if f"{statistic}-{space}" in maps
    }


def _draw_partitioning(figures: FigureSet, maps: Maps, spaces: Sequence[str], q: float) -> None:
    values = {statistic: _of_spaces(maps, statistic, spaces) for statistic in _MEASURES}
    values = {statistic: found for statistic, found in values.items() if found}
    if not values:
        return
    chosen, where = predicted(maps, q)
    means = {
        _MEASURES[statistic]: {space: _mean(one[chosen]) for space, one in found.items()}
        for statistic, found in values.items()
    }
    figures.draw(
        "spacebars",
        space_bars,
        means,
        facts={"where": where, "means": means},
        title="What each feature space adds",
        xlabel=f"held-out R², mean over {where}",
    )
    if "unique" not in values:
        return
    stacked = np.stack([values["unique"][space] for space in spaces])
    winner = np.where(
        chosen & np.isfinite(stacked).all(axis=0) & (np.nanmax(np.nan_to_num(stacked), axis=0) > 0),
        np.nan_to_num(stacked).argmax(axis=0) + 1.0,
        np.nan,
    )
    if not np.isfinite(winner).any():
        figures.skip("uniquebest", "in no voxel does a feature space add anything")
        return
    counts = {space: int((winner == number).sum()) for number, space in enumerate(spaces, 1)}
    with _written(figures, "uniquebest", winner, maps["r"]) as image:
        facts, on_surface = {"counts": counts, "where": where}, surface_of(figures, image)
        shared = {
            "title": "The feature space with the largest unique R²",
            "unit": "feature space",
            "scale": category_scale(spaces, ordered=False),
        }
        if not isinstance(geometry_of_map(image), SurfaceGeometry):
            figures.draw("uniquebest", statmap_slices, image, facts=facts, **shared)
        if on_surface:
            figures.draw("uniquebestsurface", statmap_surface, image, facts=facts | on_surface, **shared)


def _draw_layers(
    figures: FigureSet, maps: Maps, spaces: Sequence[str], q: float, diagnostics: Mapping[str, Any]
) -> None:
    if "bestlayer" not in maps:
        return
    best = map_values(maps["bestlayer"])
    counts = [int((best == number).sum()) for number in range(1, len(spaces) + 1)]
    keys = ("bestlayersurface", "bestlayerslices", "centrelayerslices")
    if not sum(counts):
        for key in keys:
            figures.skip(key, "no voxel is predicted by any layer" + _floor(spaces, diagnostics))
    else:
        shared = {
            "facts": {"counts": dict(zip(spaces, counts, strict=True)), "q": q},
            "title": "The layer that predicts best",
            "unit": "layer",
            "scale": category_scale(spaces, ordered=True),
        }
        on_surface = surface_of(figures, maps["bestlayer"])
        figures.draw(
            "bestlayersurface",
            statmap_surface,
            maps["bestlayer"],
            **shared | {"facts": shared["facts"] | on_surface},
        )
        figures.draw("bestlayerslices", statmap_slices, maps["bestlayer"], **shared)
        if "centrelayer" in maps:
            figures.draw(
                "centrelayerslices",
                statmap_slices,
                maps["centrelayer"],
                facts={"n_layers": len(spaces), "first": spaces[0], "last": spaces[-1]},
                title="Centre of mass over layers",
                unit=f"layer, 1 ({spaces[0]}) to {len(spaces)} ({spaces[-1]})",
                scale=RangeScale(1, len(spaces)),
            )
    alone = _of_spaces(maps, "r", spaces)
    if alone:
        chosen, where = predicted(maps, q)
        scores = {space: _mean(values[chosen]) for space, values in alone.items()}
        figures.draw(
            "layerprofile",
            layer_profile,
            scores,
            counts,
            facts={"where": where, "scores": scores},
            title=f"Layers: {where}",
        )


def _floor(spaces: Sequence[str], diagnostics: Mapping[str, Any]) -> str:
    """The least p that the permutations allow after the correction for the number of layers, as a clause."""
    n_permutations = diagnostics.get("significance", {}).get("n_permutations")
    if not n_permutations:
        return ""
    least = len(spaces) / (n_permutations + 1)
    return f" ({n_permutations} permutations and {len(spaces)} layers allow no p below {least:.2g}: more allow less)"


def _draw_gammas(figures: FigureSet, maps: Maps, spaces: Sequence[str], q: float) -> None:
    gammas = _of_spaces(maps, "gamma", spaces)
    if not gammas:
        return
    chosen, where = predicted(maps, q)
    figures.draw(
        "gammas",
        space_distributions,
        {space: values[chosen] for space, values in gammas.items()},
        facts={"where": where, "medians": {space: _median(v[chosen]) for space, v in gammas.items()}},
        title=f"Weights of the feature spaces: {where}",
        xlabel="gamma (shares of one)",
    )


def _draw_lstm(figures: FigureSet, maps: Maps, diagnostics: Mapping[str, Any]) -> None:
    if "r-ridge" in maps:
        lstm, ridge = map_values(maps["r"]), map_values(maps["r-ridge"])
        both = np.isfinite(lstm) & np.isfinite(ridge)
        known = diagnostics.get("lstm_minus_ridge", {})
        figures.draw(
            "lstmscatter",
            score_scatter,
            ridge,
            lstm,
            facts={
                "n_voxels": int(both.sum()),
                "where": known.get("voxels", "all voxels"),
                "mean_difference": known.get("mean_r_difference", _mean((lstm - ridge)[both])),
                "share_better": known.get("share_of_voxels_with_higher_r", _mean((lstm > ridge)[both])),
            },
            title="LSTM against ridge",
            xlabel="held-out r, ridge",
            ylabel="held-out r, LSTM",
        )
    trained = [*diagnostics.get("folds", ()), diagnostics.get("final", {})]
    curves = {
        f"without {one['held_out']}" if one.get("held_out") else "final model": one["validation_rsquared"]
        for one in trained
        if one.get("validation_rsquared")
    }
    if curves:
        figures.draw(
            "lstmcurves",
            validation_curves,
            curves,
            facts={"n_epochs": {name: int(np.nanargmax(curve)) for name, curve in curves.items()}},
            title="Validation of the LSTM",
        )


@contextmanager
def _written(figures: FigureSet, key: str, values: np.ndarray, like: str | Path) -> Iterator[Path]:
    """Values as a temporary map beside the figures, of the geometry of another one."""
    geometry = geometry_of_map(like)
    stem = figure_path(figures.out_prefix, f"{key}values").with_suffix("")
    paths = geometry.save_map(stem, values[geometry.kept])
    try:
        yield paths[0]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=float)) if finite.size else float("nan")


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
