"""The name of an analysis in its output folder."""

import pytest

from bids_app.outputs import claim_model_label, release_model_label
from bids_app.recipe import load_recipe
from cinebold.errors import SettingError


@pytest.fixture
def recipes():
    """Two analyses of one name."""
    one = load_recipe("motion-energy")
    return one, one.model_copy(update={"encoding": one.encoding.model_copy(update={"permutations": 7})})


def test_a_name_is_claimed_once_and_kept_from_other_settings(tmp_path, recipes):
    one, other = recipes
    assert claim_model_label(tmp_path, one)
    assert not claim_model_label(tmp_path, one)
    with pytest.raises(SettingError, match=r"permutations.*--model-label"):
        claim_model_label(tmp_path, other)


@pytest.mark.parametrize("folder", ["sub-01/func", "tpl-MNI152NLin2009cAsym", "sub-02/ses-1/figures"])
def test_a_name_is_free_again_where_nothing_came_out(tmp_path, recipes, folder):
    one, other = recipes
    claim_model_label(tmp_path, one)
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "sub-01_task-movie_model-another_stat-r_statmap.nii.gz").touch()
    release_model_label(tmp_path, one)
    assert claim_model_label(tmp_path, other)
    (tmp_path / folder / f"sub-01_task-movie_model-{one.label}_stat-r_statmap.nii.gz").touch()
    release_model_label(tmp_path, other)
    assert not claim_model_label(tmp_path, other)
