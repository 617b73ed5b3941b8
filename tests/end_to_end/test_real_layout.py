"""A real layout with a known answer: clips of 3 s every 4 s, sessions, oddballs, real confounds and sidecars.

First BOLD Moments (Lahner et al. 2024, ds005165) with real films and BOLD on its own grid, then a small layout of the
same kind that needs no data. Both through the command line.
"""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from cinebold.features.feature_files import read_features
from cinebold.files import read_json, write_json, write_text
from cinebold.simulate.confounds import make_confounds, read_table, write_confounds
from cinebold.simulate.films import make_film
from cinebold.simulate.layout import read_showings
from cinebold.simulate.noise import head_motion, slow_cosines
from cinebold.simulate.on_layout import simulate_on_layout
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.truth import FOLDER, best_r_map

pytestmark = pytest.mark.slow

SPACE = "MNI152NLin2009cAsym"
REGIONS = {"occipital": 1, "ventral_temporal": 2, "parietal": 3, "frontal_eye_fields": 4}
ELSEWHERE = 0
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
#: nilearn's strategy "simple": 24 motion columns, mean CSF and white matter; the slow cosines are those of the table.
SIMPLE = [
    f"{axis}{change}" for change in ("", "_derivative1", "_power2", "_derivative1_power2") for axis in MOTION
]
SIMPLE += ["csf", "white_matter"]


