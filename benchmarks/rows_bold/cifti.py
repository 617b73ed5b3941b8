"""A dense CIFTI series to clean responses, against nibabel and nilearn."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, row, timed
from benchmarks.rows_bold.runs import HIGH_PASS_HZ, TR_S, MadeRuns
from benchmarks.rows_features.films import in_turns


@row("cifti-run")
def cifti_run(setup: Setup) -> Row:
    """Every grayordinate of a run of about the 91k density; writing our responses to their file is part of our time."""
    n_vertices, n_voxels, n_volumes = (600, 500, 60) if setup.quick else (32492, 26298, 900)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bold.dtseries.nii"
        n_targets = _make_series(path, n_vertices, n_voxels, n_volumes)
        confounds = MadeRuns(Path(folder), None, np.empty(0)).confounds(n_volumes)
        _, peak_mb, _ = timed(lambda: _ours(path, confounds))
        works = {"ours": lambda: _ours(path, confounds), "peer": lambda: _peer(path, confounds.values)}
        turns = in_turns(works, 1 if setup.quick else 2)
        expected = turns.results["peer"] * np.sqrt(n_volumes / (n_volumes - 1))  # theirs divides by n - 1
        agreement = float(np.abs(turns.results["ours"] - expected).max())
    return Row(
        name="cifti-run",
        peer="nibabel's get_fdata, then nilearn.signal.clean",
        goal=3,
        agreement=agreement,
        agreement_of="largest difference of z-scored responses",
        seconds_ours=turns.seconds["ours"],
        seconds_peer=turns.seconds["peer"],
        peak_mb=peak_mb,
        sizes={
            "n_volumes": n_volumes,
            "n_targets": n_targets,
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"],
        },
    )


def _make_series(path: Path, n_vertices: int, n_voxels: int, n_volumes: int) -> int:
    """Two cortices (a ninth of each is medial wall) and one structure of voxels; the number of grayordinates."""
    import nibabel
    from nibabel.cifti2 import BrainModelAxis, SeriesAxis

    kept = np.arange(n_vertices)[np.arange(n_vertices) % 9 > 0]
    axis = BrainModelAxis.from_surface(kept, n_vertices, "CortexLeft")
    axis += BrainModelAxis.from_surface(kept, n_vertices, "CortexRight")
    side = int(np.ceil(n_voxels ** (1 / 3)))
    voxels = np.stack(np.unravel_index(np.arange(n_voxels), (side,) * 3), axis=1)
    axis += BrainModelAxis("Other", voxel=voxels, affine=np.diag([2, 2, 2, 1]), volume_shape=(side,) * 3)
    rng = np.random.default_rng(0)
    values = np.empty((n_volumes, len(axis)), np.float32)
    mean = rng.normal(10000, 1000, len(axis))
    for volume in values:
        volume[:] = mean + 100 * rng.normal(size=len(axis))
    image = nibabel.Cifti2Image(values, (SeriesAxis(0, TR_S, n_volumes), axis))
    image.nifti_header.set_intent("ConnDenseSeries")
    image.to_filename(path)
    return len(axis)


def _ours(path: Path, confounds: Any) -> np.ndarray:
    from cinebold.bold.cifti import CiftiGeometry, CiftiSource
    from cinebold.bold.preparation import prepare_responses

    out = path.with_name("responses.npy")
    source = CiftiSource(path, CiftiGeometry.of_file(path))
    prepare_responses(source, confounds, tr_s=TR_S, high_pass_hz=HIGH_PASS_HZ, out_npy=out)
    return np.load(out, mmap_mode="r")


def _peer(path: Path, confounds: np.ndarray) -> np.ndarray:
    import nibabel
    from nilearn.signal import clean

    return clean(
        nibabel.load(path).get_fdata(),
        detrend=False,
        standardize="zscore_sample",
        confounds=confounds,
        filter="cosine",
        high_pass=HIGH_PASS_HZ,
        t_r=TR_S,
    )
