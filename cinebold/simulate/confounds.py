"""A confounds table as fMRIPrep writes it, computed from the simulated series and head motion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.files import write_json, write_text
from cinebold.simulate.noise import MOTION_AXES
from cinebold.simulate.signals import with_fixed_sign

Table = dict[str, np.ndarray]


def make_confounds(
    series: np.ndarray,
    motion: np.ndarray,
    cosines: np.ndarray,
    *,
    white: np.ndarray,
    csf: np.ndarray,
    n_non_steady: int = 0,
    n_components: int = 6,
) -> tuple[Table, dict[str, Any]]:
    """The columns of `desc-confounds_timeseries.tsv` and the content of its JSON sidecar, named as by fMRIPrep 23.2.

    Parameters
    ----------
    series : (n_volumes, n_voxels), the BOLD series of the brain mask, in image units
    motion : (n_volumes, 6), mm and radians, in the order of `MOTION_AXES`
    cosines : (n_volumes, n_cosines)
    white, csf : (n_voxels,) tissue probabilities
    """
    volumes = len(series)
    tissue = {"csf": _most_probable(csf), "white_matter": _most_probable(white)}
    means = {
        "global_signal": series.mean(axis=1, dtype=np.float64),
        "csf": series[:, tissue["csf"]].mean(axis=1, dtype=np.float64),
        "white_matter": series[:, tissue["white_matter"]].mean(axis=1, dtype=np.float64),
    }
    table: Table = {}
    for name, values in means.items():
        table.update(_expanded(name, values))
    both = np.concatenate([tissue["csf"], tissue["white_matter"]])
    table["csf_wm"] = series[:, both].mean(axis=1, dtype=np.float64)
    table.update(_framewise(series, motion))
    metadata: dict[str, Any] = {}
    for prefix, label, voxels in (
        ("c", "CSF", tissue["csf"]),
        ("w", "WM", tissue["white_matter"]),
        ("a", "combined", both),
    ):
        components, facts = _compcor(series[n_non_steady:, voxels], cosines[n_non_steady:], n_components)
        for k, component in enumerate(components.T):
            column = f"{prefix}_comp_cor_{k:02d}"
            # Zero in the non-steady-state volumes, as in fMRIPrep, which leaves them out of the
            # decomposition.
            table[column] = np.concatenate([np.zeros(n_non_steady), component])
            metadata[column] = {"Mask": label, "Method": "aCompCor", "Retained": True, **facts[k]}
    for k, cosine in enumerate(cosines.T):
        table[f"cosine{k:02d}"] = cosine
    for k in range(n_non_steady):
        table[f"non_steady_state_outlier{k:02d}"] = _one_hot(volumes, k)
    for axis, values in zip(MOTION_AXES, motion.T, strict=True):
        table.update(_expanded(axis, values))
    outliers = np.flatnonzero(np.nan_to_num(table["framewise_displacement"]) > 0.5)
    for k, volume in enumerate(outliers):
        table[f"motion_outlier{k:02d}"] = _one_hot(volumes, int(volume))
    for column in ("csf", "white_matter", "global_signal"):
        metadata[column] = {"Method": "Mean"}
    return table, dict(sorted(metadata.items()))


def write_confounds(path: Path, table: Table, metadata: dict[str, Any]) -> Path:
    """Write the table and its sidecar; `n/a` where a column is not defined (derivatives in the first row)."""
    write_json(path.with_suffix(".json"), metadata)
    columns = [[_number(value) for value in values] for values in table.values()]
    lines = ["\t".join(table), *("\t".join(row) for row in zip(*columns, strict=True))]
    return write_text(path, "\n".join(lines) + "\n")


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Columns of a TSV file as float64, NaN for `n/a`; all columns, or those that exist of the ones named."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:]]
    wanted = [name for name in names if columns is None or name in columns]
    at = {name: names.index(name) for name in wanted}
    return {
        name: np.array([np.nan if row[at[name]] in ("n/a", "") else float(row[at[name]]) for row in rows])
        for name in wanted
    }


def simple_strategy(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """What nilearn's strategy "simple" regresses out, (n_volumes, k), and which volumes it keeps, (n_volumes,) bool.

    The slow cosines, 24 motion columns, and the mean of white matter and of CSF; the first row of
    derivatives, which is not defined, takes the second. Non-steady-state volumes are dropped.
    """
    expansions = ("", "_derivative1", "_power2", "_derivative1_power2")
    names = [name for name in table if name.startswith("cosine")]
    names += [f"{axis}{expansion}" for axis in MOTION_AXES for expansion in expansions]
    names += ["white_matter", "csf"]
    columns = np.stack([table[name] for name in names], axis=1)
    columns[0] = np.where(np.isnan(columns[0]), columns[1], columns[0])
    flagged = [values for name, values in table.items() if name.startswith("non_steady_state_outlier")]
    keep = np.ones(len(columns), bool) if not flagged else ~np.any(flagged, axis=0)
    return columns, keep


def _expanded(name: str, values: np.ndarray) -> Table:
    difference = np.concatenate([[np.nan], np.diff(values)])
    return {
        name: values,
        f"{name}_derivative1": difference,
        f"{name}_derivative1_power2": difference**2,
        f"{name}_power2": values**2,
    }


def _framewise(series: np.ndarray, motion: np.ndarray) -> Table:
    """DVARS (Power et al. 2012; standardised: Nichols 2017) and framewise displacement, head radius 50 mm."""
    dvars = np.sqrt(np.mean(np.square(np.diff(series, axis=0), dtype=np.float64), axis=1))
    lower, upper = np.percentile(series, [25, 75], axis=0)
    robust_sd = (upper - lower) / 1.349
    centred = series - series.mean(axis=0)
    lag1 = (centred[1:] * centred[:-1]).mean(axis=0) / np.maximum((centred**2).mean(axis=0), 1e-12)
    expected = np.sqrt(np.mean(2 * (1 - lag1) * robust_sd**2))
    step = np.abs(np.diff(motion, axis=0))
    displacement = step[:, :3].sum(axis=1) + 50 * step[:, 3:].sum(axis=1)
    first = [np.nan]
    return {
        "std_dvars": np.concatenate([first, dvars / expected]),
        "dvars": np.concatenate([first, dvars]),
        "framewise_displacement": np.concatenate([first, displacement]),
    }


def _compcor(
    series: np.ndarray, cosines: np.ndarray, n_components: int
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Left singular vectors of the high-passed, standardised series (Behzadi et al. 2007), and their shares."""
    basis = np.column_stack([np.ones(len(series)), cosines])
    values = series - basis @ np.linalg.lstsq(basis, series.astype(np.float64), rcond=None)[0]
    values /= np.maximum(values.std(axis=0), 1e-12)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    left = with_fixed_sign(left[:, :n_components])
    share = singular**2 / (singular**2).sum()
    facts = [
        {
            "CumulativeVarianceExplained": round(float(share[: k + 1].sum()), 10),
            "SingularValue": round(float(singular[k]), 10),
            "VarianceExplained": round(float(share[k]), 10),
        }
        for k in range(left.shape[1])
    ]
    return left, facts


def _most_probable(probability: np.ndarray, share: float = 0.02) -> np.ndarray:
    """The voxels that are most surely this tissue: 2 % of the brain, at least twelve."""
    n_voxels = max(12, int(share * len(probability)))
    return np.sort(np.argsort(-probability, kind="stable")[:n_voxels])


def _one_hot(n_volumes: int, volume: int) -> np.ndarray:
    return np.eye(n_volumes)[volume]


def _number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.10g}"
