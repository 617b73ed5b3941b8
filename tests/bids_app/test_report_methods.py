"""The methods text says what ran, all of it, and nothing else."""

import pytest

from bids_app.report.methods import cited, methods_markdown, methods_paragraphs, references
from bids_app.report.methods_data import design_sentences, responses_sentences

BARE = {"runs": [{"films": [{"name": "a"}]}], "space": "MNI", "encoding": {"estimator": "ridge"}}
FULL = {
    "runs": [{"films": [{"name": "a"}, {"name": "b"}]}, {"films": [{"name": "a"}]}],
    "space": "MNI152NLin2009cAsym",
    "spaces": [
        {"name": "motionenergy", "extractor": "motion_energy"},
        {"name": "lowlevel", "extractor": "low_level"},
        {"name": "slowfast", "extractor": "slowfast_r50", "random_weights": False},
    ],
    "bold": {"mask": "gm", "resolution_mm": 4, "confounds": "compcor", "high_pass_hz": 0.008},
    "encoding": {"estimator": "ridge", "pca": 0.95, "n_permutations": 1000, "minimum_shift_s": 20.0},
    "delays_s": [1.75, 3.5],
    "low_pass": "lanczos",
    "q": 0.05,
    "scores": {"noiseceiling": {}},
    "versions": {
        "cinebold": "0.1.0",
        "fMRIPrep": "23.2.0",
        "nipype": "1.11.0",
        "pybids": "0.22.0",
        "pymoten": "0.1.3",
    },
}


def _keys(summary):
    return {reference.key for reference in cited(methods_paragraphs(summary))}


def test_what_ran_is_cited():
    assert _keys(FULL) == {
        "adelson1985", "nishimoto2011", "pymoten", "feichtenhofer2019", "kay2017", "fan2021", "duchon1979", "dale1999",
        "naselaris2011", "hoerl1970", "jolliffe2016", "phipson2010", "benjamini1995", "esteban2019", "nilearn",
        "wang2024",         "behzadi2007",
        "gorgolewski2011", "gorgolewski2016", "gorgolewski2017", "yarkoni2019",
    }  # fmt: skip


def test_what_did_not_run_is_not():
    assert _keys(BARE) == {"esteban2019", "gorgolewski2016", "gorgolewski2017", "hoerl1970", "naselaris2011"}
    text = methods_markdown(BARE)
    for absent in (
        "SlowFast",
        "Motion energy",
        "LASSO",
        "false discovery",
        "noise ceiling",
        "principal",
        "Lanczos",
    ):
        assert absent.lower() not in text.lower()


