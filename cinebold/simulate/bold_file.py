"""Writing a simulated BOLD series volume by volume, and the small images around it."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from cinebold.files import atomic_path, save_nifti

LARGEST_INT16 = 32767


def write_bold(
    path: str | Path, series: np.ndarray, mask: np.ndarray, affine: np.ndarray, tr_s: float
) -> Path:
    """Write (n_volumes, n_voxels) as a 4-D NIfTI in int16 with a slope; zero outside the mask.

    One volume is in memory at a time, and equal series give equal bytes. The step between stored values is
    1/32767 of the greatest value, a few thousandths of the noise.
    """
    header = _header((*mask.shape, len(series)), affine, tr_s)
    slope = np.float32(max(float(series.max()), -float(series.min()), 1e-6) / LARGEST_INT16)
    header["scl_slope"], header["scl_inter"] = slope, 0
    volume = np.zeros(mask.shape, np.int16)
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream,
    ):
        stream.write(header.binaryblock + bytes(4))
        for row in series:
            volume[mask] = np.rint(row / slope).astype(np.int16)
            stream.write(volume.tobytes(order="F"))
    return Path(path)


def write_map(path: str | Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """Write a 3-D image: bool as uint8, whole numbers as int16, all else as float32."""
    if values.dtype == bool:
        values = values.astype(np.uint8)
    elif np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.int16)
    else:
        values = values.astype(np.float32)
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    _set_space(image.header, affine)
    return save_nifti(path, image)


def write_placeholder_bold(path: str | Path, n_volumes: int, tr_s: float, n_slices: int = 4) -> Path:
    """Write the raw BOLD of a run as a few constant voxels: nobody reads it, but BIDS wants it there."""
    mask = np.ones((4, 4, n_slices), bool)
    affine = np.diag([50.0, 50.0, 200.0 / n_slices, 1.0])
    affine[:3, 3] = -75.0, -75.0, -100.0
    return write_bold(path, np.full((n_volumes, mask.size), 1000.0, np.float32), mask, affine, tr_s)


def _header(shape: tuple[int, ...], affine: np.ndarray, tr_s: float) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_zooms((*np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), tr_s))
    header.set_xyzt_units("mm", "sec")
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    _set_space(header, affine)
    return header


def _set_space(header: nib.Nifti1Header, affine: np.ndarray) -> None:
    header.set_sform(affine, code=4)  # 4: MNI space, as fMRIPrep writes it
    header.set_qform(affine, code=4)
