"""What a node needs of the machine, from what the headers of its inputs say."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

from cinebold.errors import CineboldError
from cinebold.features.checkpoints.folder import find_checkpoint
from cinebold.features.nodes import layers_of_any_size
from cinebold.features.registry import create_extractor, extractor_class
from workflows.specifications import BoldPreparation, FeatureSpace, Hardware, Run

_GB = 1024.0**3
#: The interpreter with numpy, nibabel and nilearn; torch, the decoder and frames that wait on top.
_PYTHON_GB, _TORCH_GB = 0.25, 0.35
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


@dataclass(frozen=True)
class NetworkMemory:
    """What an extractor's network takes on a CPU, in float32."""

    weights_gb: float
    batch_gb: float  #: its library, and a batch of windows with what the layer gives for them
    thread_gb: float  #: what is between the layers of the windows that one thread computes
    frames: int = 0  #: of a window, where a parameter may ask for others
    hidden_numbers: int = (
        0  #: of a hidden state before pooling, where the extractor itself would load the library
    )


#: Peaks (VmHWM) of a batch of windows of the default layer with one and with two threads, random weights, less what
#: torch takes, rounded up. That of V-JEPA 2 was read to its first block: the others need no more at a time.
_X3D_L, _X3D_M = NetworkMemory(0.03, 0.65, 0.4), NetworkMemory(0.02, 0.4, 0.25)
_NETWORKS = {
    "alexnet": NetworkMemory(0.23, 0.25, 0.05),
    "resnet50": NetworkMemory(0.1, 0.2, 0.05),
    "s3d": NetworkMemory(0.04, 0.35, 0.3, frames=30),
    "mvit_v2_s": NetworkMemory(0.13, 0.5, 0.2),
    "slow_r50": NetworkMemory(0.13, 0.25, 0.2),
    "slowfast_r50": NetworkMemory(0.13, 0.35, 0.4, frames=32),
    "slowfast_r101": NetworkMemory(0.24, 0.35, 0.4),
    **{"x3d_xs": _X3D_M, "x3d_s": _X3D_M, "x3d_m": _X3D_M, "x3d_l": _X3D_L},
    "vjepa2": NetworkMemory(1.3, 0.5, 0.3, frames=64, hidden_numbers=8192 * 1024),
    "videomae": NetworkMemory(0.35, 0.35, 0.1, hidden_numbers=1568 * 768),
    "clip": NetworkMemory(0.33, 0.2, 0.05, hidden_numbers=49 * 768),
    "dinov2": NetworkMemory(0.33, 0.25, 0.1, hidden_numbers=256 * 768),
    "checkpoint": NetworkMemory(0.33, 0.2, 0.1, frames=16, hidden_numbers=1568 * 768),
}
#: Parameters that make another network of the same extractor; layers of one network share it.
_OF_THE_NETWORK = ("checkpoint", "windows", "precision", "channels_last", "compiled")


def extraction_gb(
    spaces: Sequence[FeatureSpace], n_threads: int = 1, weights_dir: str | None = None
) -> float:
    """Decoding and the networks of the feature spaces, whatever the film's length.

    Known without torch: the table above, how large the files of another checkpoint are, and how many numbers a layer
    has. This is for CPUs; on a GPU windows are not in this memory, but CUDA is, which was not measured.
    """
    networks = {
        (space.extractor, *(str(space.parameters.get(name)) for name in _OF_THE_NETWORK)): space
        for space in spaces
        if space.extractor in _NETWORKS
    }
    return (
        _PYTHON_GB
        + _TORCH_GB
        + sum(_network_gb(space, n_threads, weights_dir) for space in networks.values())
        + sum(_layer_gb(space) for space in spaces if space.extractor in _NETWORKS)
    )


def _network_gb(space: FeatureSpace, n_threads: int, weights_dir: str | None) -> float:
    """Weights, and beside them their file while it is read, or the windows afterwards."""
    needed, given, kind = _NETWORKS[space.extractor], space.parameters, extractor_class(space.extractor)
    wider = _checkpoint_scale(space, weights_dir)
    frames = 72 if given.get("windows") == "neurohackademy2021" else given.get("frames", 0)
    longer = max(1.0, frames / needed.frames) if needed.frames else 1.0
    at_once = min(n_threads, ceil(kind.batch["cpu"] / kind.n_together))
    weights_gb = wider * needed.weights_gb
    windows_gb = wider * longer * (needed.batch_gb + at_once * needed.thread_gb)
    return weights_gb + max(weights_gb, windows_gb)


def _checkpoint_scale(space: FeatureSpace, weights_dir: str | None) -> float:
    """How large the files of a named checkpoint are, by the weights of the table; 1 where they are not there."""
    name = space.parameters.get("checkpoint")
    if not name:
        return 1.0
    try:
        parts = find_checkpoint(space.extractor, str(name), weights_dir).parts()
        return sum(part.stat().st_size for part in parts) / _GB / _NETWORKS[space.extractor].weights_gb
    except (CineboldError, OSError):
        return 1.0


def _layer_gb(space: FeatureSpace) -> float:
    """The numbers of a layer for a batch of windows, twice; what is read of them again, and its projection or basis."""
    kind, n_hidden = extractor_class(space.extractor), _NETWORKS[space.extractor].hidden_numbers
    if n_hidden:
        n_numbers = n_stored = n_hidden * (space.parameters.get("spatial") == "full")
    else:
        with layers_of_any_size():
            extractor = create_extractor(space.extractor, space.parameters, random_weights=True)
        n_numbers = extractor.layer.n_features("full")
        n_stored = extractor.layer.n_features(extractor.parameters.spatial)
    batch = kind.batch["cpu"]
    basis = Path(space.basis).stat().st_size if space.basis and Path(space.basis).is_file() else 0
    return (n_numbers * 8 * batch + n_stored * (32 + 8 * batch) + basis) / _GB


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