@pytest.mark.parametrize(
    "change, gone, come",
    [
        ({"encoding": {"estimator": "lasso"}}, {"hoerl1970"}, {"tibshirani1996", "friedman2010"}),
        ({"encoding": {"estimator": "ridge", "pca": None}}, {"jolliffe2016"}, set()),
        ({"encoding": {"estimator": "ridge", "n_permutations": 0}}, {"phipson2010", "benjamini1995"}, set()),
        ({"low_pass": "box"}, {"duchon1979"}, set()),
        ({"bold": {"mask": "brain", "confounds": "none"}}, {"nilearn", "wang2024", "behzadi2007"}, set()),
        ({"bold": {"mask": "brain", "confounds": "scrubbing"}}, {"behzadi2007"}, {"power2014"}),
        ({"bold": {"mask": "brain", "confounds": "ica_aroma"}}, {"behzadi2007"}, {"nilearn", "pruim2015"}),
        ({"bold": {"mask": "brain", "confounds": "csf,a_comp_cor_0*"}}, {"nilearn", "wang2024"}, {"behzadi2007"}),
        (
            {"bold": {"confounds": {"columns": ["motion6"], "fd_threshold_mm": 0.3}, "max_fd_mm": 0.5}},
            {"behzadi2007", "nilearn"},
            {"power2012", "power2014"},
        ),
        ({"spaces": [{"name": "lowlevel", "extractor": "low_level"}]}, {"nishimoto2011", "feichtenhofer2019"}, set()),
        ({"spaces": [{"name": "s", "extractor": "slowfast_r50", "random_weights": True}]}, {"kay2017"}, set()),
        ({"spaces": [{"name": "s", "extractor": "x3d_xs"}]}, {"feichtenhofer2019"}, {"feichtenhofer2020", "kay2017"}),
        ({"spaces": [{"name": "s", "extractor": "alexnet"}]}, {"kay2017"}, {"krizhevsky2014", "deng2009"}),
        ({"spaces": [{"name": "s", "extractor": "s3d"}]}, {"fan2021"}, {"xie2018", "kay2017", "torchvision"}),
        ({"spaces": [{"name": "s", "extractor": "resnet50"}]}, {"kay2017"}, {"he2016", "deng2009", "torchvision"}),
        ({"spaces": [{"name": "s", "extractor": "mvit_v2_s"}]}, {"fan2021"}, {"li2022", "kay2017", "torchvision"}),
        ({"spaces": [{"name": "s", "extractor": "vjepa2"}]}, {"kay2017"}, {"assran2025", "wolf2020"}),
        ({"spaces": [{"name": "s", "extractor": "videomae"}]}, {"kay2017"}, {"tong2022", "wolf2020"}),
        ({"spaces": [{"name": "s", "extractor": "clip"}]}, {"kay2017"}, {"radford2021", "wolf2020"}),
        ({"spaces": [{"name": "s", "extractor": "dinov2"}]}, {"kay2017"}, {"oquab2024", "wolf2020"}),
        ({"spaces": [{"name": "s", "extractor": "checkpoint"}]}, {"kay2017"}, {"wolf2020"}),
        ({"encoding": {"estimator": "banded_ridge", "n_candidates": 100}}, {"hoerl1970"}, {"nunez2019", "dupre2022"}),
        ({"encoding": {"estimator": "elastic_net", "l1_ratio": 0.3}}, {"hoerl1970"}, {"zou2005", "friedman2010"}),
        ({"encoding": {"estimator": "ols"}}, {"hoerl1970"}, set()),
        ({"encoding": {"estimator": "lstm"}}, set(), {"hochreiter1997", "hoerl1970"}),
        ({"encoding": {"estimator": "ridge", "hrf": "spm"}}, {"dale1999"}, {"friston1998"}),
        ({"encoding": {"estimator": "ridge", "hrf": "glover"}}, {"dale1999"}, {"glover1999"}),
        ({"encoding": {"estimator": "ridge", "hrf": "none"}, "delays_s": [0.0]}, {"dale1999"}, set()),
        ({"encoding": {"estimator": "ridge", "variance_partitioning": True}}, set(), {"dupre2022"}),
        ({"encoding": {"estimator": "ridge", "layers": True}}, set(), {"wen2018"}),
        ({"encoding": {"estimator": "ridge", "ceiling": "split-half"}}, set(), {"spearman1910", "brown1910"}),
        ({"encoding": {"estimator": "ridge", "ceiling": "explainable-variance"}}, set(), {"sahani2003", "hsu2004"}),
        ({"encoding": {"estimator": "ridge", "ceiling": "ncsnr"}}, set(), {"allen2022"}),
        ({"encoding": {"n_permutations": 9, "permutation_scheme": "block"}}, {"hoerl1970"}, {"winkler2015"}),
        ({"n_family_wise": 3}, set(), {"nichols2002"}),
    ],
)  # fmt: skip
def test_each_choice_has_its_references(change, gone, come):
    before, after = _keys(FULL), _keys(FULL | change)
    assert gone <= before
    assert not gone & after
    assert come <= after


def test_standardisation_is_said_when_it_ran():
    said = [methods_markdown(FULL | {"encoding": {"standardise": on}}) for on in (True, False)]
    assert ["feature space was standardised" in text for text in said] == [True, False]


@pytest.mark.parametrize(
    ("scheme", "said", "coupled"),
    [
        ({"scheme": "leave-one-run-out"}, "Each run was predicted from the other runs", True),
        ({"scheme": "k-fold", "n_folds": 4}, "parted into 4 groups", True),
        ({"scheme": "split", "test": ["task-test"]}, "held-out data (task-test)", False),
        (
            {"scheme": "leave-one-stimulus-out", "n_folds": 5},
            "Films were held out in 5 groups, wherever they were shown",
            True,
        ),
        ({"scheme": "split", "test": ["task-test"], "shared_films": "refuse"}, "No film was allowed", False),
    ],
)
def test_every_scheme_is_told(scheme, said, coupled):
    text = methods_markdown(FULL | {"encoding": FULL["encoding"] | {"cross_validation": scheme}})
    assert said in text
    assert ("√2" in text) is coupled


@pytest.mark.parametrize(
    ("encoding", "folds", "said"),
    [
        ({"alphas": [0.1, 1.0]}, [], "of each voxel was chosen within the training data by leaving out one run"),
        ({"alphas": [0.1]}, [], "The penalty was fixed at 0.1 (absolute)"),
        ({"estimator": "lstm", "alphas": [0.1, 1.0]}, [], "of each voxel's read-out was chosen"),
        ({}, [{"inner_scheme": "blocks"}, {"inner_scheme": "leave-one-run-out"}],
         "leaving out one run at a time or blocks of consecutive volumes"),
        ({"cross_validation": {"scheme": "leave-one-stimulus-out"}}, [], "leaving out groups of films"),
        ({"cross_validation": {"scheme": "k-fold", "n_folds": 9}}, [{}, {}, {}], "parted into 3 groups"),
    ],
)  # fmt: skip
def test_what_was_done_goes_before_what_was_asked_for(encoding, folds, said):
    asked = {"estimator": "ridge", "alpha_unit": "absolute"} | encoding
    assert said in methods_markdown(FULL | {"encoding": asked, "diagnostics": {"folds": folds}})


