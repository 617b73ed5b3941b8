"""Settings and recipes: what is refused, what overrides what, and that a run can be replayed."""

import pytest

from bids_app.config import load_settings, settings_toml
from bids_app.recipe import load_recipe, recipe_names, recipe_toml, resolve_recipe
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
