"""A made run: a compressed series of the size of MNI space, its grey matter and its confounds."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks.registry import Setup

TR_S = 1.0
HIGH_PASS_HZ = 0.008
RESOLUTION_MM = 3.0
N_CONFOUNDS = 24
#: Volumes that differ; a series repeats them in random order.
N_DISTINCT = 48
AFFINE = np.array([[-2.0, 0, 0, 96], [0, 2.0, 0, -132], [0, 0, 2.0, -78], [0, 0, 0, 1]])


@dataclass(frozen=True)
class MadeRuns:
    """Folder with bold-<n>.nii.gz of several lengths n, each the beginning of the next."""

    folder: Path
    grid: Any  #: of the responses
    mask: np.ndarray

    def bold(self, n_volumes: int) -> Path:
        """The series of that length."""
        return self.folder / f"bold-{n_volumes}.nii.gz"

    def confounds(self, n_volumes: int) -> Any:
        """24 random confounds."""
        from cinebold.bold.confounds import Confounds

        values = np.random.default_rng(1).normal(size=(n_volumes, N_CONFOUNDS))
        names = tuple(f"confound{index:02}" for index in range(N_CONFOUNDS))
        return Confounds(values, names, np.ones(n_volumes, bool), "made", "made_confounds.tsv")


def make_runs(folder: Path, setup: Setup, lengths: tuple[int, ...]) -> MadeRuns:
    """int16 volumes of a bright ellipsoid in faint noise, gzip of level 1 as nibabel writes it; its outer shell is the
    mask."""
    from cinebold.bold.grid import target_grid

    shape = (25, 29, 25) if setup.quick else (97, 115, 97)
    affine = AFFINE @ np.diag([4.0, 4.0, 4.0, 1.0]) if setup.quick else AFFINE
    grid = target_grid(shape, affine, 4 * RESOLUTION_MM if setup.quick else RESOLUTION_MM)
    order = np.random.default_rng(2).permutation(np.resize(np.arange(N_DISTINCT), max(lengths)))
    blocks = _compressed_volumes(shape, affine)
    for n in lengths:
        _write(folder / f"bold-{n}.nii.gz", shape, affine, [blocks[index] for index in order[:n]])
    radius = _radius(grid.shape, grid.affine)
    # The shell has about as many voxels of 3 mm as grey matter above a probability of 0.2: 52,000.
    return MadeRuns(folder, grid, (radius > 0.66) & (radius < 0.97))


def _radius(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """0 in the middle of the brain, 1 at its border."""
    voxels = np.indices(shape).reshape(3, -1)
    mm = affine[:3, :3] @ voxels + affine[:3, 3:]
    return np.linalg.norm((mm.T - [0, -18, 16]) / [72, 90, 72], axis=1).reshape(shape)


def _compressed_volumes(shape: tuple[int, ...], affine: np.ndarray) -> list[tuple[bytes, bytes]]:
    """(compressed, raw) of the distinct volumes; each ends with a full flush, so that any order is one gzip stream."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    brain = gaussian_filter((_radius(shape, affine) < 1).astype(np.float32), 1)
    mean = 150 + brain * (9000 + 30000 * gaussian_filter(rng.normal(size=shape).astype(np.float32), 3))
    scale = 0.1 + 0.9 * brain
    noise = [300 * gaussian_filter(rng.normal(size=shape).astype(np.float32), 0.7) for _ in range(6)]
    made = []
    for _ in range(N_DISTINCT):
        weights, shifts = rng.normal(size=3), rng.integers(0, shape[0], 3)
        chosen = rng.choice(len(noise), 3, replace=False)
        change = sum(
            weight * np.roll(noise[one], shift, axis=0)
            for weight, one, shift in zip(weights, chosen, shifts, strict=True)
        )
        raw = np.rint(mean + scale * change).astype("<i2").tobytes(order="F")
        made.append((_deflated(raw), raw))
    return made


def _deflated(raw: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)


def _write(
    path: Path, shape: tuple[int, ...], affine: np.ndarray, volumes: list[tuple[bytes, bytes]]
) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((*shape, len(volumes)))
    header.set_data_dtype("<i2")
    header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0), TR_S))
    header.set_sform(affine, 4)
    header.set_qform(affine, 4)
    header.set_slope_inter(
        0.5, 0
    )  # as fMRIPrep stores floats; nilearn would round the values of unscaled integers
    header["magic"], header["vox_offset"] = b"n+1", 352
    first = header.binaryblock + bytes(4)
    checksum, n_bytes = zlib.crc32(first), len(first)
    with open(path, "wb") as stream:
        stream.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + _deflated(first))
        for compressed, raw in volumes:
            checksum, n_bytes = zlib.crc32(raw, checksum), n_bytes + len(raw)
            stream.write(compressed)
        stream.write(zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS).flush())
        stream.write(checksum.to_bytes(4, "little") + (n_bytes % 2**32).to_bytes(4, "little"))
