"""What a node needs of the machine, from what the headers of its inputs say."""

from math import prod

from workflows.specifications import BoldPreparation, Hardware, Run

_GB = 1024.0**3
#: The interpreter with numpy, nibabel and nilearn; torch and windows of S3D on top.
_PYTHON_GB, _TORCH_GB = 0.25, 1.6
#: What of the memory a node may ask for.
_SHARE = 0.95
_LEAST_VOXEL_TILE = 64


def response_bytes(run: Run, preparation: BoldPreparation, voxel_mm: float = 2.0) -> float:
    """The size of a run's response matrix: grey matter fills less than a sixth of a field of view, but all of a
    surface."""
    if run.geometry != "volume":
        return 4.0 * run.n_volumes * prod(run.shape)
    share = {"gm": 0.15, "brain": 0.3}.get(preparation.mask, 1.0)
    shrink = (
        1.0 if preparation.resolution_mm is None else min(1.0, (voxel_mm / preparation.resolution_mm) ** 3)
    )
    return 4.0 * run.n_volumes * prod(run.shape) * share * shrink


def preparation_gb(run: Run, preparation: BoldPreparation) -> float:
    """Reading a run: its response matrix, a block of volumes, and the resampling operator (8 weights a voxel)."""
    volume_bytes = 4.0 * prod(run.shape)
    return _PYTHON_GB + (1.5 * response_bytes(run, preparation) + 32 * volume_bytes) / _GB


def extraction_gb() -> float:
    """Decoding and a network; both are bounded whatever the film's length."""
    return _PYTHON_GB + _TORCH_GB


def fit_gb(
    runs: tuple[Run, ...], preparation: BoldPreparation, voxel_tile: int, n_threads: int, n_columns: int = 200
) -> float:
    """Fitting: a float64 tile of responses and cross products a thread, the designs, and the weights of all voxels."""
    n_volumes = sum(run.n_volumes for run in runs)
    n_sets = len(runs) + 1
    tile = 8.0 * voxel_tile * (4 * n_volumes + 2 * n_sets * n_columns)
    designs = 8.0 * n_sets * n_columns * (2 * n_volumes + n_columns * len(runs))
    n_targets = response_bytes(runs[0], preparation) / (4.0 * runs[0].n_volumes)
    weights = 3 * 4.0 * n_columns * n_targets
    return _PYTHON_GB + (n_threads * tile + designs + weights) / _GB


def voxel_tile_within(
    memory_mb: int,
    runs: tuple[Run, ...],
    preparation: BoldPreparation,
    n_threads: int,
    voxel_tile: int = 4096,
) -> int:
    """The largest tile, halved from `voxel_tile` down to 64, with which the fit takes no more than there is.

    Tiles change no result beyond 1e-6 (float32 maps and weights were the same to the byte wherever that was
    measured): a product over fewer columns may sum in another order.
    """
    while voxel_tile > _LEAST_VOXEL_TILE and (
        fit_gb(runs, preparation, voxel_tile, n_threads) > _SHARE * memory_mb / 1024
    ):
        voxel_tile = max(voxel_tile // 2, _LEAST_VOXEL_TILE)
    return voxel_tile


def bounded(needed_gb: float, hardware: Hardware) -> float:
    """No node asks for more than there is: the scheduler would never start it."""
    return min(needed_gb, _SHARE * hardware.memory_mb / 1024)
