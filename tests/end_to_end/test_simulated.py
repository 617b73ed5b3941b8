"""The whole way on a dataset with a known answer: what comes out is what was planted."""

import filecmp
import json
import re
import subprocess
import sysconfig
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.slow

PARTICIPANTS = ("01", "02")
NAME = "task-movie_space-MNI152NLin2009cAsym_res-native_model-motionenergy"
TRUTH = "derivatives/simulation-truth"
GOLDEN = Path(__file__).with_name("golden_outputs.txt")


def read_map(path):
    return np.asarray(nib.load(path).dataobj, dtype=float)


def participant_map(analysed, participant, statistic):
    return read_map(
        analysed.out / f"sub-{participant}/func/sub-{participant}_{NAME}_stat-{statistic}_statmap.nii.gz"
    )


def truth(analysed, participant):
    """The best r that any model could reach, and the planted regions (0: noise alone)."""
    folder = analysed.bids / TRUTH
    best = read_map(
        folder
        / f"sub-{participant}/func/sub-{participant}_space-MNI152NLin2009cAsym_stat-bestr_desc-cleaned_statmap.nii.gz"
    )
    return best, read_map(folder / "space-MNI152NLin2009cAsym_desc-planted_dseg.nii.gz").astype(int)


@pytest.mark.parametrize("participant", PARTICIPANTS)
def test_planted_voxels_reach_nine_tenths_of_the_best_possible_r(analysed, participant):
    r = participant_map(analysed, participant, "r")
    best, regions = truth(analysed, participant)
    planted = np.isfinite(r) & (regions > 0)
    assert planted.sum() > 500
    share = r[planted].mean() / best[planted].mean()
    print(f"sub-{participant}: r {r[planted].mean():.3f} of {best[planted].mean():.3f}, {share:.3f}")
    assert share >= 0.9
    assert (r[planted] <= best[planted] + 0.15).all()  # better than the best would be leakage


@pytest.mark.parametrize("participant", PARTICIPANTS)
def test_other_voxels_have_r_around_zero(analysed, participant):
    r = participant_map(analysed, participant, "r")
    _, regions = truth(analysed, participant)
    others = np.isfinite(r) & (regions == 0)
    assert others.sum() > 500
    assert abs(r[others].mean()) < 0.02


@pytest.mark.parametrize("participant", PARTICIPANTS)
def test_at_most_one_discovery_in_twenty_is_false(analysed, participant):
    q = participant_map(analysed, participant, "q")
    _, regions = truth(analysed, participant)
    discovered = np.isfinite(q) & (q < 0.05)
    planted = np.isfinite(q) & (regions > 0)
    assert discovered[planted].mean() > 0.8
    false_share = (regions[discovered] == 0).mean()
    print(f"sub-{participant}: {discovered.sum()} discoveries, {false_share:.3f} of them false")
    assert false_share <= 0.05


def test_the_group_finds_what_the_participants_share(analysed):
    prefix = analysed.out / "tpl-MNI152NLin2009cAsym/func/tpl-MNI152NLin2009cAsym_task-movie_res-native"
    mean = read_map(f"{prefix}_model-motionenergy_stat-r_statmap.nii.gz")
    t = read_map(f"{prefix}_model-motionenergy_stat-t_desc-r_statmap.nii.gz")
    _, regions = truth(analysed, "01")
    planted, others = (np.isfinite(mean) & (where) for where in (regions > 0, regions == 0))
    assert mean[planted].mean() > 0.4
    assert abs(mean[others].mean()) < 0.02
    assert np.nanmedian(t[planted]) > 5
    singles = np.stack([participant_map(analysed, who, "r") for who in PARTICIPANTS])
    np.testing.assert_allclose(mean[planted], np.tanh(np.arctanh(singles).mean(axis=0))[planted], atol=1e-5)


def output_files(out):
    """The tree without what is named by chance: one folder a run below logs/<label>/."""
    names = {
        re.sub(r"^(logs/[^/]+)/[0-9a-f]{12}/", r"\1/<run>/", p.relative_to(out).as_posix())
        for p in out.rglob("*")
        if p.is_file()
    }
    return sorted(names)


