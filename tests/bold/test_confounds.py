"""Confounds: equal to nilearn on every real table, and clear about what a table lacks."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.interfaces.fmriprep import load_confounds as nilearn_load_confounds
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.interfaces.fmriprep.load_confounds_scrub import optimize_scrub

from cinebold.bold.confounds import Confounds, load_confounds
from cinebold.bold.confounds_strategies import ConfoundStrategy, strategy_names
from cinebold.bold.volumes import at_the_ends, trimmed_volumes
from cinebold.errors import InputError, SettingError

#: What each of our strategies is called in nilearn; the last are of one's own.
PEERS = {
    "high_pass": {"strategy": ("high_pass",)},
    "motion6": {"strategy": ("high_pass", "motion"), "motion": "basic"},
    "motion": {"strategy": ("high_pass", "motion"), "motion": "full"},
    "simple": "simple",
    "scrubbing": "scrubbing",
    "compcor": "compcor",
    "compcor_separated": {
        "strategy": ("high_pass", "motion", "compcor"),
        "motion": "full",
        "compcor": "anat_separated",
        "n_compcor": "all",
    },
    "ica_aroma": {
        "strategy": ("high_pass", "wm_csf", "ica_aroma"),
        "wm_csf": "basic",
        "ica_aroma": "basic",
    },
}
OWN = {
    "five components a mask": (
        ConfoundStrategy(("motion6", "compcor_separated"), n_compcor=5),
        {
            "strategy": ("high_pass", "motion", "compcor"),
            "motion": "full",
            "compcor": "anat_separated",
            "n_compcor": 5,
        },
    ),
    "stricter thresholds": (
        ConfoundStrategy(
            ("motion6", "global_signal"),
            fd_threshold_mm=0.2,
            std_dvars_threshold=1.2,
            shortest_segment_volumes=3,
        ),
        {
            "strategy": ("high_pass", "motion", "global_signal", "scrub"),
            "motion": "basic",
            "fd_threshold": 0.2,
            "std_dvars_threshold": 1.2,
            "scrub": 3,
        },
    ),
}


@pytest.fixture(scope="module")
def real_tables(request) -> list[Path]:
    """Of fMRIPrep 1.4 to 23.2: those in nilearn's wheel, and those of the folder of real data where it is here."""
    tables = sorted(
        Path(str(resources.files("nilearn.interfaces.fmriprep") / "data")).glob("*confounds*.tsv")
    )
    try:
        shared = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return tables
    tables += sorted(shared.glob("bmd_ds005165/derivatives/**/*_desc-confounds_timeseries.tsv"))
    return tables + sorted(shared.glob("confounds/pybids*.tsv"))


def by_nilearn(tsv: Path, strategy: str, folder: Path):
    """nilearn finds a table by the name of its image, so the table gets a name that belongs to one."""
    link = folder / "sub-01_task-x_desc-confounds_timeseries.tsv"
    link.unlink(missing_ok=True)
    link.symlink_to(tsv)
    link.with_suffix(".json").unlink(missing_ok=True)
    if tsv.with_suffix(".json").exists():
        link.with_suffix(".json").symlink_to(tsv.with_suffix(".json"))
    image = str(folder / "sub-01_task-x_space-T1w_desc-preproc_bold.nii.gz")
    peer = PEERS[strategy] if strategy in PEERS else OWN[strategy][1]
    if isinstance(peer, str):
        return load_confounds_strategy(image, denoise_strategy=peer, demean=False)
    return nilearn_load_confounds(image, demean=False, **peer)


@pytest.mark.filterwarnings("ignore:All volumes were marked:RuntimeWarning")
@pytest.mark.parametrize("strategy", [*PEERS, *OWN])
def test_equals_nilearn_on_real_tables(real_tables, tmp_path, strategy):
    n_compared = 0
    for tsv in real_tables:
        try:
            ours = load_confounds(tsv, OWN[strategy][0] if strategy in OWN else strategy)
        except InputError:
            # Refused by nilearn too, or by nilearn's sample mask that is empty.
            try:
                _, sample_mask = by_nilearn(tsv, strategy, tmp_path)
            except (ValueError, KeyError):
                continue
            assert sample_mask is not None and len(sample_mask) == 0
            continue
        theirs, sample_mask = by_nilearn(tsv, strategy, tmp_path)
        assert set(ours.names) == set(theirs.columns), tsv
        np.testing.assert_array_equal(ours.values, theirs[list(ours.names)].to_numpy())
        expected = np.arange(len(ours.keep)) if sample_mask is None else sample_mask
        np.testing.assert_array_equal(np.flatnonzero(ours.keep), expected)
        assert np.isfinite(ours.values).all()
        n_compared += 1
    fewest = {"ica_aroma": 2, "compcor": 14, "compcor_separated": 14, "five components a mask": 14}
    assert n_compared >= (fewest.get(strategy, 16) if len(real_tables) > 3 else 2)


