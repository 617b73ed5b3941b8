"""A real layout with a known answer: BOLD Moments (Lahner et al. 2024, ds005165), clips of 3 s every 4 s, sessions,
oddballs, real confounds and sidecars, real films and BOLD on its own grid, through the command line."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from planted_layouts import (
    ELSEWHERE,
    REGIONS,
    SPACE,
    analyse,
    check_nothing_is_found_elsewhere,
    check_summary,
    check_validator,
    only,
    planted_regions,
    read_map,
    share_of_best,
)

from cinebold.simulate.on_layout import simulate_on_layout
from cinebold.simulate.settings import SimulationSettings

pytestmark = pytest.mark.slow


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
