"""Every kind of model through the command line: its maps are there, and planted voxels are found with it."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.slow

NAME = "sub-01_task-movie_space-MNI152NLin2009cAsym_res-native_model-"
SPACES = ("motionenergy", "lowlevel")
TESTED = {"p", "pfwe", "q", "z"}
LINEAR = {"alpha", *(f"weight_desc-{space}" for space in SPACES)}
CEILING = {"noiseceiling", "rnorm"}
ALWAYS = {"r", "rsquared"}


def of_spaces(*statistics):
    return {f"{statistic}_desc-{space}" for statistic in statistics for space in SPACES}


MODELS = {
    "banded": (
        ("--estimator", "banded_ridge", "--variance-partitioning"),
        ALWAYS | TESTED | LINEAR | CEILING | of_spaces("gamma", "product", "unique", "partial"),
    ),
    "layers": (
        ("--layers", "--permutation-scheme", "block"),
        ALWAYS | TESTED | LINEAR | CEILING | of_spaces("r", "p") | {"bestlayer", "centrelayer"},
    ),
    "net": (("--estimator", "elastic_net", "--l1-ratio", "0.3", "--permutations", "0"), ALWAYS | LINEAR | CEILING),
    "split": (
        ("--cross-validation", "split", "--test-runs", "run-3", "--hrf", "glover", "--pca", "10"),
        ALWAYS | TESTED | LINEAR,
    ),
    "films": (
        ("--cross-validation", "leave-one-stimulus-out", "--folds", "3", "--estimator", "ols", "--pca", "5"),
        ALWAYS | TESTED | LINEAR | CEILING,
    ),
    "lstm": (
        ("--estimator", "lstm", "--pca", "5"),
        ALWAYS | TESTED | CEILING | {"r_desc-ridge", "rsquared_desc-ridge"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return SimpleNamespace(out=root / "out", work=root / "work")


@pytest.mark.parametrize("label", MODELS)
def test_a_model(label, simulated, places, cinebold):
    options, expected = MODELS[label]
    done = cinebold(
        simulated, places.out, "participant", "-w", places.work, "--resolution", "native", "--participant-label", "01",
        "--model-label", label, *(() if "--permutations" in options else ("--permutations", "100")), *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = places.out / "sub-01"
    found = {
        path.name.removeprefix(f"{NAME}{label}_stat-").removesuffix("_statmap.nii.gz")
        for path in (folder / "func").glob(f"{NAME}{label}_stat-*.nii.gz")
    }
    assert found == expected
    for statistic in found:
        sidecar = json.loads((folder / "func" / f"{NAME}{label}_stat-{statistic}_statmap.json").read_text())
        assert sidecar["Description"] and sidecar["ModelParameters"]["CrossValidation"]

    r = nib.load(folder / "func" / f"{NAME}{label}_stat-r_statmap.nii.gz").get_fdata()
    truth = simulated / "derivatives/simulation-truth/space-MNI152NLin2009cAsym_desc-planted_dseg.nii.gz"
    regions = nib.load(truth).get_fdata()
    planted, others = (np.isfinite(r) & where for where in (regions > 0, regions == 0))
    print(f"{label}: planted {r[planted].mean():.3f}, others {r[others].mean():.3f}")
    assert r[planted].mean() > 0.35
    assert abs(r[others].mean()) < 0.05

    summary = json.loads((folder / "figures" / f"{NAME}{label}_desc-summary_report.json").read_text())
    assert len(summary["folds"]) == len(summary["diagnostics"]["folds"])
    assert [run["run"] for run in summary["diagnostics"]["film_timing"]] == [
        run["label"] for run in summary["runs"]
    ]
    listing = json.loads((folder / "figures" / f"{NAME}{label}_desc-figures_report.json").read_text())
    assert not [reason for reason in listing["not_made"].values() if "failed" in reason]
    page = (places.out / "sub-01.html").read_text()
    assert "drawing failed" not in page and f"model-{label}" in page
