"""Figures of a fitted model: its weights over delays, and what its components are made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.maps import map_values, targets_name_of
from cinebold.design.loadings import with_fixed_sign
from cinebold.plotting.curves import delay_profile
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.slices import below
from cinebold.plotting.words import wordcloud_figure, worth_reading


def draw_delays(figures: FigureSet, model: Any, maps: Mapping[str, str | Path], q: float) -> None:
    """Weights over delays in the voxels that the model predicts; elsewhere they are noise."""
    spaces = list(model.weights)
    if not spaces:
        figures.skip("delays", "a network has no weights over delays")
        return
    if len(model.delays) < 2:
        how = f"the response {model.hrf}" if model.hrf != "none" else "one delay only"
        figures.skip("delays", f"the model has {how}")
        return
    delays_s = [delay * model.tr_s for delay in model.delays]
    n_targets = model.weights[spaces[0]].shape[-1]
    noun = targets_name_of(maps.get("r", ""))
    chosen, where = np.ones(n_targets, dtype=bool), f"all {noun}"
    if "r" in maps and model.mask is not None:
        mask = np.asarray(model.mask, dtype=bool)
        r = map_values(maps["r"])[mask]
        significant = below(maps["q"], q)[mask] if "q" in maps else np.zeros(n_targets, dtype=bool)
        if significant.sum() >= 10:
            chosen, where = significant, f"{int(significant.sum()):,} {noun} with q < {q:g}"
        elif np.isfinite(r).any():
            chosen, where = r >= np.nanquantile(r, 0.95), f"the 5 % of {noun} with the highest r"
    rms = np.array(
        [
            np.sqrt(np.nanmean(np.square(weights[..., chosen]), axis=(0, 2)))
            for weights in model.weights.values()
        ]
    )
    peaks = {
        space: delays_s[int(np.argmax(profile))]
        for space, profile in zip(spaces, np.nan_to_num(rms), strict=True)
    }
    figures.draw(
        "delays",
        delay_profile,
        rms,
        delays_s,
        facts={"where": where, "peak_s": peaks},
        spaces=spaces,
        title=f"Weights over delays: {where}",
    )


def draw_word_clouds(figures: FigureSet, model: Any, n_word_clouds: int) -> None:
    """What the first components of each feature space are made of."""
    for space, reducer in model.reducers.items():
        names = model.names.get(space, ())
        if reducer.components is None:
            figures.skip(f"loadings{space}00", "there was no PCA, so the columns are the features themselves")
        elif not worth_reading(names):
            figures.skip(f"loadings{space}00", "the columns have no names worth reading")
        else:
            for k, component in enumerate(with_fixed_sign(reducer.components)[:n_word_clouds]):
                share = float(reducer.explained_variance_ratio[k])
                figures.draw(
                    f"loadings{space}{k:02d}",
                    wordcloud_figure,
                    dict(zip(names, component.tolist(), strict=True)),
                    facts={"space": space, "component": k, "variance_explained": share},
                    title=f"{space}, component {k:02d} ({100 * share:.1f} % of variance)",
                )


def load_model_if_there(prefix: str | Path | None) -> Any:
    """A saved model of any kind; None: there is none."""
    if prefix is None or not Path(f"{prefix}.json").exists():
        return None
    from cinebold.encoding.lstm.model import load_model

    return load_model(prefix)