def test_the_output_tree_is_the_golden_list(analysed):
    found = "\n".join(output_files(analysed.out)) + "\n"
    assert found == GOLDEN.read_text(), "run tests/end_to_end/write_golden.py OUT_DIR after a wanted change"


def test_the_bids_validator_accepts_input_and_output(analysed):
    command = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    for dataset in (analysed.bids, analysed.out):
        done = subprocess.run([command, dataset], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_every_map_has_a_sidecar_whose_sources_exist(analysed):
    links = json.loads((analysed.out / "dataset_description.json").read_text())["DatasetLinks"]
    roots = {"": analysed.out} | {name: (analysed.out / link).resolve() for name, link in links.items()}
    maps = sorted(analysed.out.rglob("*_statmap.nii.gz"))
    assert len(maps) > 20
    for path in maps:
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert {"Description", "SkullStripped", "Resolution", "Sources", "ModelParameters"} <= set(sidecar), (
            path
        )
        for uri in sidecar["Sources"]:
            _, dataset, relative = uri.split(":", 2)
            assert (roots[dataset] / relative).is_file(), uri


def test_a_second_run_computes_nothing(analysed, cinebold):
    before = {
        p: p.stat().st_mtime_ns
        for p in analysed.out.rglob("*")
        if p.is_file() and p.suffix not in (".html", ".md")
    }
    again = cinebold(
        analysed.bids, analysed.out, "participant", "-w", analysed.work, "--resolution", "native"
    )
    assert again.returncode == 0
    assert "0 steps computed" in again.stderr
    after = {p: p.stat().st_mtime_ns for p in before}
    assert after == before


def test_two_runs_from_scratch_give_identical_bytes(analysed, cinebold, tmp_path):
    out = tmp_path / "out"
    for level in ("participant", "group"):
        done = cinebold(
            analysed.bids, out, level, "-w", tmp_path / "work", "--resolution", "native", "--nprocs", 1
        )
        assert done.returncode == 0, done.stderr
    names = [
        name
        for name in output_files(out)
        if not name.startswith("logs/") and name != "dataset_description.json"
    ]
    assert len(names) > 100
    different = [name for name in names if not filecmp.cmp(out / name, analysed.out / name, shallow=False)]
    assert different == []


def test_reports_are_whole(analysed):
    for page in ("sub-01.html", "sub-02.html", "group.html", "stimuli.html"):
        text = (analysed.out / page).read_text()
        for picture in re.findall(r'<img[^>]+src="([^"]+)"', text):
            assert picture.startswith("data:") or (analysed.out / picture).is_file(), picture
        assert "RANDOM weights" not in text
    citation = (analysed.out / "logs/CITATION.md").read_text()
    assert "Nishimoto" in citation and "SlowFast" not in citation


def test_reports_only_makes_the_pages_anew(analysed, cinebold):
    page = analysed.out / "sub-01.html"
    before = page.read_text()
    page.unlink()
    done = cinebold(analysed.bids, analysed.out, "participant", "-w", analysed.work, "--reports-only")
    assert done.returncode == 0, done.stderr
    assert page.read_text() == before


def test_a_recorded_run_can_be_replayed(analysed, cinebold):
    record = next((analysed.out / "logs" / "sub-01").glob("*/cinebold.toml"))
    done = cinebold(
        analysed.bids,
        analysed.out,
        "participant",
        "--config-file",
        record,
        "--dry-run",
        "--participant-label",
        "01",
    )
    assert done.returncode == 0, done.stderr
    assert "the input's grid" in done.stdout
    assert "1 to run" in done.stdout


def test_the_saved_model_predicts_the_planted_signal(analysed):
    """What is on disk is enough to predict: features of a run in, responses out."""
    from cinebold.encoding.model import EncodingModel

    model = EncodingModel.load(analysed.out / f"models/sub-01_{NAME}_encoding")
    assert model.mask is not None
    r = participant_map(analysed, "01", "r")
    assert model.mask.sum() == len(model.intercept)
    assert (model.mask | ~np.isfinite(r)).all()
