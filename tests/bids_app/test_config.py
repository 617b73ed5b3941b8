"""Settings and recipes: what is refused, what overrides what, and that a run can be replayed."""

import pytest

from bids_app.config import load_settings, settings_toml
from bids_app.recipe import load_recipe, recipe_names, recipe_toml, resolve_recipe
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import SettingError


def settings(**given):
    return load_settings({"bids_dir": "b", "output_dir": "o", "analysis_level": "participant", **given})


def test_paths_are_absolute():
    assert settings(work_dir="w").work_dir.is_absolute()


def test_a_derivative_that_is_named_twice_is_refused():
    with pytest.raises(SettingError, match="given twice"):
        settings(derivatives=["a=/x", "a=/y"])


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"device": "tpu"}, "--device"),
        ({"nprocs": 0}, "--nprocs"),
        ({"delays": [4.0, 2.0]}, "--delays"),
        ({"delays": [-1.0]}, "--delays"),
        ({"fdr": 1.5}, "--fdr"),
        ({"alphas": [0.0, 1.0]}, "--alphas"),
        ({"resolution": "fine"}, "--resolution"),
        ({"pca": "2.5"}, "--pca"),
        ({"permutations": -1}, "--permutations"),
        ({"l1_ratio": 0}, "--l1-ratio"),
        ({"l1_ratio": 1.2}, "--l1-ratio"),
        ({"folds": 1}, "--folds"),
        ({"permutations": 0, "permutation_scheme": "block"}, "there is no test"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_the_options_name(given, option):
    with pytest.raises(SettingError, match=option):
        settings(**given)


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_and_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe_toml(recipe))
    assert load_recipe(str(copy)) == recipe


def test_options_override_the_recipe():
    recipe = resolve_recipe(
        settings(
            mask="brain",
            resolution="native",
            pca="none",
            delays=[3.0],
            estimator="lasso",
            nuisance_regressors="none",
            permutations=0,
            features=["low_level"],
        )
    )
    assert (recipe.bold.mask, recipe.bold.resolution_mm, recipe.bold.confounds) == ("brain", None, "none")
    assert (recipe.design.pca, recipe.design.delays_s) == (None, (3.0,))
    assert (recipe.encoding.estimator, recipe.encoding.permutations) == ("lasso", 0)
    assert [table.space for table in recipe.features] == ["lowlevel"]
    assert recipe.label == "lowlevel"
    both = resolve_recipe(settings(features=["low_level", "motion_energy"]))
    assert both.label == "lowlevelmotionenergy"
    assert resolve_recipe(settings(features=["low_level"], model_label="mine")).label == "mine"


def test_every_setting_of_the_model_can_be_given(tmp_path):
    """A recipe reaches every field of EncodingSettings but those that change no result or are options elsewhere."""
    from dataclasses import asdict

    path = tmp_path / "mine.toml"
    path.write_text(
        """name = "mine"
        [[features]]
        space = "a"
        extractor = "low_level"
        [[features]]
        space = "b"
        extractor = "motion_energy"
        [bold]
        axes = "world"
        interpolation = "nearest"
        standardise = false
        mask = "none"
        [design]
        standardise = "volumes"
        hrf = "glover"
        pca = 20
        [encoding]
        estimator = "banded_ridge"
        alphas = [0.5]
        alpha_unit = "absolute"
        n_candidates = 7
        intercept = "all"
        cross_validation = "split"
        test_runs = ["task-test"]
        shared_films = "refuse"
        permutations = 10
        permutation_scheme = "block"
        block_s = 50
        fdr = 0.1
        ceiling = "ncsnr"
        ceiling_floor = 0.2
        variance_partitioning = true
        layers = true
        """
    )
    recipe = resolve_recipe(settings(recipe=str(path)))
    given = asdict(recipe.encoding_settings(seed=3))
    default = asdict(EncodingSettings())
    assert {name for name in given if given[name] == default[name]} == {
        "voxel_tile", "include_rest", "l1_ratio", "minimum_shift_s",
    }  # fmt: skip
    assert given["cross_validation"]["shared_films"] == "refuse"
    assert recipe.delays_s(2.0) == (0.0,)
    bold = recipe.bold_preparation
    assert (bold.axes, bold.interpolation, bold.standardise, bold.mask) == ("world", "nearest", False, "none")
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe_toml(recipe))
    assert load_recipe(str(copy)) == recipe


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"l1_ratio": 0.3}, "l1_ratio belongs to estimator = elastic_net"),
        ({"cross_validation": "split"}, "needs test_runs"),
        ({"test_runs": ["task-a"]}, "test_runs belongs to cross_validation = split"),
        ({"folds": 3}, "folds belongs to cross_validation = k-fold or leave-one-stimulus-out"),
        ({"features": ["low_level"], "layers": True}, "only lowlevel"),
        ({"features": ["low_level"], "variance_partitioning": True}, "only lowlevel"),
        ({"features": ["low_level"], "estimator": "banded_ridge"}, "only lowlevel"),
        ({"estimator": "lstm", "variance_partitioning": True}, "an lstm is not"),
        ({"estimator": "lstm", "layers": True}, "an lstm is not"),
        ({"estimator": "ols", "alphas": [1.0]}, "ols has no penalty"),
        ({"hrf": "spm", "delays": [2.0, 4.0]}, "two models of one thing"),
        ({"layers": True, "permutations": 0}, "give permutations"),
    ],
)
def test_choices_that_make_no_sense_together_are_refused(given, sentence):
    with pytest.raises(SettingError, match=sentence):
        resolve_recipe(settings(**given))


