"""Run statistics on disk: the sums they stand for, whatever the memory; killed, resumed, merged from two machines."""

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from cinebold.design.delays import delayed
from cinebold.encoding.run_statistics import accumulation
from cinebold.encoding.run_statistics.accumulation import accumulate_run
from cinebold.encoding.run_statistics.cell_bases import cell_bases
from cinebold.encoding.run_statistics.files import RunRecord, merge
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import InputError, SettingError

SETTINGS = EncodingSettings(n_permutations=0, pca=None)
DELAYS_S = (1.0, 2.0)


def bytes_of(folder):
    """Of all files but the temporary ones of a process that was killed."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*"))}


def accumulate_all(designs, responses, folder, **options):
    return [
        accumulate_run(index, designs, response, DELAYS_S, SETTINGS, folder, **options)
        for index, response in enumerate(responses)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [3, 30], ids=["bases", "rows"])
def test_sums_are_those_of_the_cells(hard_runs, tmp_path, dtype, n_features):
    designs, responses = hard_runs(dtype=dtype, n_features=n_features)
    for index, (design, response) in enumerate(zip(designs, responses, strict=True)):
        record = accumulate_run(index, designs, response, DELAYS_S, SETTINGS, tmp_path, voxel_tile=16)
        y = response.astype(np.float64)
        used = np.sort(np.concatenate([cell.rows for cell in record.cells]))
        assert len(np.unique(used)) == len(used)
        assert design.keep[used].all()
        for part in record.tiles:
            sums, first = record.read(part), 0
            mine = y[:, part]
            varies = mine[used].min(axis=0) < mine[used].max(axis=0)
            np.testing.assert_array_equal(sums.valid, varies & np.isfinite(mine[used]).all(axis=0))
            np.testing.assert_allclose(sums.mean, mine[used].mean(axis=0), rtol=1e-12)
            for number, cell in enumerate(record.cells):
                own = mine[cell.rows] - sums.mean
                # Reference: explicit sums, one voxel at a time.
                for voxel in range(own.shape[1]):
                    if not sums.valid[voxel]:
                        continue
                    assert sums.sums[number, voxel] == pytest.approx(own[:, voxel].sum(), abs=1e-8)
                    assert sums.squares[number, voxel] == pytest.approx((own[:, voxel] ** 2).sum(), rel=1e-12)
                basis = np.eye(len(cell.rows)) if cell.basis is None else cell.basis
                np.testing.assert_allclose(
                    sums.products[first : first + cell.rank][:, sums.valid],
                    basis.T @ own[:, sums.valid],
                    atol=1e-8,
                )
                first += cell.rank


def test_a_basis_holds_every_scaling_component_and_delay(hard_runs, tmp_path):
    designs, responses = hard_runs(n_features=3)
    generator = np.random.default_rng(0)
    smaller = 0
    for index, design in enumerate(designs):
        record = accumulate_run(index, designs, responses[index], DELAYS_S, SETTINGS, tmp_path)
        scores = []
        for values in design.features.values():
            mean, scale = generator.normal(size=3), generator.uniform(1e-6, 1e6, size=3)
            own = (values - values.mean(axis=0) - mean) / scale @ generator.normal(size=(3, 2))
            scores.append(own * design.has_film[:, np.newaxis])
        columns = delayed(np.concatenate(scores, axis=1), (1, 2))
        columns -= design.nuisance @ (design.nuisance.T @ columns)
        for cell in record.cells:
            if cell.basis is None:
                continue
            smaller += 1
            np.testing.assert_allclose(cell.basis.T @ cell.basis, np.eye(cell.rank), atol=1e-12)
            own = columns[cell.rows]
            outside = own - cell.basis @ (cell.basis.T @ own)
            assert np.abs(outside).max() <= 1e-10 * np.abs(own).max()
    assert smaller >= len(designs)


def test_a_cell_takes_no_more_numbers_than_its_rows(hard_runs):
    designs, _ = hard_runs(n_features=30)
    columns = accumulation.Columns.of(SETTINGS, DELAYS_S, 1.0)
    (basis,) = cell_bases(designs[0], columns, [np.arange(20)])
    assert basis.rank == 20
    assert basis.basis is None


@pytest.mark.parametrize("memory_mb", [3, 8, 4096])
def test_neither_memory_nor_threads_change_a_byte(hard_runs, tmp_path, memory_mb):
    from threadpoolctl import threadpool_limits

    designs, responses = hard_runs(n_targets=700)
    with threadpool_limits(1 if memory_mb == 3 else 2, user_api="blas"):
        accumulate_run(
            0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path / "a", memory_mb=memory_mb, voxel_tile=512
        )
    accumulate_run(0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path / "b", voxel_tile=512)
    assert bytes_of(tmp_path / "a" / "run-0") == bytes_of(tmp_path / "b" / "run-0")


class CountingArray:
    """Responses that count how often each voxel of each volume is read."""

    def __init__(self, values):
        self.values, self.shape, self.ndim, self.dtype = values, values.shape, 2, values.dtype
        self.reads = np.zeros(values.shape, dtype=int)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        if isinstance(key, tuple):
            self.reads[key] += 1
        return self.values[key]


def test_every_voxel_is_read_once(hard_runs, tmp_path):
    designs, responses = hard_runs(n_targets=700)
    counting = CountingArray(responses[0])
    accumulate_run(0, designs, counting, DELAYS_S, SETTINGS, tmp_path, memory_mb=3, voxel_tile=300)
    assert (counting.reads == 1).all()


@pytest.mark.parametrize("memory_mb", [4, 12, 40])
def test_arrays_stay_within_the_memory(hard_runs, tmp_path, memory_mb):
    """What numpy and Python allocate while a run is summed up, less what the cells need before."""
    designs, responses = hard_runs(n_features=30, n_targets=3000, dtype=np.float32)
    accumulate_run(0, designs, responses[0][:, :10], DELAYS_S, SETTINGS, tmp_path / "imports")
    tracemalloc.start()
    accumulate_run(
        0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path, memory_mb=memory_mb, voxel_tile=1000
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (memory_mb + 0.5) * 1024**2


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from cinebold.design.run_design import RunDesign
from cinebold.encoding.run_statistics.accumulation import accumulate_run
from cinebold.encoding.settings import EncodingSettings

shared, out = sys.argv[1:]
replace, n_tiles = Path.replace, 0

def killed(temporary, path):
    global n_tiles
    n_tiles += path.name.startswith("tile")
    if n_tiles == 4:
        os._exit(9)
    return replace(temporary, path)

Path.replace = killed
designs = [RunDesign.load(path) for path in sorted(Path(shared).glob("*.npz"))]
response = np.load(Path(shared) / "1.npy", mmap_mode="r")
accumulate_run(
    1, designs, response, (1.0, 2.0), EncodingSettings(n_permutations=0, pca=None), out, voxel_tile=16
)
"""