def test_every_real_table_is_read(real_tables):
    assert len(real_tables) in (3, 17)
    for tsv in real_tables:
        none = load_confounds(tsv, "none")
        assert none.values.shape[1] == 0 and not none.has_cosines
        simple = load_confounds(tsv, "simple", n_volumes=len(none.keep))
        assert simple.has_cosines and np.isfinite(simple.values).all()


def write_table(path: Path, columns: dict[str, list], sidecar: dict | None = None) -> Path:
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns)] + ["\t".join(str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    if sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def small_columns(n: int = 12, seed: int = 0) -> dict[str, list]:
    rng = np.random.default_rng(seed)
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    columns = {
        name: [f"{v:.6f}" for v in rng.normal(size=n)]
        for name in [*names, "csf", "white_matter", "global_signal"]
    }
    columns["trans_x_derivative1"] = ["n/a", *columns["trans_x"][1:]]
    columns["framewise_displacement"] = ["n/a"] + ["0.1"] * (n - 1)
    columns["std_dvars"] = ["n/a"] + ["1.0"] * (n - 1)
    return columns


def test_lists_patterns_and_unions(tmp_path):
    tsv = write_table(tmp_path / "c.tsv", small_columns())
    assert load_confounds(tsv, "trans_x, rot_*").names == ("trans_x", "rot_x", "rot_y", "rot_z")
    assert load_confounds(tsv, "motion6,global_signal,trans_x").names[-1] == "global_signal"
    assert len(load_confounds(tsv, "motion6,global_signal,trans_x").names) == 7
    assert load_confounds(tsv, "none,csf").names == ("csf",)
    # A BOM and Windows line ends come with spreadsheets.
    tsv.write_bytes(b"\xef\xbb\xbf" + tsv.read_bytes().replace(b"\n", b"\r\n"))
    assert load_confounds(tsv, "trans_x").names == ("trans_x",)


def test_first_row_takes_the_second(tmp_path):
    tsv = write_table(tmp_path / "c.tsv", small_columns())
    values = load_confounds(tsv, "trans_x_derivative1").values[:, 0]
    assert values[0] == values[1]


def test_marks_and_dummy_scans(tmp_path):
    columns = small_columns()
    for index in (0, 1):
        columns[f"non_steady_state_outlier{index:02d}"] = [int(row == index) for row in range(12)]
    columns["motion_outlier00"] = [int(row == 6) for row in range(12)]
    tsv = write_table(tmp_path / "c.tsv", columns)
    marked = load_confounds(tsv, "motion6")
    assert list(np.flatnonzero(~marked.keep)) == [0, 1]
    assert marked.dropped == {"non_steady_state": 2}
    assert load_confounds(tsv, "motion6", dummy_scans=0).keep.all()
    assert list(np.flatnonzero(~load_confounds(tsv, "none", dummy_scans=4).keep)) == [0, 1, 2, 3]
    named = load_confounds(tsv, "non_steady_state_outlier01", dummy_scans=0)
    assert named.names == () and named.dropped == {"non_steady_state": 1} and not named.keep[1]
    listed = load_confounds(tsv, "trans_x,motion_outlier*")
    assert listed.names == ("trans_x",)
    assert list(np.flatnonzero(~listed.keep)) == [0, 1, 6]
    without = write_table(tmp_path / "none.tsv", small_columns())
    assert load_confounds(without, "trans_x,motion_outlier*").keep.all()
    for dummy_scans in (-1, 12):
        with pytest.raises(SettingError, match="dummy scans"):
            load_confounds(tsv, "none", dummy_scans=dummy_scans)


def test_components_bring_the_cosines_that_they_were_made_without(tmp_path):
    columns = small_columns() | {
        "cosine00": ["0.1"] * 12,
        "a_comp_cor_00": ["0.2"] * 12,
        "edge_comp_00": ["1"] * 12,
    }
    tsv = write_table(tmp_path / "c.tsv", columns)
    assert load_confounds(tsv, "trans_x,a_comp_cor_0*").names == ("trans_x", "a_comp_cor_00", "cosine00")
    assert load_confounds(tsv, "edge_comp_*").names == ("edge_comp_00", "cosine00")
    assert not load_confounds(tsv, "trans_x").has_cosines


def test_trimmed_ends_are_left_out_beside_what_is_marked(tmp_path):
    columns = small_columns() | {"non_steady_state_outlier00": [1] + [0] * 11}
    tsv = write_table(tmp_path / "c.tsv", columns)
    trimmed = load_confounds(tsv, "trans_x", trim=(2, 3))
    assert list(np.flatnonzero(trimmed.keep)) == [2, 3, 4, 5, 6, 7, 8]
    assert trimmed.dropped == {"non_steady_state": 1, "trimmed": 5}
    with pytest.raises(InputError, match=r"leaves out every volume of .* \(.*trimmed 12 of 12\)"):
        load_confounds(tsv, "none", trim=(6, 6))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.sampled_from([0.7, 1.49, 2.0]), st.integers(17, 40))
def test_a_trim_in_seconds_leaves_out_what_touches_it(start, end, tr_s, n_volumes):
    first, last = trimmed_volumes(f"{start}s:{end}s", tr_s)
    starts = [i * tr_s for i in range(n_volumes)]
    expected = [s for s in starts if s >= start - 1e-6 and s + tr_s <= n_volumes * tr_s - end + 1e-6]
    assert [
        s for s, out in zip(starts, at_the_ends(n_volumes, (first, last)), strict=True) if not out
    ] == expected
    assert trimmed_volumes(f"{start}:{end}", tr_s) == (start, end)


@pytest.mark.parametrize("text", ["", "2", "2:", "-1:2", "2:3:4", "1.5:2", "2ms:3", "nan:1", "1e3:1"])
def test_a_trim_has_two_sides(text):
    with pytest.raises(SettingError, match=r"START:END, volumes \(2:11\) or seconds"):
        trimmed_volumes(text, 2.0)


def test_extra_confounds_come_after_those_of_fmriprep(tmp_path):
    tsv = write_table(tmp_path / "c.tsv", small_columns())
    own = write_table(tmp_path / "physio.tsv", {"HeartRate": ["n/a", *range(11)], "resp": range(12)})
    both = load_confounds(tsv, "trans_x", extra=own)
    assert both.names == ("trans_x", "HeartRate", "resp")
    np.testing.assert_array_equal(
        both.values[:3, 1:], [[0, 0], [0, 1], [1, 2]]
    )  # the first row as the second
    assert load_confounds(tsv, "none", extra=own).names == ("HeartRate", "resp")
    with pytest.raises(InputError, match=r"physio\.tsv has 5 rows, but the run has 12 volumes"):
        load_confounds(tsv, "none", extra=write_table(own, {"resp": range(5)}))
    with pytest.raises(InputError, match=r"column csf of the extra confounds .* also taken from c\.tsv"):
        load_confounds(tsv, "csf", extra=write_table(own, {"csf": range(12)}))
    with pytest.raises(InputError, match=r"resp of .*physio\.tsv has no value in row 3"):
        load_confounds(tsv, "csf", extra=write_table(own, {"resp": [1, 2, "n/a", *range(9)]}))


def test_motion_for_the_report(tmp_path):
    columns = small_columns()
    columns["framewise_displacement"] = ["n/a", *(["0.1"] * 10), "1.2"]
    found = load_confounds(write_table(tmp_path / "c.tsv", columns), "none", dummy_scans=3).motion()
    trace = {"fd_mm": [None, *[0.1] * 10, 1.2], "left_out": [0, 1, 2]}
    assert found == {"fd_mean_mm": pytest.approx(2.2 / 11), "fd_max_mm": 1.2, "share_left_out": 0.25, **trace}
    del columns["framewise_displacement"]
    without = load_confounds(write_table(tmp_path / "c.tsv", columns), "none")
    unknown = {"fd_mean_mm": None, "fd_max_mm": None, "fd_mm": None}
    assert without.motion() == {**unknown, "share_left_out": 0.0, "left_out": []}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.9]), min_size=8, max_size=60))
