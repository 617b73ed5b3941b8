"""What the tests of datasets on an existing layout share: the command, and checks against what was planted."""

import json
import subprocess
import sysconfig
from pathlib import Path

import nibabel as nib
import numpy as np

from cinebold.simulate.confounds import read_table
from cinebold.simulate.layout import read_showings
from cinebold.simulate.truth import FOLDER, best_r_map

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