def test_a_killed_accumulation_goes_on_where_it_stopped(hard_runs, tmp_path, monkeypatch):
    designs, responses = hard_runs(n_targets=100)
    for index, design in enumerate(designs):
        design.save(tmp_path / "shared" / f"{index}.npz")
    np.save(tmp_path / "shared" / "1.npy", responses[1])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "shared", tmp_path / "killed"], check=False
    )
    assert killed.returncode == 9
    # Which tiles were written in time depends on the threads.
    written = {path.name for path in (tmp_path / "killed" / "run-1").glob("tile-?????.safetensors")}
    missing = [number for number in range(7) if f"tile-{number:05d}.safetensors" not in written]
    assert 0 < len(missing) < 7
    with pytest.raises(InputError, match=rf"not whole: {len(missing)} of 7 tiles are missing"):
        RunRecord.load(tmp_path / "killed" / "run-1")

    again, write = [], RunRecord.write
    monkeypatch.setattr(
        RunRecord, "write", lambda record, number, sums: (again.append(number), write(record, number, sums))
    )
    accumulate_run(1, designs, responses[1], DELAYS_S, SETTINGS, tmp_path / "killed", voxel_tile=16)
    assert sorted(again) == missing
    accumulate_run(1, designs, responses[1], DELAYS_S, SETTINGS, tmp_path / "whole", voxel_tile=16)
    assert bytes_of(tmp_path / "killed" / "run-1") == bytes_of(tmp_path / "whole" / "run-1")