def test_scrubbing_equals_nilearn(tmp_path_factory, displacement):
    n = len(displacement)
    columns = small_columns(n)
    for name in list(columns):
        if name.endswith("derivative1"):
            del columns[name]
    expansions = ("_derivative1", "_power2", "_derivative1_power2")
    for name in [*(f"{k}_{a}" for k in ("trans", "rot") for a in "xyz"), "csf", "white_matter"]:
        columns |= {name + expansion: columns[name] for expansion in expansions}
    columns["framewise_displacement"] = ["n/a", *displacement[1:]]
    tsv = write_table(tmp_path_factory.mktemp("scrub") / "c.tsv", columns)
    outliers = np.flatnonzero(np.array(displacement) > 0.5)
    outliers = outliers[outliers > 0]
    if len(outliers):
        outliers = optimize_scrub(outliers, n, 5)
    if len(outliers) == n:
        with pytest.raises(InputError, match=r"leaves out every volume"):
            load_confounds(tsv, "scrubbing")
        return
    np.testing.assert_array_equal(np.flatnonzero(~load_confounds(tsv, "scrubbing").keep), outliers)


def test_compcor_of_both_naming_generations(tmp_path):
    columns = small_columns() | {
        name + expansion: ["0.5"] * 12
        for name in [f"{k}_{a}" for k in ("trans", "rot") for a in "xyz"]
        for expansion in ("_derivative1", "_power2", "_derivative1_power2")
    }
    cosine = {"cosine00": [f"{np.cos(i / 4):.5f}" for i in range(12)]}
    component = [f"{np.sin(i):.5f}" for i in range(12)]
    old = {f"a_comp_cor_{i:02d}": component for i in range(4)}
    masks = ["combined", "combined", "CSF", "WM"]
    sidecar = {name: {"Mask": mask} for name, mask in zip(old, masks, strict=True)}
    tsv = write_table(tmp_path / "old.tsv", columns | cosine | old, sidecar)
    assert load_confounds(tsv, "compcor").names[-2:] == ("a_comp_cor_00", "a_comp_cor_01")
    assert load_confounds(tsv, "compcor_separated").names[-2:] == ("a_comp_cor_03", "a_comp_cor_02")
    assert load_confounds(tsv, "compcor").has_cosines
    new = {"a_comp_cor_00": component, "c_comp_cor_00": component, "w_comp_cor_00": component}
    tsv = write_table(tmp_path / "new.tsv", columns | cosine | new)
    assert load_confounds(tsv, "compcor").names[-1] == "a_comp_cor_00"
    assert load_confounds(tsv, "compcor_separated").names[-2:] == ("w_comp_cor_00", "c_comp_cor_00")
    tsv = write_table(tmp_path / "alone.tsv", columns | cosine | old)
    with pytest.raises(InputError, match=r"alone\.json"):
        load_confounds(tsv, "compcor")
    tsv = write_table(tmp_path / "without.tsv", columns | cosine)
    with pytest.raises(InputError, match=r"without\.tsv has no anatomical CompCor"):
        load_confounds(tsv, "compcor")