def test_least_squares_choose_nothing():
    assert "regularisation" not in methods_markdown(
        FULL | {"encoding": {"estimator": "ols", "alphas": [0.0]}}
    )


def test_the_2021_choices_are_told():
    text = methods_markdown(
        FULL
        | {
            "bold": {"mask": "none", "resolution_mm": 3, "interpolation": "nearest", "confounds": "none",
                     "high_pass_hz": None, "standardise": False},
            "encoding": {"estimator": "lasso", "standardise": "volumes", "intercept": "all", "hrf": "none"},
            "delays_s": [0.0],
            "low_pass": "box",
            "runs": [],
        }
    )  # fmt: skip
    for part in ("whole field of view, resampled to 3 mm by their nearest neighbours", "neither cleaned nor",
                 "each volume were standardised across features", "one intercept", "without a delay"):  # fmt: skip
        assert part in text, part
    assert "regressed out" not in text


def test_text():
    text = methods_markdown(FULL)
    for part in (
        "fMRIPrep 23.2.0 (Esteban et al., 2019)",
        "2 runs with 2 films",
        "delays of 1.75, 3.5 s",
        "95 % of the variance",
        "1,000 circular shifts",
        "at least 20 s",
        "q = 0.05",
        "resampled to 4 mm",
        "https://doi.org/10.1016/j.cub.2011.08.031",
    ):
        assert part in text, part
    assert "[@" not in text and "None" not in text
    assert text == methods_markdown(FULL)


def test_random_weights_are_said():
    summary = FULL | {"spaces": [{"name": "s", "extractor": "slowfast_r50", "random_weights": True}]}
    assert "RANDOM weights" in methods_markdown(summary)


def test_hostile_names_cannot_cite_nor_mark_up():
    summary = FULL | {"spaces": [{"name": "[@nothing] <b> *x*", "extractor": "un_known"}]}
    text = methods_markdown(summary)
    assert r"\<b\> \*x\*" in text and r"un\_known" in text


@pytest.mark.parametrize(
    "summary", [{}, {"encoding": None, "spaces": 3, "runs": "x", "delays_s": ["x"], "versions": []}]
)
def test_little_is_known(summary):
    assert methods_markdown(summary).startswith("## Methods")


def test_group():
    text = methods_markdown({"participants": ["01", "02"], "q": 0.05, "versions": {"cinebold": "0.1.0"}})
    assert "2 participants" in text and "Benjamini" in text and "fMRIPrep" not in text


def test_every_reference_can_be_found():
    for reference in references().values():
        assert reference.link.startswith("https://")
        assert reference.short and reference.full.endswith((".", "nilearn."))
        assert not set(reference.link) & set("<> ")


def test_what_was_left_out_is_counted():
    runs = [
        {"n_volumes": 100, "n_volumes_kept": 90, "extra_confounds": "physio.tsv"},
        {"n_volumes": 100, "n_volumes_kept": 100},
    ]
    bold = {
        "mask": "brain",
        "confounds": {"name": "mine", "columns": ["motion6", "csf"]},
        "high_pass_hz": 0.01,
    }
    excluded = [{"label": "run-3", "reason": "it moved"}]
    rules = {"max_fd_mm": 0.5, "min_volumes": 80}
    text = methods_markdown(BARE | {"runs": runs, "bold": bold | rules, "excluded_runs": excluded})
    assert (
        "the confounds motion6, csf of fMRIPrep and the regressors of a further table were regressed out"
        in text
    )
    assert "Of 200 volumes, 10 (5.0 %) neither trained nor tested: those before" in text
    assert "Runs with a mean framewise displacement above 0.5 mm" in text
    assert "or fewer than 80 volumes left were left out (1)." in text
    nothing = methods_markdown(BARE | {"runs": [runs[1]], "bold": {"mask": "brain", "confounds": "none"}})
    assert (
        "were left out (" not in nothing and "neither trained" not in nothing and "confounds" not in nothing
    )


def test_what_a_user_brings_is_said_to_be_so():
    brought = [{"name": "own", "extractor": "precomputed"}, {"name": "presence", "extractor": "presence"}]
    text = methods_markdown(FULL | {"spaces": brought})
    assert "“own” were made outside of cinebold and read from a file that belongs to each film." in text
    assert "“presence” say whether a film was shown" in text


def test_responses_of_clips_are_told_of():
    clips = {"model": {"method": "lss", "hrf": "glover"}, "standardise": True, "average": True}
    text = " ".join(
        responses_sentences({"bold": {"mask": "gm", "clips": clips}})
        + design_sentences({"bold": {"clips": clips, "confounds": "simple"}, "delays_s": [0.0]})
    )
    assert "in a model of its own" in text and "[@glover1999]" in text
    assert "averaged" in text and "of its run" in text
    assert "haemodynamic response was" not in text and "columns of the design" not in text
    window = clips | {"model": {"method": "fir", "window_s": [4.0, 8.0]}}
    assert "from 4.0 to 8.0 s after its onset" in " ".join(responses_sentences({"bold": {"clips": window}}))