MACHINE = """
import sys
from pathlib import Path
import numpy as np
from cinebold.design.run_design import RunDesign
from cinebold.encoding.run_statistics.accumulation import accumulate_run
from cinebold.encoding.settings import EncodingSettings

shared, out, *indices = sys.argv[1:]
designs = [RunDesign.load(path) for path in sorted(Path(shared).glob("*.npz"))]
for index in map(int, indices):
    response = np.load(Path(shared) / f"{index}.npy", mmap_mode="r")
    accumulate_run(
        index, designs, response, (1.0, 2.0), EncodingSettings(n_permutations=0, pca=None), out, voxel_tile=16
    )
"""


def test_two_machines_accumulate_what_one_does(hard_runs, tmp_path):
    designs, responses = hard_runs()
    for index, design in enumerate(designs):
        design.save(tmp_path / "shared" / f"{index}.npz")
        np.save(tmp_path / "shared" / f"{index}.npy", responses[index])
    runs_of = {tmp_path / "machine-0": "02", tmp_path / "machine-1": "13"}
    machines = [
        subprocess.Popen([sys.executable, "-c", MACHINE, tmp_path / "shared", out, *runs])
        for out, runs in runs_of.items()
    ]
    assert [machine.wait() for machine in machines] == [0, 0]
    folders = [tmp_path / f"machine-{index % 2}" for index in range(4)]
    accumulate_all(designs[::-1], responses[::-1], tmp_path / "one", voxel_tile=16)  # in another order
    for index, design in enumerate(designs):
        assert bytes_of(folders[index] / design.label) == bytes_of(tmp_path / "one" / design.label)
    merged = merge([RunRecord.load(folders[index] / designs[index].label) for index in (2, 0, 3, 1)])
    assert [record.label for record in merged] == ["run-0", "run-1", "run-2", "run-3"]


def test_records_that_do_not_belong_together_are_refused(hard_runs, tmp_path):
    designs, responses = hard_runs()
    records = accumulate_all(designs, responses, tmp_path / "a")
    with pytest.raises(InputError, match="No run statistics"):
        merge([])
    with pytest.raises(InputError, match="run-1 were given twice"):
        merge([*records, records[1]])
    with pytest.raises(InputError, match="run run-0, run-3 are missing"):
        merge(records[1:3])
    other = accumulate_run(3, designs, responses[3][:, :-1], DELAYS_S, SETTINGS, tmp_path / "b")
    with pytest.raises(InputError, match="has 39 voxels"):
        merge([*records[:3], other])
    other = accumulate_run(3, designs, responses[3], (1.0, 3.0), SETTINGS, tmp_path / "c")
    with pytest.raises(InputError, match="different analyses"):
        merge([*records[:3], other])
    changed = [*designs[:3], replace(designs[3], keep=~designs[3].keep)]
    other = accumulate_run(2, changed, responses[2], DELAYS_S, SETTINGS, tmp_path / "d")
    with pytest.raises(InputError, match="different analyses"):
        merge([*records[:2], other, records[3]])
    changed[3].save(records[3].folder / "design.npz")
    with pytest.raises(InputError, match=r"design\.npz is not the design"):
        merge([*records[:3], RunRecord.load(records[3].folder)])


def test_a_folder_of_other_responses_is_refused(hard_runs, tmp_path):
    designs, responses = hard_runs()
    accumulate_run(0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path)
    with pytest.raises(InputError, match=r"other responses of run run-0 \(responses differ\)"):
        accumulate_run(0, designs, responses[0] + 1, DELAYS_S, SETTINGS, tmp_path)
    card = json.loads((tmp_path / "run-0" / "card.json").read_text())
    (tmp_path / "run-0" / "card.json").write_text(json.dumps(card | {"schema_version": 0}))
    with pytest.raises(InputError, match="version 0"):
        RunRecord.load(tmp_path / "run-0")
    with pytest.raises(InputError, match="no run statistics"):
        RunRecord.load(tmp_path / "nowhere")


def test_what_does_not_fit_is_refused_before_a_byte_is_written(hard_runs, tmp_path, monkeypatch):
    designs, responses = hard_runs(n_targets=2000)
    with pytest.raises(SettingError, match="1 MB of memory do not hold a tile of 2000 voxels"):
        accumulate_run(0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path / "a", memory_mb=1)
    full = accumulation.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(accumulation.shutil, "disk_usage", lambda path: full)
    with pytest.raises(InputError, match="make room or choose another folder"):
        accumulate_run(0, designs, responses[0], DELAYS_S, SETTINGS, tmp_path / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="responses have shape"):
        accumulate_run(0, designs, responses[1], DELAYS_S, SETTINGS, tmp_path / "b")
