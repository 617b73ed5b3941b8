"""Scores of classes and how networks are evaluated, where extractors of several families have it in common."""

import numpy as np
import pytest

from cinebold.errors import SettingError
from cinebold.features.network_options import class_scores
from cinebold.features.registry import create_extractor, validate_parameters
from cinebold.files import content_sha256


def test_scores_are_those_of_torch_and_do_not_overflow():
    import torch

    logits = np.random.default_rng(0).normal(scale=[[1], [30], [300]], size=(3, 7)).astype(np.float32)
    assert class_scores(logits, "logits") is logits
    for scores, expected in {
        "softmax": torch.tensor(logits).softmax(dim=1),
        "sigmoid": torch.tensor(logits).sigmoid(),
    }.items():
        found = class_scores(logits, scores)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "classes", "other"), [("alexnet", "fc8", "fc7"), ("s3d", "logits", "bmd")])
def test_scores_are_for_layers_of_classes(name, classes, other):
    for scores in ("softmax", "sigmoid"):
        validate_parameters(name, {"layer": classes, "scores": scores, "precision": "bfloat16"})
        with pytest.raises(SettingError, match=f"{name}: scores are those of classes, which layer '{other}'"):
            validate_parameters(name, {"layer": other, "scores": scores})


def test_scores_of_frames_are_averaged_over_bins(moving_film):
    """Shares of each frame add up to 1, and so do their means; they are not the shares of the mean logits."""
    from cinebold.features.extraction import extract_features

    asked = {"layer": "fc8", "hop_s": 0.8, "rate_hz": 5}
    extractors = {
        scores: create_extractor("alexnet", {**asked, "scores": scores}, random_weights=True)
        for scores in ("logits", "softmax", "sigmoid")
    }
    extractors["frames"] = create_extractor("alexnet", {**asked, "hop_s": 0.2}, random_weights=True)
    series = {key: one.values for key, one in extract_features(moving_film, extractors).items()}
    for scores in ("softmax", "sigmoid"):
        # Twelve ticks of 0.2 s in three bins.
        expected = class_scores(series["frames"], scores).reshape(3, 4, 1000).mean(axis=1)
        np.testing.assert_allclose(series[scores], expected, rtol=1e-4)
    np.testing.assert_allclose(series["softmax"].sum(axis=1), 1, rtol=1e-5)


def test_features_that_were_stored_before_stay_valid():
    """Keys from the version before networks had these options."""
    keys = (
        ("alexnet", {}, "39d17ae86697a301f0e42ffbd027d8ea4be20c2834a754af896d34cfa8f16c73"),
        ("alexnet", {"layer": "fc8", "hop_s": 1.0}, "c1b7f831a0faf264ff575c08b1fa5288cd71b52cc31acaa5c0e3fdda1e9b1ba8"),
        ("s3d", {"hop_s": 1.0}, "f1d755b90af3c82b9aa0bc1aad1bd9a81be572be0ef3e366e10af3b483b88f80"),
    )  # fmt: skip
    for name, given, key in keys:
        extractor = create_extractor(name, given, random_weights=True, seed=3)
        assert content_sha256(extractor.fingerprint()) == key
        other = create_extractor(name, {**given, "precision": "bfloat16"}, random_weights=True, seed=3)
        assert content_sha256(other.fingerprint()) != key
