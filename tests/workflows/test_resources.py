"""The fit takes tiles of voxels that the memory holds; extraction asks for what its networks need."""

import json
import subprocess
import sys

import pytest

from cinebold.features.registry import create_extractor, extractor_class, extractor_names, has_weights
from workflows.resources import _NETWORKS, extraction_gb, fit_gb, voxel_tile_within
from workflows.specifications import BoldPreparation, FeatureSpace, Run

RUN = Run(
    label="task-film_run-1",
    entities={},
    bold="",
    brain_mask="",
    confounds="",
    tr_s=1.0,
    n_volumes=900,
    shape=(60, 70, 60),
    presentations=(),
)
RUNS = (RUN,) * 4


def test_there_is_room_for_the_default_tile_or_it_is_halved():
    tiles = [voxel_tile_within(memory_mb, RUNS, BoldPreparation(), 2) for memory_mb in range(100, 8192, 100)]
    assert tiles == sorted(tiles)
    assert tiles[0] == 64
    assert tiles[-1] == 4096
    assert len(set(tiles)) > 3
    for memory_mb, tile in zip(range(100, 8192, 100), tiles, strict=True):
        if tile > 64:
            assert fit_gb(RUNS, BoldPreparation(), tile, 2) <= 0.95 * memory_mb / 1024
        if tile < 4096:
            assert fit_gb(RUNS, BoldPreparation(), 2 * tile, 2) > 0.95 * memory_mb / 1024


def test_more_threads_take_smaller_tiles():
    one, many = (voxel_tile_within(1500, RUNS, BoldPreparation(), n_threads) for n_threads in (1, 16))
    assert one > many >= 64


@pytest.mark.parametrize(("voxel_tile", "expected"), [(4096, 4096), (1000, 1000), (7, 7)])
def test_a_tile_that_fits_stays(voxel_tile, expected):
    assert voxel_tile_within(32_000, RUNS, BoldPreparation(), 2, voxel_tile) == expected
    assert voxel_tile_within(1, RUNS, BoldPreparation(), 2, voxel_tile) == min(expected, 64)


def _gb(*spaces, **known):
    """Of pairs of an extractor and its parameters."""
    return extraction_gb(
        [FeatureSpace(f"s{i}", name, given) for i, (name, given) in enumerate(spaces)], **known
    )


def test_every_network_and_nothing_else_has_a_row():
    assert set(_NETWORKS) == {name for name in extractor_names() if has_weights(extractor_class(name))}


@pytest.mark.parametrize("name", _NETWORKS)
def test_weights_are_those_of_the_network_that_is_built(name):
    torch = pytest.importorskip("torch")
    if hasattr(extractor_class(name), "hub_name"):
        pytest.importorskip("transformers")
    with torch.device("meta"):
        network = create_extractor(name, random_weights=True).untrained()
    gb = sum(4 * values.numel() for values in network.state_dict().values()) / 1024**3
    assert gb < _NETWORKS[name].weights_gb < 1.2 * gb + 0.02


def test_what_extraction_needs_follows_its_networks():
    bare, slowfast, vjepa2 = _gb(("low_level", {})), _gb(("slowfast_r50", {})), _gb(("vjepa2", {"layer": 1}))
    assert bare == _gb(("motion_energy", {}), ("presence", {}), ("precomputed", {})) < 0.75
    # Peaks that were measured with two threads, of one batch: 1.45 and 2.3 GB.
    assert 1.45 < _gb(("slowfast_r50", {}), n_threads=2) < 2.2 and 2.3 < vjepa2 < 3.5
    # A network for two layers is there once; two networks are there twice.
    both = _gb(("slowfast_r50", {}), ("slowfast_r50", {"layer": "avgpool"}))
    assert both == pytest.approx(slowfast, abs=0.01)
    assert _gb(("slowfast_r50", {}), ("vjepa2", {"layer": 1})) == pytest.approx(slowfast + vjepa2 - bare)
    # No more threads than there are windows in a batch.
    threads = [_gb(("slowfast_r50", {}), n_threads=n) for n in (1, 2, 8, 64)]
    assert threads == sorted(threads) and threads[2] == threads[3] > threads[1] > threads[0]
    assert _gb(("s3d", {"frames": 90})) > _gb(("s3d", {})) + 0.5
    assert _gb(("slowfast_r50", {"windows": "neurohackademy2021"})) > slowfast + 0.5
    # 4 bytes for each of 12.6 million numbers of 8 windows, and 32 for the projection of each, are a part of it.
    numbers = 8 * 64 * 64 * 256 + 32 * 64 * 64 * 32
    assert _gb(("slowfast_r50", {"layer": "res2"})) - slowfast > numbers * (4 * 8 + 32) / 1024**3


def test_another_checkpoint_counts_by_its_files(tmp_path):
    official, named = (_gb(("vjepa2", given)) for given in ({}, {"checkpoint": "someone/giant"}))
    assert named == official  # of which nothing is known
    folder = tmp_path / "someone--giant"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("one.safetensors", "two.safetensors"):
        with (folder / name).open("wb") as file:
            file.truncate(2 * 1024**3)
    found = _gb(("vjepa2", {"checkpoint": "someone/giant"}), weights_dir=str(tmp_path))
    assert found == pytest.approx(_gb(("low_level", {})) + 2 * 4.0, rel=0.01)


def test_a_basis_counts_by_its_file_and_lets_layers_be_of_any_size(tmp_path):
    basis = tmp_path / "basis.safetensors"
    given = {"layer": "conv1", "n_projected": 0}
    needed = []
    for size_gb in (0, 2):
        with basis.open("wb") as file:
            file.truncate(size_gb * 1024**3)
        needed.append(extraction_gb([FeatureSpace("a", "alexnet", given, basis=str(basis))]))
    assert needed[1] - needed[0] == pytest.approx(2.0)


def test_extraction_is_known_without_torch():
    code = (
        "import sys; from workflows.resources import extraction_gb as gb; "
        "from workflows.specifications import FeatureSpace as S; "
        f"gb([S(n, n) for n in {extractor_names()}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
