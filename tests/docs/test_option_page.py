"""The documentation says what the program does: pages that are made from it are up to date."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_options", DOCS / "generate_options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_option_page_is_up_to_date(generator):
    written = (DOCS / "options.md").read_text(encoding="utf-8")
    assert written == generator.options_page(), "run: python docs/generate_options.py"


def test_the_option_page_has_every_option(generator):
    from bids_app.options import OPTIONS

    page = generator.options_page()
    for option in OPTIONS:
        assert f"`--{option.field.replace('_', '-')}`" in page
    assert page.count("\n| ") == len(OPTIONS) + len({option.group for option in OPTIONS})


def test_options_that_are_not_recorded_are_those_of_the_settings(generator):
    from bids_app.config import _NOT_RECORDED

    assert generator._NOT_RECORDED == _NOT_RECORDED


def test_the_usage_page_has_every_exit_code():
    from bids_app import exit_codes

    table = (DOCS / "usage.md").read_text(encoding="utf-8")
    for name, code in vars(exit_codes).items():
        if name.isupper():
            assert f"| {code} |" in table, f"exit code {code} ({name}) is not in docs/usage.md"


def test_the_dependency_page_has_every_dependency():
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    optional = [line for lines in project["optional-dependencies"].values() for line in lines]
    for requirement in [*project["dependencies"], *optional]:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement).group()
        assert f"| {name} |" in page, f"{name} is not in docs/dependencies.md"


def test_the_output_page_has_every_statistic():
    from bids_app.outputs import GROUP_STATISTICS, STATISTICS

    page = (DOCS / "outputs.md").read_text(encoding="utf-8")
    for name in (*STATISTICS, *GROUP_STATISTICS):
        assert f"stat-{name}" in page, f"stat-{name} is not in docs/outputs.md"


def test_the_recipe_page_has_every_recipe_and_key():
    from bids_app.recipe import BoldTable, DesignTable, EncodingTable, FeatureTable, GroupTable, recipe_names

    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    for name in recipe_names():
        assert f"`{name}`" in page
    for table in (FeatureTable, BoldTable, DesignTable, EncodingTable, GroupTable):
        for key in table.model_fields:
            assert f"`{key}`" in page, f"{key} is not in docs/recipes.md"


def test_the_feature_page_has_every_extractor_and_parameter():
    from dataclasses import fields

    from cinebold.features.alexnet import AlexNetParameters
    from cinebold.features.low_level import LowLevelParameters
    from cinebold.features.motion_energy import MotionEnergyParameters
    from cinebold.features.registry import extractor_names
    from cinebold.features.s3d import S3DParameters
    from cinebold.features.slowfast import SlowFastParameters

    page = (DOCS / "features.md").read_text(encoding="utf-8")
    for name in extractor_names():
        assert f"`{name}`" in page
    networks = (SlowFastParameters, AlexNetParameters, S3DParameters)
    for kind in (LowLevelParameters, MotionEnergyParameters, *networks):
        for field in fields(kind):
            assert f"`{field.name}`" in page, f"{field.name} is not in docs/features.md"


def test_links_between_pages_lead_somewhere():
    for page in [DOCS.parent / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
