"""Every figure of one participant's analysis, and the names under which the report finds them.

Keys (the file is `<prefix>_desc-<key>_figure.png`):
    rslices, rsurface, rhist   held-out r on slices, on the surface, its distribution
    qslices                    r where q is below the false discovery rate; qsurface: of vertices and grayordinates
    rsquaredslices             held-out R2; rsquaredsurface: of vertices and grayordinates
    ceilingslices              the noise ceiling; likewise ceilingsurface
    rnormslices                r as a share of it, where it is high enough; likewise rnormsurface
    design1, design2, ...      films and feature time courses, one a run, in the order of the runs
    motion                     framewise displacement of all runs
    alphas                     chosen alphas
    delays                     size of the weights over delays
    loadings<space><k>         word clouds of component k (two digits, from 00) of a feature space
and those of `space_figures`, where feature spaces, layers or models are compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.maps import map_values, targets_name_of
from cinebold.plotting.curves import alpha_histogram, score_histogram
from cinebold.plotting.design import design_figure, stretches
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.model_figures import draw_delays, draw_word_clouds, load_model_if_there
from cinebold.plotting.motion import MotionTrace, draw_motion
from cinebold.plotting.score_figures import KEYS, draw_r
from cinebold.plotting.slices import map_top, statmap_slices
from cinebold.plotting.space_figures import draw_space_figures
from cinebold.plotting.surface import statmap_surface, surface_of

_NO_REPEAT = "no film was shown in two runs for ten volumes or more without another film in their design"
_MOST_RNORM = 1.2  #: where the colours of normalised r end at the latest
_CURVES = 6  #: how many columns of a feature space the design figure shows


def draw_participant_figures(
    maps: Mapping[str, str | Path],
    *,
    out_prefix: str | Path,
    designs: Sequence[str | Path] = (),
    model_prefix: str | Path | None = None,
    alphas: Sequence[float] = (),
    q: float = 0.05,
    n_word_clouds: int = 3,
    film_names: Mapping[str, str] | None = None,
    spaces: Sequence[str] = (),
    diagnostics: Mapping[str, Any] | None = None,
    meshes: Sequence[str | Path] = (),
    motion: Sequence[MotionTrace] = (),
) -> list[str]:
    """Draw all figures of one analysis and a list of them, `<prefix>_desc-figures_report.json`.

    Parameters
    ----------
    maps : statistic (r, rsquared, p, q, alpha, noiseceiling, "unique-<space>", ...) -> 3-D image; any may be absent
    out_prefix : e.g. "OUT/sub-01/figures/sub-01_task-movie_space-X_res-3mm_model-Y"
    designs : saved `RunDesign` files (.npz), one a run
    model_prefix : where the `EncodingModel` was saved
    alphas : the grid of alphas; empty: what the map contains
    q : the false discovery rate
    n_word_clouds : how many components of a space get word clouds, where the columns have names worth reading
    film_names : film identifier of the designs -> what to call the film in the figures
    spaces : the feature spaces in their order
    diagnostics : of the fit
    meshes : surfaces that maps of vertices are drawn on, left and right; none: those of nilearn
    motion : a trace a run, in their order; none: nothing is drawn of motion

    Returns the files written, the list last.
    """
    noun = {"noun": targets_name_of(maps.get("r", ""))}
    options = {statmap_surface: {"meshes": meshes}, score_histogram: noun, alpha_histogram: noun}
    figures = FigureSet(out_prefix, options_of=options)
    with figures.attempt(*KEYS):
        draw_r(
            figures,
            maps,
            q,
            name="held-out r",
            label="held-out r (Pearson correlation)",
            title="Held-out r",
            no_map="there is no map of r",
            no_test="no permutation test was run",
            least_significant=True,
        )
    for key, statistic, title, unit, why_absent in (
        ("rsquared", "rsquared", "Held-out R²", "held-out R²", "there is no map of R²"),
        ("ceiling", "noiseceiling", "Noise ceiling", "highest r a model can reach", _NO_REPEAT),
        ("rnorm", "rnorm", "Normalised r", "r / noise ceiling", ""),
    ):
        with figures.attempt(f"{key}slices"):
            if statistic in maps:
                # A ceiling that is too low lets the normalised r of single voxels go far beyond 1.
                most = _MOST_RNORM if statistic == "rnorm" else None
                _draw_map(figures, key, maps[statistic], title, unit, most)
            elif why_absent:
                figures.skip(f"{key}slices", why_absent)
    draw_space_figures(figures, maps, spaces, diagnostics or {}, q)
    if motion:
        with figures.attempt("motion"):
            draw_motion(figures, motion)
    model, runs = None, []
    with figures.attempt("delays"):
        model = load_model_if_there(model_prefix)
    with figures.attempt("design1"):
        runs = _load_designs(designs)
        _draw_designs(figures, runs, model, film_names or {})
    with figures.attempt("alphas"):
        _draw_alphas(figures, maps, alphas, (diagnostics or {}).get("alpha_unit", "relative"))
    if model is not None:
        with figures.attempt("delays"):
            draw_delays(figures, model, maps, q)
        draw_word_clouds(figures, model, n_word_clouds)
    elif "delays" not in figures.not_made:
        figures.skip("delays", "the fitted model is not there")
    return figures.finish()


def _draw_map(
    figures: FigureSet, key: str, image: str | Path, title: str, unit: str, most: float | None
) -> None:
    """A map on slices, and one of vertices or grayordinates on the surface; the colours end at `most` or before."""
    vmax = map_top(map_values(image))
    vmax = vmax if most is None else min(vmax, most)
    scale = {"vmax": vmax, "threshold": vmax / 4}
    shared = {"title": title, "unit": unit, **scale}
    figures.draw(f"{key}slices", statmap_slices, image, facts=scale, **shared)
    if on_surface := surface_of(figures, image):
        figures.draw(f"{key}surface", statmap_surface, image, facts=scale | on_surface, **shared)


def _draw_alphas(
    figures: FigureSet, maps: Mapping[str, str | Path], grid: Sequence[float], unit: str
) -> None:
    if "alpha" not in maps:
        figures.skip("alphas", "the model has no map of alphas")
        return
    if len(grid) == 1:
        figures.skip("alphas", f"there was nothing to choose: the only alpha is {grid[0]:g}")
        return
    chosen = map_values(maps["alpha"])
    figures.draw(
        "alphas",
        alpha_histogram,
        chosen,
        grid,
        facts={"n_voxels": int(np.isfinite(chosen).sum())},
        unit="unit-free" if unit == "relative" else unit,
    )


def _draw_designs(figures: FigureSet, runs: Sequence[Any], model: Any, film_names: Mapping[str, str]) -> None:
    if not runs:
        figures.skip("design1", "the designs are not there")
    for number, run in enumerate(runs, start=1):
        columns, names = {}, {}
        for space, features in run.features.items():
            columns[space], names[space] = _shown_columns(features, run.names.get(space, ()), space, model)
        films = [
            (film_names.get(film_id, f"film {index + 1}"), start * run.tr_s, end * run.tr_s)
            for index, film_id in enumerate(run.film_ids)
            for start, end in stretches(np.asarray(run.film_of_volume) == index)
        ]
        figures.draw(
            f"design{number}",
            design_figure,
            np.arange(len(run.has_film)) * run.tr_s,
            columns,
            run.has_film,
            sorted(films, key=lambda film: film[1]),
            facts={"run": run.label},
            title=run.label,
            names=names,
            keep=run.keep,
            **({} if run.film_time_s is not None else {"time_label": "presentations in their order"}),
        )


def _shown_columns(features: np.ndarray, names: Sequence[str], space: str, model: Any):
    """The columns of a space that fit into a figure: its features if few, else its first components."""
    features = np.asarray(features, dtype=float)
    if features.shape[1] <= _CURVES:
        return features, [name.replace("_", " ") for name in names]
    reducer = model.reducers.get(space) if model is not None else None
    if reducer is None or reducer.components is None:
        return features[:, :_CURVES], list(names[:_CURVES])
    shown = reducer.scores(features)[:, :_CURVES]
    return shown, [f"PC {i:02d}" for i in range(shown.shape[1])]


def _load_designs(paths: Sequence[str | Path]) -> list[Any]:
    if not paths:
        return []
    from cinebold.design.run_design import RunDesign

    return [RunDesign.load(path) for path in paths]
