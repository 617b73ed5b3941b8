"""A basis that knows a film which is tested is refused before anything runs."""

import shutil

import numpy as np
import pytest
from skeletons import Skeleton, build, write_text

from bids_app.cli import main
from bids_app.config import load_settings
from bids_app.plans import make_plan
from bids_app.recipe import load_recipe, recipe_toml, resolve_recipe
from bids_app.report.methods import methods_markdown
from cinebold.features.basis import write_basis
from cinebold.features.registry import create_extractor
from cinebold.files import file_sha256

PARAMETERS = {"layer": "conv3", "n_projected": 0}
INPUTS = 384 * 13 * 13


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two runs of task-movie and one of task-test, a film each."""
    root = tmp_path_factory.mktemp("bases")
    build(root, Skeleton(runs={"movie": ("1", "2"), "test": ("1",)}))
    for number in (1, 2, 3):
        write_text(root / "raw" / "stimuli" / "films" / f"part{number}.mp4", f"film {number}")
    return root


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    monkeypatch.setattr("bids_app.cli._prepare_process", lambda verbosity: None)


@pytest.fixture
def recipe(dataset, tmp_path, monkeypatch):
    """recipe(1, 3, seed=0): one whose basis knows these films."""
    from cinebold.features.nodes import layers_of_any_size

    def write(*parts, seed=0):
        with layers_of_any_size():
            whole = create_extractor("alexnet", PARAMETERS, random_weights=True, seed=seed)
        films = [file_sha256(dataset / "raw" / "stimuli" / "films" / f"part{part}.mp4") for part in parts]
        about = {
            "extractor": whole.fingerprint(),
            "films": sorted([*films, "0" * 64]),
            "n_windows": 9,
            "explained_variance": [2.0, 1.0],
            "explained_variance_ratio": [0.5, 0.25],
        }
        write_basis(tmp_path / "own.safetensors", np.eye(2, INPUTS), np.zeros(INPUTS), about)
        table = f'[[features]]\nspace = "conv3"\nextractor = "alexnet"\nparameters = {PARAMETERS}\n'
        table = (
            table.replace("': ", "' = ").replace("'layer'", "layer").replace("'n_projected'", "n_projected")
        )
        text = f'name = "own"\n{table}basis = "own.safetensors"\n'
        return write_text(tmp_path / "own.toml", text)

    monkeypatch.chdir(tmp_path)
    return write


@pytest.fixture
def dry_run(dataset, tmp_path, capsys):
    def run(*options, level="participant"):
        command = [
            str(dataset / "raw"),
            str(tmp_path / "out"),
            level,
            "--recipe",
            "own.toml",
            "--random-weights",
        ]
        command += ["-w", str(tmp_path / "work"), "--confounds", "csf", "--resolution", "3", "--dry-run"]
        code = main([*command, *options])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


SPLIT = ("--cross-validation", "split", "--test-runs")


@pytest.mark.parametrize(
    ("known", "options", "films"),
    [
        ((1, 3), (), "films/part1.mp4, films/part3.mp4, which leave-one-run-out tests: fit it on films that"),
        ((2,), ("--cross-validation", "k-fold"), "films/part2.mp4, which k-fold tests"),
        ((2,), ("--cross-validation", "leave-one-stimulus-out"), "films/part2.mp4, which leave-one-stimulus-out"),
        ((1, 3), (*SPLIT, "test"), "films/part3.mp4, which the test runs show: fit it on films that no test run"),
        ((2,), (*SPLIT, "run-2"), "films/part2.mp4, which the test runs show"),
        ((), (), None),
        ((1, 2), (*SPLIT, "test"), None),
        ((3,), (*SPLIT, "run-2"), None),
    ],
)  # fmt: skip
def test_no_film_of_a_basis_is_tested_on(recipe, dry_run, known, options, films):
    recipe(*known)
    code, said = dry_run(*options)
    assert "conv3 (alexnet, basis own.safetensors)" in said
    told = "problem: sub-01: the basis own.safetensors of the features conv3 was learned from "
    assert (told in said) == (films is not None)
    assert code == (0 if films is None else 16)
    assert films is None or told + films in said


def test_what_is_planned_knows_the_content_of_the_basis(recipe, dataset, tmp_path):
    written = recipe(seed=0)
    given = {
        "bids_dir": str(dataset / "raw"), "output_dir": str(tmp_path / "out"), "analysis_level": "participant",
        "work_dir": str(tmp_path / "work"), "recipe": str(written), "random_weights": True,
        "nuisance_regressors": "csf", "resolution": 3.0,
    }  # fmt: skip
    settings = load_settings(given)
    resolved = resolve_recipe(settings)
    plan = make_plan(settings, resolved)
    own = tmp_path / "own.safetensors"
    assert all(one.beside == (file_sha256(own),) for one in plan.extractions)
    assert plan.extractions[0].spaces[0].basis == str(own)
    # Sidecars name the file without its folder; without a basis they are as they were.
    (space,) = plan.analyses[0].map_metadata["ModelParameters"]["FeatureSpaces"]
    assert space["basis"] == "own.safetensors"
    assert "basis" not in load_recipe("motion-energy").feature_spaces[0].described()
    replayed = write_text(tmp_path / "replayed.toml", recipe_toml(resolved))
    assert load_recipe(str(replayed)).features == resolved.features
    fingerprint = create_extractor("alexnet", PARAMETERS, random_weights=True, basis=own).fingerprint()
    told = {"name": "conv3", "extractor": "alexnet", "provenance": fingerprint}
    assert "2 principal components, learned incrementally" in methods_markdown({"spaces": [told]})


def test_bases_that_cannot_be_used(recipe, dry_run, tmp_path):
    written = recipe(seed=1)
    code, said = dry_run()
    assert code == 16 and "seed is 1 there and 0 here; fit another" in said
    code, said = dry_run("--random-seed", "1")
    assert code == 0
    own = tmp_path / "own.safetensors"
    shutil.copy(own, tmp_path / "whole")
    own.write_bytes(b"{}")
    code, said = dry_run(level="stimuli")
    assert code == 16 and "own.safetensors: expected a basis of features" in said
    own.unlink()
    code, said = dry_run()
    assert (
        code == 2 and "features of conv3: expected basis to be a file" in said and "'own.safetensors'" in said
    )
    (tmp_path / "whole").rename(own)
    written.write_text(written.read_text().replace("alexnet", "low_level").replace("parameters", "# "))
    code, said = dry_run()
    assert code == 2 and "low_level runs none: leave the basis out" in said
