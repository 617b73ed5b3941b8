"""Specifications survive JSON, and nothing of a wrong type slips in."""

import pytest
from pydantic import ValidationError

from cinebold.encoding.settings import EncodingSettings
from workflows.specifications import (
    BoldPreparation,
    FeatureExtraction,
    FeatureSpace,
    GroupAnalysis,
    GroupMember,
    Presentation,
    Run,
    from_json,
    to_json,
)

RUN = Run(
    label="task-film_run-1",
    entities={"task": "film"},
    bold="bold.nii.gz",
    brain_mask="mask.nii.gz",
    confounds="confounds.tsv",
    tr_s=1.5,
    n_volumes=10,
    shape=(2, 3, 4),
    presentations=(Presentation("film.mp4", "film.mp4", 4.0), Presentation("b.mp4", "b.mp4", 9.0, 3.0, 1.5)),
)


@pytest.mark.parametrize(
    "specification",
    [
        RUN,
        BoldPreparation(mask="brain", resolution_mm=2.5),
        EncodingSettings(alphas=(0.1, 1.0), pca=None),
        FeatureExtraction(
            "f", "f", (FeatureSpace("a", "low_level", {"hop_s": 0.5, "list": [1, "x"]}),), ("o",)
        ),
        GroupAnalysis((GroupMember("01", "r", "c", {"a": "w"}),), ("02",), "recipe", "MNI", "3mm"),
    ],
    ids=lambda specification: type(specification).__name__,
)
def test_specifications_survive_json(specification):
    assert from_json(type(specification), to_json(specification)) == specification


def test_a_wrong_type_is_refused():
    text = to_json(BoldPreparation()).replace('"mask": "gm"', '"mask": 3')
    with pytest.raises(ValidationError):
        from_json(BoldPreparation, text)
