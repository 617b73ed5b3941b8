"""What is said of networks with random weights, from the plan to the page of the group."""

import json
import logging
import sys

import pytest

from bids_app.cli import _Formatter
from bids_app.random_weights import (
    random_parameters,
    random_spaces,
    random_spaces_of_maps,
    random_warnings,
)
from bids_app.recipe import load_recipe
from bids_app.report.pages import write_group_report


class _Settings:
    random_weights = True


def test_networks_are_told_from_other_extractors(tmp_path):
    recipe = tmp_path / "own.toml"
    spaces = ("slowfast_r50", "low_level", "vjepa2", "precomputed", "presence", "motion_energy")
    tables = "".join(f'[[features]]\nspace = "{s.replace("_", "")}"\nextractor = "{s}"\n' for s in spaces)
    recipe.write_text(f'name = "own"\n{tables}')
    settings = _Settings()
    found = random_spaces(settings, load_recipe(str(recipe)))
    assert found == ("slowfastr50", "vjepa2")
    assert "slowfastr50, vjepa2 come from a network with RANDOM weights" in random_warnings(found)[0]
    settings.random_weights = False
    assert random_spaces(settings, load_recipe(str(recipe))) == ()
    assert random_warnings(()) == () and random_parameters(()) == {}


def test_the_group_knows_from_the_sidecars_of_the_maps(tmp_path):
    sidecars = [{"ModelParameters": random_parameters(["net"])}, {"ModelParameters": {}}, None]
    maps = []
    for number, sidecar in enumerate(sidecars):
        maps.append(str(tmp_path / f"sub-{number}_stat-r_statmap.nii.gz"))
        if sidecar is not None:
            (tmp_path / f"sub-{number}_stat-r_statmap.json").write_text(json.dumps(sidecar))
    assert random_spaces_of_maps(maps) == ("net",)
    assert random_spaces_of_maps(maps[1:]) == ()


@pytest.mark.parametrize("untrained", [["net"], []])
def test_the_page_of_the_group_says_so_in_red(tmp_path, untrained):
    figures = tmp_path / "figures"
    figures.mkdir()
    summary = {"participants": ["01", "02"], "recipe": "r", "space": "S", "random_spaces": untrained}
    (figures / "group_space-S_task-m_model-r_desc-summary_report.json").write_text(json.dumps(summary))
    page = write_group_report(tmp_path).read_text()
    assert ('class="banner random"' in page) == bool(untrained)
    assert ("features of net come from a network with RANDOM weights" in page) == bool(untrained)


def test_the_log_is_red_where_a_person_reads(monkeypatch):
    record = logging.makeLogRecord({"msg": random_warnings(["net"])[0], "levelname": "WARNING"})
    other = logging.makeLogRecord({"msg": "something else"})
    for is_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer, raising=False)
        assert ("\033[1;31m" in _Formatter("%(message)s").format(record)) == is_terminal
        assert "\033" not in _Formatter("%(message)s").format(other)
