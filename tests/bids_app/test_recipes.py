"""Shipped recipes: each means what its page says, and each can be planned on a dataset."""

import pytest
from skeletons import Skeleton, build

from bids_app.cli import main
from bids_app.config import load_settings
from bids_app.recipe import recipe_names, resolve_recipe
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.errors import SettingError

#: A dry run, without weights of networks.
COMMAND = ("--random-weights", "--confounds", "csf", "--resolution", "3", "--dry-run")


def resolved(name, **given):
    known = {"bids_dir": "b", "output_dir": "o", "analysis_level": "participant", "recipe": name}
    return resolve_recipe(load_settings(known | given))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipes")
    build(root, Skeleton(runs={"movie": ("1", "2"), "test": ("1",)}))
    return root


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    """The command prepares a process of its own; this one is the tests'."""
    monkeypatch.setattr("bids_app.cli._prepare_process", lambda verbosity: None)


def dry_run(dataset, *options, level="participant"):
    return main(
        [str(dataset / "raw"), str(dataset / "out"), level, "-w", str(dataset / "work"), *COMMAND, *options]
    )


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_planned(dataset, name, capsys):
    assert dry_run(dataset, "--recipe", name) == 0
    said = capsys.readouterr().out
    assert f"recipe {name}" in said and "to compute" in said
    assert not (dataset / "out").exists()


def test_the_project_of_2021():
    recipe = resolved("neurohackademy2021")
    assert recipe.encoding_settings(0) == EncodingSettings(
        estimator="lasso",
        alphas=(0.1,),
        alpha_unit="absolute",
        pca=0.95,
        standardise="volumes",
        intercept="all",
    )
    assert recipe.delays_s(1.0) == (0.0,) and recipe.design.low_pass == "box"
    assert [table.parameters for table in recipe.features] == [
        {"layer": "logits", "windows": "neurohackademy2021"}
    ]
    bold = recipe.bold_preparation
    assert (bold.mask, bold.resolution_mm, bold.axes, bold.interpolation) == ("none", 3.0, "world", "nearest")
    assert (bold.confounds, bold.high_pass_hz, bold.standardise, bold.dummy_scans) == ("none", None, False, 0)


def test_wen_2018():
    recipe = resolved("wen2018")
    assert [table.space for table in recipe.features] == [
        "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
    ]  # fmt: skip
    assert [table.parameters["layer"] for table in recipe.features] == [
        table.space for table in recipe.features
    ]
    assert recipe.encoding_settings(0) == EncodingSettings(
        pca=0.99,
        hrf="spm",
        layers=True,
        n_permutations=10_000,
        permutation_scheme="block",
        cross_validation=CrossValidation("k-fold", n_folds=9),
    )
    assert recipe.delays_s(2.0) == (0.0,)
    plain = resolved(
        "wen2018", layers=False, hrf="none", cross_validation="leave-one-run-out"
    ).encoding_settings(0)
    assert plain == EncodingSettings(pca=0.99, n_permutations=10_000, permutation_scheme="block")


def test_bold_moments_s3d():
    recipe = resolved("bmd-s3d")
    assert recipe.features[0].parameters == {"layer": "bmd", "frames": 14, "whole_clip": True}
    assert (recipe.encoding.estimator, recipe.design.pca, recipe.delays_s(1.75)) == ("ols", 100, (0.0,))
    clips = recipe.bold_preparation.clips
    assert clips is not None and clips.model.method == "lss" and clips.average
    assert resolved("bmd-s3d", clip_method="fir").bold_preparation.clips.model.method == "fir"


def test_what_belongs_to_clips_is_refused_for_volumes():
    assert resolved("motion-energy").bold_preparation.clips is None
    with pytest.raises(SettingError, match="belongs to responses = clips"):
        resolved("motion-energy", clip_method="lsa")
    with pytest.raises(SettingError, match="leave the design's delays and hrf out"):
        resolved("bmd-s3d", hrf="glover")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--cross-validation", "split", "--test-runs", "test"), 0, "1     task-test_run-1"),
        (("--cross-validation", "k-fold", "--folds", "2"), 0, "task-movie_run-1, task-test_run-1"),
        (("--cross-validation", "leave-one-stimulus-out", "--folds", "2"), 0, "films/part1.mp4, films/part3.mp4"),
        (("--layers", "--hrf", "glover"), 0, "response glover"),
        (("--cross-validation", "split", "--test-runs", "task-rest"), 16, "none of the runs"),
        (("--cross-validation", "split"), 2, "needs test_runs"),
        (("--l1-ratio", "0.5"), 2, "belongs to estimator = elastic_net"),
        (("--hrf", "spm", "--delays", "2", "4"), 2, "two models of one thing"),
        (("--features", "low_level", "--variance-partitioning"), 2, "only lowlevel"),
    ],
)  # fmt: skip
def test_what_a_dry_run_says_of_the_model(dataset, options, code, said, capsys):
    assert dry_run(dataset, *options) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_world_axes_need_a_size(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'x'\n[[features]]\nspace='a'\nextractor='low_level'\n[bold]\naxes='world'\nresolution_mm='native'\n"
    )
    with pytest.raises(SettingError, match="needs a resolution_mm"):
        resolved(str(path))