def test_what_a_table_lacks_is_named(tmp_path):
    columns = small_columns()
    tsv = write_table(tmp_path / "c.tsv", columns)
    with pytest.raises(InputError, match=r"c\.tsv has no column .*trans_y_derivative1"):
        load_confounds(tsv, "simple")
    with pytest.raises(InputError, match="no column simpel"):
        load_confounds(tsv, "simpel")
    with pytest.raises(InputError, match="aroma_motion"):
        load_confounds(tsv, "ica_aroma")
    with pytest.raises(SettingError, match="strategy"):
        load_confounds(tsv, "trans_x,,rot_x")
    with pytest.raises(InputError, match=r"has 12 rows, but its BOLD series has 14 volumes"):
        load_confounds(tsv, "none", n_volumes=14)
    columns["csf"][5] = "n/a"
    with pytest.raises(InputError, match=r"csf of .*c\.tsv has no value in row 6"):
        load_confounds(write_table(tmp_path / "c.tsv", columns), "csf")
    columns["csf"][5] = "abc"
    with pytest.raises(InputError, match=r"csf of .*c\.tsv should hold numbers, but row 6 holds 'abc'"):
        load_confounds(write_table(tmp_path / "c.tsv", columns), "csf")
    assert set(PEERS) | {"none"} == set(strategy_names())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("trans_x\ttrans_y\n", "no rows"),
        ("trans_x\ttrans_y\n1\t2\n3\n", "Row 2 .* has 1 cells, its header 2"),
        ("0.5\t0.7\n1\t2\n", "no header"),
        ("CSF\tFramewiseDisplacement\tRotX\n1\t2\t3\n", "before version 1.2"),
        ("trans_x\ttrans_x\n1\t2\n", "two columns named 'trans_x'"),
        ("../../.git/annex/objects/MD5E-s300--a.tsv\n", "git-annex pointer"),
    ],
)
def test_broken_tables(tmp_path, content, message):
    path = tmp_path / "broken.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_confounds(path, "none")


def test_confounds_is_a_plain_record():
    confounds = Confounds(np.zeros((3, 1)), ("cosine00",), np.ones(3, bool), "mine")
    assert confounds.has_cosines and confounds.source == ""