def analyse(cinebold, bids, out, level, *arguments):
    """One level on the input's grid, which is that of the truth.

    Short films are many: two at a time are faster than two threads each.
    """
    done = cinebold(
        bids, out, level, "-w", out.parent / "work", "--mask", "gm", "--resolution", "native",
        "--omp-nthreads", 1, *arguments,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def read_map(path):
    return np.asarray(nib.load(path).dataobj, dtype=float)


def only(folder, pattern):
    (path,) = folder.rglob(pattern)
    return path


def participant_map(done, participant, statistic):
    return read_map(only(done.out, f"sub-{participant}_*_model-*_stat-{statistic}_statmap.nii.gz"))


def planted_regions(bids):
    return read_map(bids / FOLDER / f"space-{SPACE}_desc-planted_dseg.nii.gz").astype(int)


def share_of_best(done, participant, region):
    """Mean r of a region, as a share of the mean of the best r that any model could reach there."""
    r, best = participant_map(done, participant, "r"), best_r_map(done.bids, participant)
    inside = np.isfinite(r) & (planted_regions(done.bids) == REGIONS[region])
    assert inside.sum() > 50
    assert (r[inside] <= best[inside] + 0.15).all()  # better than the best would be leakage
    share = r[inside].mean() / best[inside].mean()
    print(f"sub-{participant} {region}: r {r[inside].mean():.3f} of {best[inside].mean():.3f}, {share:.3f}")
    return share


def check_nothing_is_found_elsewhere(done, participant):
    r, q = participant_map(done, participant, "r"), participant_map(done, participant, "q")
    regions = planted_regions(done.bids)
    elsewhere = np.isfinite(r) & (regions == ELSEWHERE)
    assert elsewhere.sum() > 500
    assert abs(r[elsewhere].mean()) < 0.02
    false_share = (regions[q < 0.05] == ELSEWHERE).mean()
    print(f"sub-{participant} elsewhere: r {r[elsewhere].mean():.4f}, false discoveries {false_share:.3f}")
    assert false_share <= 0.05


def check_summary(done, participant, n_runs):
    """The report's record of the inputs says what the layout says: films, volumes, times and confounds of each run."""
    summary = json.loads(only(done.out, f"sub-{participant}_*_desc-summary_report.json").read_text())
    assert len(summary["runs"]) == n_runs
    n_oddballs = 0
    for run in summary["runs"]:
        stem = f"sub-{participant}_{run['label']}"
        events = only(done.bids, f"{stem}_events.tsv")
        films = [(film["name"], film["onset_s"], film["duration_s"]) for film in run["films"]]
        assert films == [(one.film, one.onset_s, one.duration_s) for one in read_showings(events)]
        n_oddballs += events.read_text().count("\tn/a\t")
        table = read_table(only(done.bids, f"{stem}_desc-confounds_timeseries.tsv"))
        cosines = [name for name in table if name.startswith("cosine")]
        assert cosines and set(run["confound_columns"]) == {*SIMPLE, *cosines}
        assert run["n_volumes"] == len(table["csf"])
        non_steady = sum(values.sum() for name, values in table.items() if name.startswith("non_steady"))
        assert run["n_volumes"] - run["n_volumes_kept"] == non_steady
        sidecar = only(done.bids, f"{stem}_space-{SPACE}_desc-preproc_bold.json")
        assert run["start_time_s"] == json.loads(sidecar.read_text())["StartTime"]
    # Rows without a film are no showings, and the page says how many there were.
    assert n_oddballs > 0
    assert any(f"{n_oddballs} event rows show no film" in text for text in summary["warnings"])
    return summary


def check_validator(*datasets):
    command = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    for dataset in datasets:
        done = subprocess.run([command, dataset], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# BOLD Moments


@pytest.fixture(scope="module")
def bold_moments(shared_data, tmp_path_factory, cinebold):
    """Two participants, two runs each, on the grid of the real series; both levels of the default recipe."""
    root = tmp_path_factory.mktemp("bold-moments")
    layout = shared_data / "bmd_ds005165"
    bids = simulate_on_layout(
        root / "bids", layout, layout / "derivatives/versionB/fmriprep", shared_data / "videos",
        participants=["01", "02"], tasks=["train"], runs_per_task=2,
        settings=SimulationSettings(anat_resolution_mm=4.0),
    )  # fmt: skip
    analyse(cinebold, bids, root / "out", "participant")
    analyse(cinebold, bids, root / "out", "group")
    return SimpleNamespace(bids=bids, out=root / "out")


@pytest.mark.parametrize("participant", ["01", "02"])
def test_bold_moments_give_back_what_was_planted(bold_moments, participant):
    # Measured: 0.80 to 0.83 in the four regions of both participants. Without noise it is 0.84 to 0.87: at a TR of
    # 1.75 s the default delays are 1.75, 3.5, 5.25 and 8.75 s, and the response at 7 s is missed (0.93 with it). The
    # rest is the price of learning from the one other run: no clip is shown twice, and the confounds take 32 of its
    # 238 volumes. With the real confounds left in the data it is 0.66 to 0.70, below the bound.
    for region in REGIONS:
        assert share_of_best(bold_moments, participant, region) >= 0.75
    check_nothing_is_found_elsewhere(bold_moments, participant)


@pytest.mark.parametrize("participant", ["01", "02"])
def test_bold_moments_are_read_as_they_are(bold_moments, participant):
    summary = check_summary(bold_moments, participant, n_runs=2)
    assert all(run["n_volumes"] == 238 and run["tr_s"] == 1.75 for run in summary["runs"])
    image = nib.load(only(bold_moments.out, f"sub-{participant}_*_stat-r_statmap.nii.gz"))
    assert image.shape == (62, 77, 61)


def test_bold_moments_have_group_maps(bold_moments):
    folder = bold_moments.out / f"tpl-{SPACE}"
    mean, t = (read_map(only(folder, f"*_stat-{what}_statmap.nii.gz")) for what in ("r", "t_desc-r"))
    regions = planted_regions(bold_moments.bids)
    found, elsewhere = (np.isfinite(mean) & where for where in (regions > 0, regions == ELSEWHERE))
    assert mean[found].mean() > 0.5
    assert abs(mean[elsewhere].mean()) < 0.02
    assert np.nanmedian(t[found]) > 5
    assert (bold_moments.out / "group.html").is_file()


def test_the_bids_validator_accepts_bold_moments_and_what_came_out(bold_moments):
    check_validator(bold_moments.bids, bold_moments.out)


# The same without the data

N_VOLUMES, TR_S = 150, 1.75
#: Every volume from 1.75 to 8.75 s. The default seconds leave one out at this TR.
DELAYS_S = (1.75, 3.5, 5.25, 7.0, 8.75)


@pytest.fixture(scope="module")
def small_layout(tmp_path_factory):
    """Text files as a dataset of short clips has them: three runs in two sessions, every fourth row an oddball."""
    root = tmp_path_factory.mktemp("small-layout")
    raw, fmriprep, films = root / "raw", root / "fmriprep", root / "films"
    rng = np.random.default_rng(7)
    write_json(raw / "dataset_description.json", {"Name": "Short clips", "BIDSVersion": "1.8.0"})
    write_text(raw / "participants.tsv", "participant_id\nsub-01\n")
    for session, run in (("1", "1"), ("1", "2"), ("2", "1")):
        folder = Path(f"sub-01/ses-{session}/func")
        stem = f"sub-01_ses-{session}_task-clips_run-{run}"
        rows = []
        for i in range(int(N_VOLUMES * TR_S / 4) - 4):
            film = "n/a" if i % 4 == 3 else f"set/{session}{run}{i:02d}.mp4"
            onset_s = 4 + 4 * i + rng.uniform(0, 0.02)  # the real ones are some milliseconds late too
            rows.append(f"{onset_s:.3f}\t3.000\t{film}\t{'oddball' if film == 'n/a' else 'clip'}")
        table = "\n".join(["onset\tduration\tstim_file\ttrial_type", *rows]) + "\n"
        write_text(raw / folder / f"{stem}_events.tsv", table)
        write_json(raw / folder / f"{stem}_bold.json", {"TaskName": "clips", "RepetitionTime": TR_S})
        sidecar = {"RepetitionTime": TR_S, "StartTime": 0.825, "SliceTimingCorrected": True}
        write_json(fmriprep / folder / f"{stem}_space-{SPACE}_desc-preproc_bold.json", sidecar)
        motion, cosines = head_motion(N_VOLUMES, TR_S, rng), slow_cosines(N_VOLUMES, TR_S)
        series = 1000 + rng.standard_normal((N_VOLUMES, 100)).astype(np.float32)
        tissue = np.linspace(0, 1, 100)
        confounds = make_confounds(series, motion, cosines, white=tissue, csf=tissue[::-1], n_non_steady=1)
        write_confounds(fmriprep / folder / f"{stem}_desc-confounds_timeseries.tsv", *confounds)
    for i in range(3):
        make_film(films / f"film-{i}.mp4", 60.0, np.random.default_rng([7, i]), frame_shape=(48, 80))
    return raw, fmriprep, films


@pytest.fixture(scope="module")
def short_clips(small_layout, tmp_path_factory, cinebold):
    root = tmp_path_factory.mktemp("short-clips")
    bids = simulate_on_layout(
        root / "bids", *small_layout, settings=SimulationSettings(anat_resolution_mm=8.0, seed=1),
        grid_shape=(20, 25, 20), voxel_mm=(8.0, 8.0, 8.0),
    )  # fmt: skip
    analyse(cinebold, bids, root / "out", "participant", "--features", "low_level", "--delays", *DELAYS_S)
    return SimpleNamespace(bids=bids, out=root / "out")


def test_short_clips_give_back_what_was_planted(short_clips):
    # The region that responds to low-level features alone; the model knows nothing of motion energy.
    # Measured: 0.91 of the best; 0.82 to 0.89 with other delays and four runs.
    assert share_of_best(short_clips, "01", "ventral_temporal") >= 0.85
    check_nothing_is_found_elsewhere(short_clips, "01")


def test_short_clips_are_read_as_they_are(short_clips):
    check_summary(short_clips, "01", n_runs=3)
    check_validator(short_clips.bids, short_clips.out)


def test_responses_of_clips_give_back_what_was_planted(short_clips, tmp_path, cinebold):
    out = tmp_path / "out"
    shutil.copytree(short_clips.out / "stimuli", out / "stimuli")
    analyse(
        cinebold, short_clips.bids, out, "participant", "--features", "low_level", "--responses", "clips",
        "--cross-validation", "leave-one-stimulus-out", "--permutations", "200", "--permutation-scheme", "block",
    )  # fmt: skip
    r = read_map(only(out, "sub-01_*_stat-r_statmap.nii.gz"))
    regions = planted_regions(short_clips.bids)
    planted = r[np.isfinite(r) & (regions == REGIONS["ventral_temporal"])]
    elsewhere = r[np.isfinite(r) & (regions == ELSEWHERE)]
    assert planted.mean() > 0.2
    assert abs(elsewhere.mean()) < 0.03
    summary = read_json(only(out, "*_desc-summary_report.json"))
    assert summary["bold"]["clips"]["model"]["method"] == "lss"
    assert summary["delays_s"] == [0.0]
    check_validator(short_clips.bids, out)


def test_responses_that_were_made_elsewhere_are_fitted(short_clips, tmp_path, cinebold):
    out, rng = tmp_path / "out", np.random.default_rng(3)
    shutil.copytree(short_clips.out / "stimuli", out / "stimuli")
    regions = planted_regions(short_clips.bids)
    affine = nib.load(only(short_clips.out, "sub-01_*_stat-r_statmap.nii.gz")).affine
    for events in sorted((short_clips.bids / "sub-01").rglob("*_events.tsv")):
        rows = [line.split("\t") for line in events.read_text().splitlines()[1:]]
        betas = rng.standard_normal((*regions.shape, len(rows))).astype(np.float32)
        for number, row in enumerate(rows):
            if row[2] != "n/a":
                features = read_features(out / "stimuli" / f"{row[2]}_desc-lowlevel_features.h5")
                betas[regions == REGIONS["occipital"], number] += 0.05 * features.values[:, 0].mean()
        stem = events.name.removesuffix("_events.tsv")
        write_text(tmp_path / f"{stem}_betas.tsv", "\n".join(["stim_file", *(row[2] for row in rows)]) + "\n")
        nib.save(nib.Nifti1Image(betas, affine), tmp_path / f"{stem}_betas.nii.gz")
    analyse(
        cinebold, short_clips.bids, out, "participant", "--features", "low_level",
        "--betas", tmp_path / "sub-{sub}_ses-{ses}_task-{task}_run-{run}_betas.nii.gz",
        "--cross-validation", "leave-one-stimulus-out", "--permutations", "0",
    )  # fmt: skip
    r = read_map(only(out, "sub-01_*_stat-r_statmap.nii.gz"))
    found, elsewhere = (r[np.isfinite(r) & (regions == index)] for index in (REGIONS["occipital"], ELSEWHERE))
    assert found.mean() > 0.3
    assert abs(elsewhere.mean()) < 0.03