def test_what_belongs_to_a_choice_goes_with_it(tmp_path):
    """Another estimator, scheme or response takes over nothing that the recipe said for its own."""
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'mine'\n[[features]]\nspace='a'\nextractor='low_level'\n"
        "[design]\ndelays_s = [3.0]\n"
        "[encoding]\nestimator='elastic_net'\nl1_ratio=0.2\nalphas=[0.1]\nalpha_unit='absolute'\n"
        "cross_validation='split'\ntest_runs=['task-a']\npermutation_scheme='block'\nblock_s=60.0\n"
    )
    changed = resolve_recipe(
        settings(
            recipe=str(path),
            estimator="ridge",
            cross_validation="leave-one-run-out",
            permutation_scheme="circular-shift",
            hrf="spm",
        )
    )
    fitted = changed.encoding_settings(0)
    assert fitted == EncodingSettings(hrf="spm")
    assert changed.design.delays_s == "auto"
    same = resolve_recipe(settings(recipe=str(path), estimator="elastic_net"))
    assert same.encoding_settings(0).l1_ratio == 0.2
    assert resolve_recipe(settings(recipe=str(path), l1_ratio=0.4)).encoding_settings(0).l1_ratio == 0.4


def test_what_a_recipe_switched_on_can_be_switched_off(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'mine'\n[[features]]\nspace='a'\nextractor='low_level'\n[[features]]\nspace='b'\n"
        "extractor='motion_energy'\n[encoding]\nlayers = true\nvariance_partitioning = true\n"
    )
    on = resolve_recipe(settings(recipe=str(path)))
    off = resolve_recipe(settings(recipe=str(path), layers=False, variance_partitioning=False))
    assert (on.encoding.layers, on.encoding.variance_partitioning) == (True, True)
    assert (off.encoding.layers, off.encoding.variance_partitioning) == (False, False)


@pytest.mark.parametrize(
    ("word", "meaning"), [("true", "features"), ("false", "none"), ("'volumes'", "volumes")]
)
def test_standardise_is_a_word_or_as_it_was(word, meaning, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        f"name = 'x'\n[[features]]\nspace='a'\nextractor='low_level'\n[design]\nstandardise = {word}\n"
    )
    assert load_recipe(str(path)).encoding_settings(0).standardise == meaning


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"recipe": "nonsense"}, "expected one of .*motion-energy"),
        ({"recipe": "absent.toml"}, "no file"),
        ({"features": ["nonsense"]}, "expected a feature extractor out of"),
        ({"mask": "absent.nii.gz"}, "--mask"),
    ],
)
def test_unknown_names_are_refused_and_the_known_ones_named(given, sentence):
    with pytest.raises(SettingError, match=sentence):
        resolve_recipe(settings(**given))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = 'x'", "features"),
        ("name = 'x'\n[[features]]\nspace='a'\nextractor='low_level'\n[bold]\nmaks='gm'", "bold.maks"),
        ("name = 'x'\n[[features]]\nspace='a b'\nextractor='low_level'", "features.0.space"),
        ("name =", "TOML"),
    ],
)
def test_a_faulty_recipe_names_its_fault(text, sentence, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingError, match=sentence):
        load_recipe(str(path))


def test_a_recorded_run_is_replayed_and_the_command_line_wins(tmp_path):
    first = settings(
        derivatives=["fmriprep=/data/x"],
        participant_label=["01"],
        delays=[2.0, 4.0],
        random_seed=7,
        mem_mb=900,
    )
    record = tmp_path / "cinebold.toml"
    record.write_text(settings_toml(first))
    replayed = settings(config_file=str(record))
    assert replayed.model_copy(update={"config_file": None}) == first
    assert settings(config_file=str(record), random_seed=8).random_seed == 8


def test_the_resolution_of_the_input_is_part_of_the_space():
    assert settings(output_spaces="MNI152NLin6Asym:res-2").input_resolution == "2"
    assert settings(output_spaces="MNI152NLin6Asym:res-2").space == "MNI152NLin6Asym"
    with pytest.raises(SettingError, match="res-LABEL"):
        _ = settings(output_spaces="MNI152NLin6Asym:2mm").input_resolution
