"""Taking drift and confounds out of responses.

    Y_clean = zscore(Y - Q Q'Y),   Q = orthonormal basis of [1, cosines, confounds] on the kept volumes

or, not standardised, Y - P P'Y with P the columns of Q but the constant: means and units stay.

Equal to `nilearn.signal.clean(detrend=False, filter="cosine", standardize="zscore_sample", sample_mask=...)`
but for three choices: the z-score divides by n (ddof 0; nilearn's by n - 1), left-out volumes stay as rows of
zeros, so that the time line of the design is unbroken, and a constant voxel is NaN, not 0. Cosines span the
whole run before volumes are left out, in both.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from cinebold.errors import InputError, SettingError

#: float32 resolves 1e-7 of a value: what varies less than this against its size does not vary.
CONSTANT = 1e-6

#: Voxels that are cleaned at once: a thousand volumes of them, in float64, stay near to the processor.
TILE = 256


@dataclass(frozen=True, eq=False)
class VoxelQuality:
    """What cleaning learns of each voxel.

    Attributes
    ----------
    constant : (n_targets,) bool, nothing varies, or nothing is left to vary
    tsnr : (n_targets,) float64, mean over standard deviation of the kept volumes before cleaning; NaN where
        constant
    """

    constant: np.ndarray
    tsnr: np.ndarray


def clean_responses(
    responses: np.ndarray,
    confounds: np.ndarray | None,
    keep: np.ndarray | None,
    tr_s: float,
    high_pass_hz: float | None = None,
    *,
    voxel_tile: int = TILE,
    standardise: bool = True,
) -> np.ndarray:
    """Regress drift and confounds out and z-score each voxel, in place.

    Parameters
    ----------
    responses : (n_volumes, n_targets) float32 or float64, changed in place
    confounds : (n_volumes, n_confounds), finite, or None
    keep : (n_volumes,) bool, the volumes that count, or None for all
    tr_s : repetition time
    high_pass_hz : cosines up to this frequency are regressed out too; None when the confounds have their own
    voxel_tile : how many voxels are computed at once, in float64; changes no result
    standardise : False: voxels keep their mean and units

    Returns
    -------
    `responses`: mean 0 and variance 1 over the kept volumes (or as they are), 0 in the others, NaN in constant
    voxels.
    """
    keep = np.ones(len(responses), bool) if keep is None else np.asarray(keep, bool)
    basis = nuisance_basis(confounds, keep, tr_s, high_pass_hz)
    for start in range(0, responses.shape[1], voxel_tile):
        clean_tile(responses[:, start : start + voxel_tile], basis, keep, standardise=standardise)
    return responses


def nuisance_basis(
    confounds: np.ndarray | None, keep: np.ndarray, tr_s: float, high_pass_hz: float | None
) -> np.ndarray:
    """An orthonormal basis of the intercept, the drift and the confounds on the kept volumes.

    Returns
    -------
    (n_kept, rank) float64; the rank is what cleaning costs in degrees of freedom, the mean included.

    Raises
    ------
    InputError : the rank is not smaller than the number of kept volumes: nothing would be left.
    """
    n_volumes = len(keep)
    columns = [np.empty((n_volumes, 0)) if confounds is None else np.asarray(confounds, float)]
    if high_pass_hz is not None:
        columns.append(cosine_drift(n_volumes, tr_s, high_pass_hz))
    design = np.hstack(columns)[keep]
    design = design - design.mean(axis=0)
    scale = np.sqrt((design**2).mean(axis=0))
    design = design[:, scale > 0] / scale[scale > 0]
    n_kept = len(design)
    basis = np.full((n_kept, 1), 1 / np.sqrt(n_kept))
    if design.size:
        q, r, _ = scipy.linalg.qr(design, mode="economic", pivoting=True)
        # Columns have length sqrt(n_kept); fMRIPrep's tables hold ten digits, so that less than this is
        # rounding.
        basis = np.hstack([basis, q[:, np.abs(np.diag(r)) > 1e-9 * np.sqrt(n_kept)]])
    if basis.shape[1] >= n_kept:
        raise InputError(
            f"Drift and confounds ({basis.shape[1]} independent regressors with the mean) use up all "
            f"{n_kept} volumes that are kept of a run; choose a leaner confounds strategy."
        )
    return basis


def cosine_drift(n_volumes: int, tr_s: float, high_pass_hz: float) -> np.ndarray:
    """The discrete cosines of a run up to a frequency, without the constant; as nilearn and SPM make them.

    Returns
    -------
    (n_volumes, n_cosines) float64, n_cosines = floor(2 n_volumes TR f), at most n_volumes - 1

    >>> cosine_drift(300, 2.0, 0.008).shape
    (300, 9)
    """
    if not tr_s > 0:
        raise SettingError(f"The repetition time must be positive, not {tr_s} s.")
    if not 0 <= high_pass_hz < 0.5 / tr_s:
        raise SettingError(
            f"The high-pass cut-off must be from 0 to below {0.5 / tr_s:.3g} Hz (TR {tr_s} s), not "
            f"{high_pass_hz} Hz."
        )
    order = min(n_volumes - 1, int(np.floor(2 * n_volumes * high_pass_hz * tr_s)))
    phase = np.pi / n_volumes * (np.arange(n_volumes) + 0.5)
    return np.sqrt(2 / n_volumes) * np.cos(phase[:, None] * np.arange(1, order + 1))


@np.errstate(divide="ignore", invalid="ignore")
def clean_tile(
    tile: np.ndarray, basis: np.ndarray, keep: np.ndarray, *, standardise: bool = True
) -> VoxelQuality:
    """Clean some voxels in place; see `clean_responses`.

    All in float64: the mean of a BOLD series is a hundred times its standard deviation.
    """
    everything = bool(keep.all())
    values = (tile if everything else tile[keep]).astype(np.float64, order="C")  # (n_kept, n_tile)
    squares = np.empty_like(values)
    mean = values.mean(axis=0)
    values -= mean
    raw_sd = np.sqrt(np.square(values, out=squares).mean(axis=0))
    values -= np.matmul(basis, basis.T @ values, out=squares)
    sd = np.sqrt(np.square(values, out=squares).mean(axis=0))
    # `not >` is also true of NaN.
    constant = ~(sd > CONSTANT * np.hypot(mean, raw_sd))
    if standardise:
        values /= np.where(constant, np.nan, sd)
    else:
        values += np.where(constant, np.nan, mean)
    tsnr = np.where(constant, np.nan, mean / raw_sd)
    if everything:
        tile[:] = values
    else:
        tile[keep] = values
        tile[~keep] = np.where(constant, np.nan, 0)
    return VoxelQuality(constant, tsnr)
