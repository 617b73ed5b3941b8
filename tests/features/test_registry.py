"""The registry: names, errors, light imports."""

import subprocess
import sys

import pytest

from cinebold.errors import SettingError
from cinebold.features.bins import BinAverage
from cinebold.features.registry import create_extractor, extractor_names, validate_parameters


def test_names():
    ours = {"low_level", "motion_energy", "slowfast_r50", "alexnet", "s3d", "precomputed", "presence"}
    assert ours <= set(extractor_names())
    for name in extractor_names():
        validate_parameters(name, {})
        assert create_extractor(name, random_weights=True).name == name


def test_unknown_extractor_lists_the_known_ones():
    with pytest.raises(SettingError, match=f"'resnet'; there are {', '.join(extractor_names())}"):
        create_extractor("resnet")


def test_imports_and_validation_stay_light():
    code = (
        "import sys, cinebold.features.registry as r, cinebold.features.store, cinebold.video.decoding\n"
        "for name in r.extractor_names(): r.validate_parameters(name, {})\n"
        "heavy = {'torch', 'torchvision', 'pytorchvideo', 'av', 'moten', 'matplotlib', 'h5py'} & set(sys.modules)\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.slow
def test_torchvision_can_be_imported_after_the_guard_and_the_guard_runs_twice():
    code = (
        "from cinebold.features.torchvision_guard import prepare_torchvision as p\n"
        "p(); p(); import torchvision.models; p()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bins_weigh_by_duration_against_a_fine_grid():
    import numpy as np

    rng = np.random.default_rng(0)
    edges = np.concatenate([[0], np.sort(rng.uniform(0, 3.3, 20)), [3.3]])
    values = rng.standard_normal((21, 2))
    bins = BinAverage(0.5, 3.3, 2)
    for begin, end, value in zip(edges[:-1], edges[1:], values, strict=True):
        bins.add(begin, end, value)
    grid = (np.arange(330000) + 0.5) * 1e-5
    signal = values[np.searchsorted(edges, grid, side="right") - 1]
    which = (grid // 0.5).astype(int)
    expected = np.array([signal[which == index].mean(axis=0) for index in range(7)])
    np.testing.assert_allclose(bins.means(), expected, atol=1e-4)
    np.testing.assert_allclose(bins.pad_fraction, [0] * 6 + [0.4], atol=1e-6)
