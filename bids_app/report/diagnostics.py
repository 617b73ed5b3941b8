"""What a reader may doubt of a fit, as rows of tables: folds, conditioning, edges of the grid, times of the films."""

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN_ELSEWHERE = (
    *("folds", "final", "film_timing", "n_rows_of_run", "cross_validation", "alpha_edge_shares"),
    "ridge",  # the whole card of the model beside an LSTM: in the JSON
)
#: Settings that only one choice has: setting -> the setting that decides, and its value.
_OWNED = {
    "gm_threshold": ("mask", "gm"),
    "l1_ratio": ("estimator", "elastic_net"),
    "n_candidates": ("estimator", "banded_ridge"),
    "minimum_shift_s": ("permutation_scheme", "circular-shift"),
    "block_s": ("permutation_scheme", "block"),
}
_SCHEMES = {
    "leave-one-run-out": "Every run was held out in turn.",
    "k-fold": "Groups of runs were held out in turn.",
    "split": "One group of runs was held out and never trained on; the other runs are not scored.",
    "leave-one-stimulus-out": "Films, or groups of them, were held out in turn, wherever they were shown.",
}


def diagnostics_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a page's section on the fit; a part that the summary lacks is empty."""
    found = _mapping(summary.get("diagnostics"))
    scheme = _mapping(found.get("cross_validation")).get("scheme", found.get("cross_validation"))
    shared = _mapping(found.get("cross_validation")).get("shared_films")
    return {
        "scheme": _SCHEMES.get(str(scheme), ""),
        "shared_films": shared if isinstance(shared, str) else "",
        "folds": _fold_rows(found, _objects(summary.get("folds"))),
        "edges": _edges(found),
        "timing": _objects(found.get("film_timing")),
        "used": {str(run): n for run, n in _mapping(found.get("n_rows_of_run")).items()},
        "others": {key: value for key, value in found.items() if key not in _SHOWN_ELSEWHERE},
    }


def settings_in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the responses or the model, without those of choices that were not made."""
    found = {
        key: value
        for key, value in settings.items()
        if key not in _OWNED or settings.get(_OWNED[key][0]) == _OWNED[key][1]
    }
    if isinstance(scheme := found.get("cross_validation"), Mapping):
        grouped = scheme.get("scheme") in ("k-fold", "leave-one-stimulus-out")
        in_use = {"n_folds": grouped, "test": bool(scheme.get("test"))}
        found["cross_validation"] = {key: value for key, value in scheme.items() if in_use.get(key, True)}
    return found


def _fold_rows(found: Mapping[str, Any], named: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a fold and one for the final model, with what was held out."""
    rows = []
    for number, fold in enumerate(_objects(found.get("folds"))):
        names = named[number] if number < len(named) else {}
        runs, films = (_texts(names.get(key)) for key in ("runs", "films"))
        held_out = ", ".join(runs) or str(fold.get("held_out") or "?")
        rows.append({**fold, "name": held_out, "films": films})
    final = _mapping(found.get("final"))
    return [*rows, {**final, "name": "final model", "films": []}] if final else rows


def _edges(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The share of predicted voxels at either end of the grid of alphas."""
    grid = [alpha for alpha in _list(found.get("alphas")) if isinstance(alpha, int | float)]
    shares = _mapping(found.get("alpha_edge_shares"))
    if not grid:
        return []
    return [
        {"edge": edge, "alpha": end(grid), "share": shares.get(edge)}
        for edge, end in (("least", min), ("largest", max))
        if isinstance(shares.get(edge), int | float)
    ]


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _objects(value: Any) -> list[dict[str, Any]]:
    return [dict(item) for item in _list(value) if isinstance(item, Mapping)]


def _texts(value: Any) -> list[str]:
    return [str(item) for item in _list(value)]
