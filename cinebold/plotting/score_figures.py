"""The figures of a map of r, of a participant or a group: slices, surface, histogram, and where q is small."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cinebold.bold.maps import map_values
from cinebold.plotting.curves import score_histogram
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.slices import below, map_top, statmap_slices
from cinebold.plotting.surface import statmap_surface, surface_of

KEYS = ("rslices", "rsurface", "rhist", "qslices")


def draw_r(
    figures: FigureSet,
    maps: Mapping[str, str | Path],
    q: float,
    *,
    name: str,
    label: str,
    title: str,
    no_map: str,
    no_test: str,
    least_significant: bool = False,
) -> None:
    """Draw the figures of `KEYS`, and "qsurface" of vertices and grayordinates.

    Parameters
    ----------
    maps : "r" and "q" -> image
    name : of the score, its unit in figures; `label`: the same under the histogram
    title : of slices and surface
    no_map, no_test : why figures are not made where there is no map of r, or of q
    least_significant : colours begin at the least r that is significant; else at a fourth of the largest
    """
    if "r" not in maps:
        for key in KEYS:
            figures.skip(key, no_map)
        return
    r, q_map = map_values(maps["r"]), maps.get("q")
    vmax = map_top(r)
    threshold, significant = vmax / 4, None if q_map is None else below(q_map, q)
    if least_significant and significant is not None and np.any(significant & (r > 0)):
        threshold = min(float(r[significant & (r > 0)].min()), 0.6 * vmax)
    shared = {"title": title, "unit": name, "vmax": vmax, "threshold": threshold}
    facts = {"vmax": vmax, "threshold": threshold, "q": q, "outlined": q_map is not None}
    on_surface = surface_of(figures, maps["r"])
    figures.draw("rslices", statmap_slices, maps["r"], facts=facts, q_image=q_map, q=q, **shared)
    figures.draw("rsurface", statmap_surface, maps["r"], facts=facts | on_surface, **shared)
    figures.draw(
        "rhist",
        score_histogram,
        r,
        facts={"n_voxels": int(np.isfinite(r).sum())},
        title=f"Distribution of {name}",
        xlabel=label,
        significant=significant,
        significant_label=f"with q < {q:g}",
    )
    if significant is None:
        figures.skip("qslices", no_test)
        return
    if not significant.any():
        figures.skip("qslices", f"no voxel has q < {q:g}")
        return
    heading = f"{name[0].upper()}{name[1:]} where q < {q:g}"
    options = {"title": heading, "unit": name, "vmax": vmax, "q_image": q_map, "q": q}
    facts = {"q": q, "n_voxels": int(significant.sum())}
    figures.draw("qslices", statmap_slices, maps["r"], facts=facts, **options, only_significant=True)
    if on_surface:
        figures.draw("qsurface", statmap_surface, maps["r"], facts=facts | on_surface, **options)
