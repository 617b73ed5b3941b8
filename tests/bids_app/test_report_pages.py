"""sub-XX.html and group.html: everything is there, nothing is trusted, what is missing is named."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from bids_app.report import write_group_report, write_participant_report
from bids_app.report.collecting import png_size
from bids_app.report.film_pages import write_stimuli_report

HOSTILE = '<script>alert("x")</script>&.mp4'
SUMMARY = {
    "participant": "01",
    "recipe": "motion-energy",
    "space": "MNI152NLin2009cAsym",
    "resolution_label": "4mm",
    "runs": [
        {
            "label": f"task-movie_run-{i}",
            "bold": "sub-01/func/x_bold.nii.gz",
            "n_volumes": 120,
            "n_volumes_kept": 117,
            "tr_s": 1.75,
            "start_time_s": None,
            "confound_strategy": "simple",
            "confound_columns": ["trans_x", "rot_z"],
            "degrees_of_freedom_lost": 27,
            "tsnr_median": 54.321,
            "coverage": 0.875,
            "fd_mean_mm": 0.1234,
            "fd_max_mm": 1.5,
            "share_left_out": 0.0625,
            "volumes_dropped": {"non_steady_state": 2, "scrubbed": 6},
            "n_constant": 11,
            "films": [{"name": HOSTILE, "onset_s": 8, "duration_s": 100.5, "film_offset_s": 0, "film_duration_s": 101}],
        }
        for i in (1, 2)
    ],
    "spaces": [
        {"name": "motionenergy", "extractor": "motion_energy", "parameters": {"a": 1}, "n_features": 2530,
         "n_components": 80, "variance_explained": 0.95, "random_weights": False, "weights_sha256": None}
    ],
    "bold": {"mask": "gm", "resolution_mm": 4.0, "confounds": "simple", "high_pass_hz": 0.008},
    "encoding": {"estimator": "ridge", "pca": 0.95, "n_permutations": 1000, "q": 0.05},
    "delays_s": [2, 4, 6],
    "low_pass": "lanczos",
    "n_targets": 20000,
    "diagnostics": {"folds": [{"held_out": "run-1", "n_train_rows": 234}], "n_constant": 3},
    "scores": {"r": {"mean": 0.03, "median": 0.01, "p95": 0.2, "max": 0.512}},
    "n_significant": 1500,
    "q": 0.05,
    "warnings": ["The film outlasts the run."],
    "versions": {"cinebold": "0.1.0", "fMRIPrep": "23.2.0"},
}  # fmt: skip
PREFIX = "sub-01_task-movie_space-X_res-4mm_model-motionenergy"


class _Page(HTMLParser):
    """What matters of a page, and whether its tags are balanced."""

    _EMPTY = ("meta", "img", "br", "link", "input")

    def __init__(self, path: Path):
        super().__init__()
        self.images, self.ids, self.links, self.tags, self.text, self.open = [], [], [], [], "", []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag not in self._EMPTY:
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def check(self, root: Path):
        assert len(set(self.ids)) == len(self.ids)
        for link in self.links:
            if link.startswith("#"):
                assert link[1:] in self.ids
        for image in self.images:
            assert image["alt"] and image["loading"] == "lazy"
            assert not image["src"].startswith(("/", "file:"))
            with Image.open(root / unquote(image["src"])) as picture:
                assert (int(image["width"]), int(image["height"])) == picture.size
        assert "http" not in "".join(re.findall(r'(?:src|@import|url)\W+([^\s"]+)', self.source))


def _figure(folder: Path, key: str, size=(60, 40)):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "white").save(folder / f"{PREFIX}_desc-{key}_figure.png")


def _summary(folder: Path, content=SUMMARY, prefix=PREFIX):
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / f"{prefix}_desc-summary_report.json").write_text(text)


@pytest.fixture
def output(tmp_path):
    """An output directory with a participant whose figures are all there but two."""
    folder = tmp_path / "sub-01" / "figures"
    _summary(folder)
    for key in (
        "rslices",
        "rsurface",
        "rhist",
        "design1",
        "design2",
        "design10",
        "alphas",
        "loadingsslowfast5007",
    ):
        _figure(folder, key, (1000, 300) if key == "rslices" else (60, 40))
    (folder / f"{PREFIX}_desc-figures_report.json").write_text(
        json.dumps(
            {
                "figures": {
                    key: {} for key in ("rsurface", "rhist", "design1", "design2", "design10", "alphas")
                }
                | {
                    "rslices": {"threshold": 0.126, "vmax": 0.5, "q": 0.05, "outlined": True},
                    "loadingsslowfast5007": {
                        "space": "slowfast50",
                        "component": 7,
                        "variance_explained": 0.051,
                    },
                },
                "not_made": {"qslices": "no permutation test was run & <b>so</b>"},
            }
        )
    )
    return tmp_path


def test_whole_page(output):
    path = write_participant_report(output, "01")
    assert path == output / "sub-01.html"
    page = _Page(path)
    page.check(output)
    for section in (
        "summary",
        "inputs",
        "design",
        "results",
        "model",
        "diagnostics",
        "methods",
        "versions",
        "warnings",
    ):
        assert f"{section}-1" in page.ids
    assert "errors" in page.ids
    assert len(page.images) == 8
    for text in ("1,500", "0.512", "task-movie_run-2", "54.3", "117 / 120", "The film outlasts the run.", "23.2.0",
                 "Values below 0.13 fade out", "q < 0.05", "slowfast50, component 07", "5.1 %"):  # fmt: skip
        assert text in page.text, text
    for text in ("87.5 %", "0.123 / 1.5", "6.2 %", "2 non steady state, 6 scrubbed", "11"):
        assert text in page.text, text
    assert "RANDOM" not in page.text and "left out by rule" not in page.text
    assert path.stat().st_size < 2_000_000


def test_the_pages_link_to_the_films_where_their_page_is_there(output):
    def links():
        pages = [write_participant_report(output, "01"), write_group_report(output)]
        return [[link for link in _Page(path).links if link.endswith(".html")] for path in pages]

    assert links() == [[], []]
    page = write_stimuli_report(output)
    assert links() == [[page.name], [page.name]]
    assert not any(link.endswith(".html") for link in _Page(page).links)


def test_runs_that_a_rule_left_out_are_named(output):
    excluded = [
        {"label": "task-movie_run-3", "reason": "it <b>moved</b>", "mean_fd_mm": 0.7, "n_volumes_kept": 90}
    ]
    _summary(output / "sub-01" / "figures", SUMMARY | {"excluded_runs": excluded})
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert "Runs left out by rule" in page.text and "it <b>moved</b>" in page.text


FIT = {
    "cross_validation": {"scheme": "k-fold", "n_folds": 2, "test": [], "shared_films": "exclude"},
    "alphas": [0.1, 1.0, 1000.0],
    "alpha_edge_shares": {"least": 0.0, "largest": 0.123},
    "n_rows_of_run": {"run-1": 190, "run-2": 180},
    "folds": [
        {"held_out": "run-1, run-2", "n_train": 338, "n_test": 190, "n_excluded_same_film": 48, "n_columns": 104,
         "rank": 103, "condition_number": 5512.04, "effective_degrees_of_freedom": 3.14, "inner_scheme": "blocks",
         "n_inner_folds": 5},
        {"held_out": "run-3", "n_train": 1, "n_test": 2, "effective_degrees_of_freedom": None},
    ],
    "final": {"held_out": None, "n_train": 576, "n_test": 0, "rank": 100},
    "film_timing": [
        {"run": "run-1", "run_s": 206.0, "films_s": 176.5, "events_s": 176.0, "film_minus_event_s": 0.5,
         "end_minus_run_end_s": -16.0, "showings": [{"film": HOSTILE, "onset_s": 8.0, "film_s": 176.5,
                                                     "event_s": None, "run_left_s": 198.0}]},
    ],
    "something_else": 4711,
}  # fmt: skip


def test_the_diagnostics_say_what_was_held_out_and_what_may_be_doubted(output):
    folds = [{"runs": ["run-1", "run-2"], "films": [HOSTILE, "b.mp4"]}]
    _summary(
        output / "sub-01" / "figures", SUMMARY | {"diagnostics": FIT, "folds": folds, "n_family_wise": 1234}
    )
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert "diagnostics-1" in page.ids
    text = re.sub(r"\s+", " ", page.text)
    for part in ("Groups of runs were held out in turn", "run-1, run-2", "2 films", "5.51e+03", "3.1", "103",
                 "5 inner folds (blocks)", "final model", "12.3 %", "1e+03", "176.5", "not given", "-16", "190",
                 "4711", "1,234", "Volumes that share a film with a held-out run were left out"):  # fmt: skip
        assert part in text, part
    assert "script" not in page.tags


@pytest.mark.parametrize("key", FIT)
@pytest.mark.parametrize("wrong", [None, 1, "text", [], [1, None], {"a": []}, [{}], [{"showings": 3}]])
def test_diagnostics_with_wrong_types(output, key, wrong):
    _summary(output / "sub-01" / "figures", SUMMARY | {"diagnostics": FIT | {key: wrong}, "folds": wrong})
    _Page(write_participant_report(output, "01")).check(output)


def test_a_comparison_is_shown_where_there_is_one(output):
    page = _Page(write_participant_report(output, "01"))
    assert "comparison-1" not in page.ids and "#comparison-1" not in page.links
    folder = output / "sub-01" / "figures"
    _figure(folder, "spacebars")
    listing = folder / f"{PREFIX}_desc-figures_report.json"
    content = json.loads(listing.read_text())
    content["figures"]["spacebars"] = {"where": "12 voxels", "means": {}}
    listing.write_text(json.dumps(content))
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert "comparison-1" in page.ids and "#comparison-1" in page.links
    assert "Means over 12 voxels" in page.text


def test_settings_of_choices_that_were_not_made_are_not_shown(output):
    encoding = {"estimator": "ridge", "l1_ratio": 0.77, "permutation_scheme": "block", "block_s": 41.5,
                "minimum_shift_s": 23.5}  # fmt: skip
    _summary(output / "sub-01" / "figures", SUMMARY | {"encoding": encoding})
    text = _Page(write_participant_report(output, "01")).text
    assert "41.5" in text and "0.77" not in text and "23.5" not in text


def test_designs_come_in_the_order_of_the_runs(output):
    page = _Page(write_participant_report(output, "01"))
    designs = [image["src"] for image in page.images if "design" in image["src"]]
    assert [re.search(r"design(\d+)", name)[1] for name in designs] == ["1", "2", "10"]


def test_names_are_escaped(output):
    page = _Page(write_participant_report(output, "01", problems=[HOSTILE]))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 2 + 2  # in two runs, on top, and among the errors
    assert "no permutation test was run & <b>so</b>" in page.text  # once escaped, not twice
    assert "b" not in page.tags


def test_missing_figures_are_named(output):
    page = _Page(write_participant_report(output, "01"))
    assert "Not made: no permutation test was run" in page.text
    (output / "sub-01" / "figures" / f"{PREFIX}_desc-rhist_figure.png").write_bytes(b"not a picture")
    (output / "sub-01" / "figures" / f"{PREFIX}_desc-alphas_figure.png").unlink()
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert "Not made: its file is not a readable PNG" in page.text
    assert "Not made: there is no such file" in page.text
    assert len(page.images) == 6


def test_figures_of_an_earlier_analysis_are_not_shown(output):
    _figure(output / "sub-01" / "figures", "qslices")
    page = _Page(write_participant_report(output, "01"))
    assert not [image for image in page.images if "qslices" in image["src"]]
    assert "Not made: no permutation test was run" in page.text


def test_figures_without_a_list_are_shown(tmp_path):
    _summary(tmp_path / "sub-01" / "figures")
    _figure(tmp_path / "sub-01" / "figures", "rslices")
    page = _Page(write_participant_report(tmp_path, "sub-01"))
    page.check(tmp_path)
    assert len(page.images) == 1
    assert page.text.count("Not made: there is no such file") >= 5


def test_random_weights_are_loud(output):
    space = SUMMARY["spaces"][0] | {"name": "slowfast", "random_weights": True}
    _summary(output / "sub-01" / "figures", SUMMARY | {"spaces": [space]})
    page = _Page(write_participant_report(output, "01"))
    assert 'class="banner random"' in page.source
    assert "slowfast come from a network with RANDOM weights" in page.text
    assert page.source.index('class="banner random"') < page.source.index('id="summary-1"')


@pytest.mark.parametrize("text", ["", "{not json", "[1, 2]", '"text"', "\x00"])
def test_bad_summary(output, text):
    _summary(output / "sub-01" / "figures", text)
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert "desc-summary_report.json" in page.text
    assert len(page.images) == 8  # what was drawn is shown all the same


@pytest.mark.parametrize(
    "wrong", [None, 1, float("inf"), "text", [], [1, None, "text"], {}, {"a": 1}, [{}], [[{}]]]
)
def test_summary_with_wrong_types(output, wrong):
    for key in SUMMARY:
        _summary(output / "sub-01" / "figures", SUMMARY | {key: wrong})
        _Page(write_participant_report(output, "01")).check(output)
    _summary(output / "sub-01" / "figures", dict.fromkeys(SUMMARY, wrong))
    _Page(write_participant_report(output, "01")).check(output)
    run = dict.fromkeys(SUMMARY["runs"][0], wrong)
    _summary(
        output / "sub-01" / "figures",
        SUMMARY | {"runs": [run, {"films": [wrong]}], "spaces": [{"n_features": wrong}]},
    )
    _Page(write_participant_report(output, "01")).check(output)


def test_empty_summary(output):
    _summary(output / "sub-01" / "figures", {})
    _Page(write_participant_report(output, "01")).check(output)


def test_two_analyses(output):
    _summary(
        output / "sub-01" / "figures", SUMMARY | {"recipe": "slowfast-lasso"}, "sub-01_model-slowfastlasso"
    )
    page = _Page(write_participant_report(output, "01"))
    page.check(output)
    assert {"results-1", "results-2", "analysis-2"} <= set(page.ids)
    assert "slowfast-lasso · MNI152NLin2009cAsym" in page.text


def test_participant_without_results(tmp_path):
    page = _Page(write_participant_report(tmp_path, "01", problems=["sub-01_bold.nii.gz is truncated."]))
    page.check(tmp_path)
    assert "No analysis of this participant was finished" in page.text
    assert page.text.count("sub-01_bold.nii.gz is truncated.") == 2


def test_crash_files(output):
    folder = output / "logs" / "sub-01" / "abc"
    folder.mkdir(parents=True)
    (folder / "crash-1.txt").write_text("start" + "x" * 30_000 + "ValueError: <i>bad</i>")
    (folder / "crash-2.pklz").write_bytes(b"\x80\x04never opened")
    for i in range(40):
        (folder / f"crash-3{i:02d}.txt").write_text("y" * 30_000)
    (output / "logs" / "sub-02").mkdir()
    (output / "logs" / "sub-02" / "crash-9.txt").write_text("of another participant")
    path = write_participant_report(output, "01")
    page = _Page(path)
    page.check(output)
    assert "ValueError: <i>bad</i>" in page.text and "startx" not in page.text
    assert "crash-2.pklz" in page.text and "never opened" not in page.text
    assert "17 more crash files" in page.text
    assert "another participant" not in page.text
    assert path.stat().st_size < 2_000_000


def test_equal_bytes(output, tmp_path_factory):
    first = write_participant_report(output, "01").read_bytes()
    assert write_participant_report(output, "01").read_bytes() == first
    assert str(output).encode() not in first
    assert not re.search(rb"\d\d:\d\d:\d\d", first)


def test_folder_with_odd_characters(tmp_path):
    root = tmp_path / "out dir #1 & <b>"
    folder = root / "sub-01" / "ses-a" / "figures"
    _summary(folder)
    _figure(folder, "rslices")
    page = _Page(write_participant_report(root, "01"))
    assert page.images[0]["src"] == f"sub-01/ses-a/figures/{PREFIX}_desc-rslices_figure.png"


@pytest.mark.parametrize("folder", ["figures", "tpl-X/figures", "tpl-X/func/figures", "group/figures"])
def test_group(tmp_path, folder):
    _figure(tmp_path / folder, "rslices", (1000, 300))
    _figure(tmp_path / folder, "weightsmotionenergy01", (1000, 300))
    summary = {
        "participants": ["01", "02", HOSTILE],
        "missing": ["03"],
        "recipe": "motion-energy",
        "q": 0.05,
        "n_targets": 1234,
        "n_significant": 12,
        "versions": {"cinebold": "0.1.0"},
    }
    _summary(tmp_path / folder, summary)
    path = write_group_report(tmp_path, missing=["sub-04", "05"])
    assert path == tmp_path / "group.html"
    page = _Page(path)
    page.check(tmp_path)
    assert len(page.images) == 2
    for text in ("Missing in the group: sub-04, sub-05.", "Missing: 03.", "1,234", "motionenergy, component 01",
                 "two-sided one-sample t-test",
        HOSTILE):  # fmt: skip
        assert text in page.text, text
    assert path.read_bytes() == write_group_report(tmp_path, missing=["sub-04", "05"]).read_bytes()


def test_group_without_results(tmp_path):
    page = _Page(write_group_report(tmp_path))
    page.check(tmp_path)
    assert "No group analysis was finished" in page.text


def test_png_size(tmp_path):
    Image.new("RGB", (321, 123)).save(tmp_path / "a.png")
    assert png_size(tmp_path / "a.png") == (321, 123)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    assert png_size(tmp_path / "b.png") is None
