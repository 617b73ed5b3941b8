"""Compressed volumes to clean responses, against nilearn; and the memory that it takes."""

import json
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.registry import Row, Setup, row, timed
from benchmarks.rows_bold.runs import HIGH_PASS_HZ, TR_S, MadeRuns, make_runs
from benchmarks.rows_features.films import in_turns

#: What a run may take, whatever its length.
MEMORY_LIMIT_MB = 1000


@dataclass(frozen=True)
class MemoryRow(Row):
    """A row whose ratio is of memory: what may be taken over what is."""

    @property
    def ratio(self) -> float:
        """The limit over our peak."""
        return MEMORY_LIMIT_MB / self.peak_mb


@row("volume-run")
def volume_run(setup: Setup) -> Row:
    """A compressed run of 2 mm to clean responses of grey matter at 3 mm, trilinear."""
    return _volume_row(setup, "volume-run", "linear", 10)


@row("volume-run-cubic")
def volume_run_cubic(setup: Setup) -> Row:
    """The same by cubic splines, as nilearn's masker resamples; scipy's spline filter takes most of both times."""
    return _volume_row(setup, "volume-run-cubic", "cubic", 1)


def _volume_row(setup: Setup, name: str, interpolation: str, goal: float) -> Row:
    full, sample = (60, 30) if setup.quick else (900, 150)
    if interpolation == "cubic":
        full = sample
    with TemporaryDirectory() as folder:
        run = make_runs(Path(folder), setup, tuple(sorted({sample, full})))
        _, peak_mb, _ = timed(lambda: prepare(run, full, interpolation))
        works = {
            "ours": lambda: prepare(run, full, interpolation),
            "peer": lambda: _by_nilearn(run, sample, interpolation),
        }
        turns = in_turns(works, 1 if setup.quick else 2)
        expected = turns.results["peer"] * np.sqrt(sample / (sample - 1))  # theirs divides by n - 1
        agreement = float(np.abs(prepare(run, sample, interpolation) - expected).max())
        n_targets = int(run.mask.sum())
        file_mb = run.bold(full).stat().st_size / 1e6
    peer_s = turns.seconds["peer"] * full / sample
    return Row(
        name=name,
        peer=f"nilearn, NiftiMasker ({interpolation} resampling), its time on {sample} volumes scaled to {full}",
        goal=goal,
        agreement=agreement,
        agreement_of="largest difference of z-scored responses",
        seconds_ours=turns.seconds["ours"],
        seconds_peer=peer_s,
        peak_mb=peak_mb,
        sizes={
            "n_volumes": full,
            "n_volumes_peer": sample,
            "n_targets": n_targets,
            "file_mb": file_mb,
            "ms_per_volume": 1000 * turns.seconds["ours"] / full,
            "ms_per_volume_peer": 1000 * peer_s / full,
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"] * full / sample,
        },
    )


def prepare(run: MadeRuns, n_volumes: int, interpolation: str) -> np.ndarray:
    """Our responses, through the file that they are written to."""
    from cinebold.bold.preparation import prepare_run

    out = run.folder / "responses.npy"
    prepare_run(
        bold=run.bold(n_volumes),
        brain_mask=None,
        grid_target=run.grid,
        mask=run.mask,
        confounds=run.confounds(n_volumes),
        tr_s=TR_S,
        high_pass_hz=HIGH_PASS_HZ,
        out_npy=out,
        interpolation=interpolation,
    )
    return np.load(out, mmap_mode="r")


def _by_nilearn(run: MadeRuns, n_volumes: int, interpolation: str) -> np.ndarray:
    import nibabel
    from nilearn.image import resample_img
    from nilearn.maskers import NiftiMasker

    mask = nibabel.Nifti1Image(run.mask.astype(np.uint8), run.grid.affine)
    cubic = {"target_affine": run.grid.affine, "target_shape": run.grid.shape}
    masker = NiftiMasker(
        mask_img=mask,
        standardize="zscore_sample",
        high_pass=HIGH_PASS_HZ,
        t_r=TR_S,
        clean_args={"filter": "cosine"},
        **(cubic if interpolation == "cubic" else {}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = nibabel.load(run.bold(n_volumes))
        if interpolation != "cubic":
            image = resample_img(
                image, run.grid.affine, run.grid.shape, interpolation=interpolation, copy_header=True
            )
        return masker.fit_transform(image, confounds=run.confounds(n_volumes).values)


@row("peak-memory")
def peak_memory(setup: Setup) -> Row:
    """The largest resident memory of a process that prepares a run, Python and its libraries included."""
    lengths = (30, 90) if setup.quick else (300, 900, 2700)
    peaks, seconds = {}, {}
    with TemporaryDirectory() as folder:
        run = make_runs(Path(folder), setup, lengths)
        np.save(run.folder / "mask.npy", run.mask)
        np.save(run.folder / "affine.npy", run.grid.affine)
        for n in lengths:
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.rows_bold.child", folder, str(n)],
                cwd=Path(__file__).resolve().parents[2],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds[n] = time.perf_counter() - start
            peaks[n] = json.loads(done.stdout)["peak_mb"]
    longest = max(lengths)
    return MemoryRow(
        name="peak-memory",
        peer=f"{MEMORY_LIMIT_MB} MB; the ratio is theirs over our peak, the seconds are ours",
        goal=1,
        agreement=peaks[longest] / peaks[min(lengths)],
        agreement_of="peak of the longest run over that of the shortest",
        seconds_ours=seconds[longest],
        seconds_peer=seconds[longest],
        peak_mb=max(peaks.values()),
        sizes={"n_volumes": list(lengths), "peak_mb": peaks, "n_targets": int(run.mask.sum())},
    )
