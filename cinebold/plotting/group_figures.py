"""Every figure of a group analysis, and the names under which the report finds them.

Keys (the file is `<prefix>_desc-<key>_figure.png`):
    rslices, rsurface, rhist       mean held-out r across participants
    tslices, tsurface              t of Fisher-z r against zero
    qslices                        mean r where q is below the false discovery rate; qsurface: of vertices and
                                   grayordinates
    weights<space><k>              t of the weight of component k (two digits) of a space, on the surface
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cinebold.bold.maps import map_values, targets_name_of
from cinebold.plotting.curves import score_histogram
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.score_figures import KEYS, draw_r
from cinebold.plotting.slices import map_top, statmap_slices
from cinebold.plotting.surface import statmap_surface, surface_of


def draw_group_figures(
    maps: Mapping[str, str | Path],
    *,
    out_prefix: str | Path,
    n_participants: int,
    q: float = 0.05,
    weight_maps: Mapping[str, Sequence[str | Path]] | None = None,
    meshes: Sequence[str | Path] = (),
) -> list[str]:
    """Draw all figures of a group analysis and a list of them, `<prefix>_desc-figures_report.json`.

    Parameters
    ----------
    maps : "r" (mean of held-out r), "t" and "q" (of the test of Fisher-z r) -> 3-D image
    weight_maps : feature space -> 3-D maps of t of its first components' weights
    meshes : surfaces that maps of vertices are drawn on, left and right; none: those of nilearn

    Returns the files written, the list last.
    """
    noun = {"noun": targets_name_of(maps.get("r", ""))}
    figures = FigureSet(out_prefix, options_of={statmap_surface: {"meshes": meshes}, score_histogram: noun})
    with figures.attempt(*KEYS):
        draw_r(
            figures,
            maps,
            q,
            name="mean held-out r",
            label="mean held-out r",
            title=f"Mean held-out r, {n_participants} participants",
            no_map="there is no map of the mean r",
            no_test="there is no map of q",
        )
    with figures.attempt("tslices", "tsurface"):
        if "t" in maps:
            _draw_t(
                figures, maps["t"], ("tslices", "tsurface"), "t of Fisher-z r against zero", n_participants
            )
        else:
            for key in ("tslices", "tsurface"):
                figures.skip(key, "there is no map of t")
    for space, paths in (weight_maps or {}).items():
        for k, path in enumerate(paths):
            key = f"weights{space}{k:02d}"
            with figures.attempt(key):
                _draw_t(
                    figures,
                    path,
                    (None, key),
                    f"{space}, component {k:02d}: t of the weights",
                    n_participants,
                )
    return figures.finish()


def _draw_t(
    figures: FigureSet, path: str | Path, keys: tuple[str | None, str], title: str, n_participants: int
) -> None:
    vmax = map_top(np.abs(map_values(path)))
    options = {
        "title": title,
        "unit": f"t ({n_participants - 1} d.f.)",
        "threshold": min(2.0, 0.6 * vmax),
        "vmax": vmax,
        "symmetric": True,
    }
    facts = {"vmax": vmax, "threshold": options["threshold"]}
    for key, draw in zip(keys, (statmap_slices, statmap_surface), strict=True):
        if key is not None:
            on_surface = surface_of(figures, path) if draw is statmap_surface else {}
            figures.draw(key, draw, path, facts=facts | on_surface, **options)
