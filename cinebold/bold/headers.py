"""NIfTI headers: shape, affine, type and scaling of the values, and the doubts that a header raises."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from cinebold.bold.grid import Grid, grids_equal
from cinebold.bold.streams import open_uncompressed, require_content, stream_errors
from cinebold.errors import InputError

#: qform and sform may differ by this much, in voxels, before it is said: quaternions are float32.
FORM_TOLERANCE = 0.1

#: Codes of data types that hold no number, or none that can be read.
_FLOAT16, _RGB, _RGBA = 16384, 128, 2304


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What is needed of a header.

    Attributes
    ----------
    shape : all dimensions
    affine : (4, 4), voxel indices to mm: the sform where it is set, else the qform
    zooms : voxel sizes in mm, then the header's repetition time where there is one
    dtype : of the stored values, with their byte order
    offset : of the first value, in bytes
    slope, intercept : value = slope * stored + intercept
    warnings : sentences for the report
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    zooms: tuple[float, ...]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    warnings: tuple[str, ...] = ()

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Apply slope and intercept to float32 values, in place."""
        if self.slope != 1:
            values *= np.float32(self.slope)
        if self.intercept != 0:
            values += np.float32(self.intercept)
        return values


def read_header(path: str | Path) -> NiftiHeader:
    """The header of a NIfTI-1 or NIfTI-2 file, .nii or .nii.gz whatever its name.

    Raises
    ------
    InputError : no file, a git-annex pointer, not a NIfTI, a type that holds no real numbers (colours, complex
        numbers) or none that NIfTI knows (float16), an impossible shape or affine.
    """
    path = require_content(path)
    try:
        with open_uncompressed(path) as stream:
            start = stream.read(72)
            stream.seek(0)
            # sizeof_hdr tells the version: 348 or 540, in either byte order.
            second = start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
            kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
            datatype = start[12:14] if second else start[70:72]
            _check_type(path, int.from_bytes(datatype, "big" if start[:1] == b"\0" else "little"))
            header = kind.from_fileobj(stream)
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
    except stream_errors() as error:
        raise InputError(f"The header of {path} cannot be read ({error}); get the file again.") from error
    except (nibabel.spatialimages.HeaderDataError, nibabel.wrapstruct.WrapStructError) as error:
        raise InputError(f"{path} is not a NIfTI image that can be read ({error}).") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{path} stores its values as {dtype}; expected integers, float32 or float64: convert the image."
        )
    if any(n < 1 for n in shape):
        raise InputError(f"{path} has the impossible shape {shape}.")
    affine = np.asarray(header.get_best_affine(), float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"The affine of {path} cannot be inverted; its header is damaged.")
    return NiftiHeader(
        shape=shape,
        affine=affine,
        zooms=tuple(float(zoom) for zoom in header.get_zooms()),
        dtype=dtype,
        offset=int(header.get_data_offset()),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        warnings=_form_warnings(path, header, shape),
    )


def _check_type(path: Path, code: int) -> None:
    found = {
        _FLOAT16: "float16, which is no type of NIfTI",
        _RGB: "colours (RGB)",
        _RGBA: "colours (RGBA)",
    }.get(code)
    if found:
        raise InputError(
            f"{path} stores its values as {found}; expected integers, float32 or float64: convert the image."
        )


def _form_warnings(path: Path, header: nibabel.Nifti1Header, shape: tuple[int, ...]) -> tuple[str, ...]:
    """A sentence where the two affines of a header place the voxels differently."""
    if len(shape) < 3 or not (int(header["sform_code"]) and int(header["qform_code"])):
        return ()
    try:
        qform = np.asarray(header.get_qform(), float)
    except (ValueError, np.linalg.LinAlgError, nibabel.spatialimages.HeaderDataError):
        return (f"The qform of {path.name} cannot be read; its sform was used.",)
    sform = np.asarray(header.get_sform(), float)
    if grids_equal(Grid(shape[:3], sform), Grid(shape[:3], qform), FORM_TOLERANCE):
        return ()
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]], [1], indexing="ij")).reshape(4, -1)
    distance_mm = np.linalg.norm((sform - qform) @ corners, axis=0).max()
    return (
        f"The sform and the qform of {path.name} differ by up to {distance_mm:.3g} mm; the sform was used.",
    )
