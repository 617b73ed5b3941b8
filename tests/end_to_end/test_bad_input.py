"""What users really do wrong: one clear sentence and the documented exit code, and nothing is lost."""

import gzip
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cinebold.simulate.dataset import simulate_dataset
from cinebold.simulate.settings import quick_settings

pytestmark = pytest.mark.slow

USAGE, INVALID, NOTHING, SOME = 2, 16, 65, 1
#: Quick features and no permutations: what is tested is what happens before and around them.
QUICK = ("--features", "low_level", "--permutations", 0, "--resolution", "native")
ALONE = ("--participant-label", "01")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Two participants, two short runs. Tests break copies of it."""
    settings = quick_settings(n_runs=2, film_seconds=30.0, shared_seconds=8.0, resolution_mm=12.0)
    return simulate_dataset(tmp_path_factory.mktemp("small") / "bids", settings)


@pytest.fixture
def run(cinebold, tmp_path):
    """Run one level on a dataset; checks the exit code and that what was said is said without a traceback."""

    def go(bids, code, *arguments, level="participant", out="out", **variables):
        done = cinebold(bids, tmp_path / out, level, "-w", tmp_path / "work", *QUICK, *arguments, **variables)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return go


def replace(path: Path, content: bytes) -> None:
    """Give a file of the copy other content; the original, a link to the same data, stays."""
    path.unlink()
    path.write_bytes(content)


def bold_of(bids, participant, number=1):
    folder = bids / f"derivatives/fmriprep/sub-{participant}/func"
    return next(folder.glob(f"*run-{number}_*desc-preproc_bold.nii.gz"))


def test_no_derivatives(small, broken, run):
    bids = broken(small)
    shutil.rmtree(bids / "derivatives/fmriprep")
    said = run(bids, INVALID)
    assert "fmriprep" in said and "-d fmriprep=" in said


def test_not_a_dataset(tmp_path, run):
    (tmp_path / "empty").mkdir()
    assert "dataset_description.json" in run(tmp_path / "empty", INVALID)


def test_minimal_level_derivatives(small, broken, run):
    bids = broken(small)
    for path in (bids / "derivatives/fmriprep").rglob("*desc-preproc_bold*"):
        path.unlink()
    assert "minimal" in run(bids, INVALID)


def test_unknown_participant(small, run):
    said = run(small, USAGE, "--participant-label", "01", "77")
    assert "77" in said and "02" in said


def test_filters_that_leave_nothing(small, run):
    run(small, NOTHING, "--task-id", "rest")


def test_a_stimulus_that_does_not_exist(small, broken, run):
    bids = broken(small)
    (bids / "stimuli/shared.mp4").unlink()
    said = run(bids, INVALID)
    assert "shared.mp4" in said and "--stimuli-dir" in said


def test_a_stimulus_that_escapes_the_dataset(small, broken, run, tmp_path):
    bids = broken(small)
    shutil.copy(bids / "stimuli/shared.mp4", tmp_path / "secret.mp4")
    for path in bids.rglob("*run-1_events.tsv"):
        replace(path, path.read_bytes().replace(b"shared.mp4", b"../../secret.mp4"))
    said = run(bids, INVALID)
    assert "../../secret.mp4" in said


def test_a_corrupted_film_fails_those_who_saw_it(small, broken, run):
    bids = broken(small)
    replace(bids / "stimuli/shared.mp4", b"not a film at all" * 100)
    said = run(bids, SOME, *ALONE)
    assert "shared.mp4" in said and "crash file" in said


def test_a_film_that_cannot_fit_its_run(small, broken, run):
    bids = broken(small)
    for path in (bids / "sub-01").rglob("*run-1_events.tsv"):
        lines = path.read_text().splitlines()
        first = lines[1].split("\t")
        first[0] = "100000"
        replace(path, "\n".join([lines[0], "\t".join(first)]).encode() + b"\n")
    said = run(bids, SOME, *ALONE)
    assert "sub-01" in said and "run-1" in said


def test_no_confounds(small, broken, run):
    bids = broken(small)
    for path in (bids / "derivatives/fmriprep/sub-01").rglob("*desc-confounds_timeseries.tsv"):
        path.unlink()
    said = run(bids, INVALID, *ALONE)
    assert "confounds" in said


def test_confounds_of_another_run(small, broken, run):
    bids = broken(small)
    table = next((bids / "derivatives/fmriprep/sub-01/func").glob("*run-1_*confounds_timeseries.tsv"))
    replace(table, b"\n".join(table.read_bytes().split(b"\n")[:-10]) + b"\n")
    said = run(bids, INVALID, *ALONE)
    assert table.name in said


def test_a_mask_on_another_grid(small, broken, run):
    bids = broken(small)
    mask = next((bids / "derivatives/fmriprep/sub-01/func").glob("*run-1_*desc-brain_mask.nii.gz"))
    image = nib.load(mask)
    smaller = nib.Nifti1Image(np.asarray(image.dataobj)[:-1].astype(np.uint8), image.affine)
    replace(mask, gzip.compress(smaller.to_bytes()))
    said = run(bids, INVALID, *ALONE)
    assert mask.name in said


def test_a_truncated_image_names_the_volume(small, broken, run):
    bids = broken(small)
    path = bold_of(bids, "01")
    replace(path, path.read_bytes()[: path.stat().st_size // 2])
    said = run(bids, SOME, *ALONE)
    assert path.name in said and "volume" in said


def test_a_git_annex_pointer(small, broken, run):
    bids = broken(small)
    path = bold_of(bids, "01")
    path.unlink()
    path.symlink_to("../../../.git/annex/objects/xx/MD5E-s1--0.nii.gz")
    said = run(bids, INVALID, *ALONE)
    assert "annex" in said


def test_volumes_that_are_not_numbers(small, broken, run):
    bids = broken(small)
    path = bold_of(bids, "01")
    image = nib.load(path)
    data = image.get_fdata(dtype=np.float32)
    data[..., 5] = np.nan
    replace(path, gzip.compress(nib.Nifti1Image(data, image.affine).to_bytes()))
    said = run(bids, SOME, *ALONE)
    assert path.name in said


def test_one_run_only(small, run):
    assert "at least two" in run(small, INVALID, "--run-id", "1")


def test_one_bad_participant_does_not_stop_the_others(small, broken, run, tmp_path):
    """One is refused before anything runs, or fails while it runs; the other has its results either way."""
    bids = broken(small)
    for path in (bids / "derivatives/fmriprep/sub-01").rglob("*desc-confounds_timeseries.tsv"):
        path.unlink()
    said = run(bids, SOME)
    assert "1 done, 1 failed" in said and "failed   sub-01" in said
    assert (tmp_path / "out/sub-02.html").is_file()


def test_strict_stops_before_anything_runs(small, broken, run, tmp_path):
    bids = broken(small)
    for path in (bids / "derivatives/fmriprep/sub-01").rglob("*desc-confounds_timeseries.tsv"):
        path.unlink()
    run(bids, INVALID, "--strict")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_cannot_be_written(small, run, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot be written" in run(small, USAGE, out="closed/out")


def test_an_output_folder_that_is_a_file(small, run, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in run(small, USAGE, out="file/out")


def test_the_input_as_output(small, cinebold, tmp_path):
    done = cinebold(small, small, "participant", "-w", tmp_path / "work")
    assert done.returncode == USAGE and "input dataset itself" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipe", "nonsense"), "motion-energy"),
        (("--features", "nonsense"), "motion_energy"),
        (("--pca", "-1"), "--pca"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_names_and_values_that_are_not_known(small, run, arguments, said):
    assert said in run(small, USAGE, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output-spaces", "MNI152NLin6Asym"), "MNI152NLin2009cAsym"),
        (("--nuisance-regressors", "nonsense"), "nonsense"),
    ],
)
def test_what_the_derivatives_do_not_have(small, run, arguments, said):
    assert said in run(small, INVALID, *arguments)


def test_missing_weights(small, run, tmp_path):
    said = run(small, USAGE, "--features", "slowfast_r50", TORCH_HOME=str(tmp_path))
    assert "SLOWFAST_8x8_R50.pyth" in said and "--weights-dir" in said


def test_weights_of_another_network(small, run, tmp_path):
    import torch

    torch.save({"model_state": {"layer.weight": torch.zeros(3)}}, tmp_path / "SLOWFAST_8x8_R50.pyth")
    said = run(small, SOME, "--features", "slowfast_r50", "--weights-dir", tmp_path, *ALONE)
    assert "SLOWFAST_8x8_R50.pyth" in said


def test_the_group_without_participants(small, run):
    assert "run the participant level first" in run(small, INVALID, level="group")


def test_the_group_names_who_is_missing(small, run, tmp_path):
    run(small, 0, "--participant-label", "01")
    said = run(small, INVALID, level="group")
    assert "at least two" in said and "sub-02" in said


def test_a_participant_that_failed_is_done_after_the_repair(small, broken, run, tmp_path):
    bids = broken(small)
    path = bold_of(bids, "01")
    whole = path.read_bytes()
    replace(path, whole[:2000])
    run(bids, SOME, *ALONE)
    assert list((tmp_path / "out/logs/sub-01").glob("*/crash-*.txt"))
    assert "crash-" in (tmp_path / "out/sub-01.html").read_text()
    replace(path, whole)
    assert "1 done, 0 failed" in run(bids, 0, *ALONE)
    assert "crash-" not in (tmp_path / "out/sub-01.html").read_text()


def test_a_dry_run_writes_nothing(small, run, tmp_path):
    run(small, 0, "--dry-run")
    assert not (tmp_path / "out").exists() and not (tmp_path / "work").exists()


def test_a_dry_run_names_the_problems(small, broken, cinebold, tmp_path):
    bids = broken(small)
    (bids / "stimuli/shared.mp4").unlink()
    done = cinebold(bids, tmp_path / "out", "participant", "--dry-run", "-w", tmp_path / "work")
    assert done.returncode == INVALID
    assert "problem: sub-01" in done.stdout


def test_random_weights_are_shouted(small, cinebold, tmp_path):
    """Untrained networks run on an explicit switch alone, and every output and page says so."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\n[[features]]\nspace = "slowfastr50"\nextractor = "slowfast_r50"\n'
        'parameters = { hop_s = 8.0 }\n[encoding]\npermutations = 0\n[bold]\nresolution_mm = "native"\n'
    )
    out = tmp_path / "out"
    done = cinebold(
        small, out, "participant", "-w", tmp_path / "work", "--recipe", recipe, "--random-weights",
        "--participant-label", "01",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "random" in (out / "sub-01.html").read_text().lower()
    assert "banner random" in (out / "stimuli.html").read_text()
    assert "slowfastr50 come from a network with RANDOM weights" in done.stderr
    sidecar = json.loads(next((out / "stimuli").glob("*slowfastr50_features.json")).read_text())
    assert sidecar["Provenance"]["random_weights"] is True
    statmap = json.loads(next((out / "sub-01").rglob("*_stat-r_statmap.json")).read_text())
    assert statmap["ModelParameters"]["RandomWeights"] == ["slowfastr50"]
    card = json.loads(next((out / "models").glob("sub-01_*_encoding.json")).read_text())
    assert card["fit"]["random_weights"] == ["slowfastr50"]


def test_two_analyses_of_one_name_are_not_mixed(small, run, tmp_path):
    """Other settings under the same `model-` label are refused, and welcome under a label of their own."""
    run(small, 0, *ALONE)
    cards = {path.name for path in (tmp_path / "out/models").iterdir()}
    said = run(small, USAGE, *ALONE, "--estimator", "lasso")
    assert "encoding.estimator is ridge there and lasso now" in said and "--model-label" in said
    assert {path.name for path in (tmp_path / "out/models").iterdir()} == cards
    run(small, 0, *ALONE, "--estimator", "lasso", "--model-label", "mylasso")
    assert cards < {path.name for path in (tmp_path / "out/models").iterdir()}
    assert list((tmp_path / "out").rglob("*model-mylasso_stat-r_statmap.nii.gz"))


def test_cleaning_the_work_directory_spares_what_is_not_ours(small, run, tmp_path):
    run(small, 0, *ALONE)
    mine = tmp_path / "work" / "mine.txt"
    mine.write_text("thesis")
    said = run(small, 0, *ALONE, "--clean-workdir")
    assert mine.read_text() == "thesis"
    assert "0 steps computed" not in said
