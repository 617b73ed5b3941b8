"""The methods text on features says which network it was and what was read from it, for every extractor."""

import pytest

from bids_app.report.methods import methods_markdown
from cinebold.features.registry import create_extractor, extractor_names


@pytest.mark.parametrize("extractor", extractor_names())
def test_every_extractor_has_a_sentence_of_its_own(extractor):
    spaces = [{"name": "mine", "extractor": extractor, "random_weights": False}]
    text = methods_markdown({"spaces": spaces})
    assert "“mine”" in text and "with the extractor" not in text
    assert "None" not in text and "  " not in text.replace("\n\n", "")


def _told(extractor, parameters, *, random_weights=False, **versions):
    """The sentences on one space whose features a real extractor would have made."""
    made = create_extractor(extractor, parameters, random_weights=True).fingerprint()
    space = {"name": "s", "extractor": extractor, "parameters": parameters, "provenance": made}
    text = methods_markdown({"spaces": [space | {"random_weights": random_weights}], "versions": versions})
    return text.split("**Features.** ")[1].split("\n")[0].replace("\\", "")


@pytest.mark.parametrize(
    ("extractor", "parameters", "said"),
    [
        ("alexnet", {}, "frame by frame: layer conv1, on a logarithmic scale, projected at random from 193,600 to "
         "4,096 numbers (Kane & Nelson, 2014)."),
        ("alexnet", {"layer": "conv3", "spatial": "mean", "log": False}, ": layer conv3, averaged over places."),
        ("alexnet", {"layer": "fc8", "scores": "softmax"}, ": scores of classes after a softmax."),
        ("resnet50", {"precision": "bfloat16"}, "with the weights IMAGENET1K_V2, trained on ImageNet (Deng et al., "
         "2009), as implemented in torchvision 0.28.0 (torchvision), frame by frame: layer avgpool, computed in "
         "bfloat16."),
        ("mvit_v2_s", {"layer": "blocks.3", "spatial": "mean"}, "over windows of 2.13 s: layer blocks.3, averaged "
         "over tokens."),
        ("s3d", {"whole_clip": True}, "over whole clips: scores of classes before the softmax."),
        ("slowfast_r50", {"windows": "neurohackademy2021", "layer": "avgpool"}, "as in the project of 2021: layer "
         "avgpool."),
    ],
)  # fmt: skip
def test_what_was_read_from_a_network_is_told(extractor, parameters, said):
    assert said in _told(extractor, parameters, torchvision="0.28.0")


@pytest.mark.parametrize(
    ("extractor", "parameters", "said"),
    [
        ("vjepa2", {"layer": 0.5}, "encoder of V-JEPA 2 (Assran et al., 2025), with the checkpoint "
         "“vjepa2-vitl-fpc64-256”, as implemented in transformers 5.23.0 (Wolf et al., 2020), over windows of 4 s: "
         "hidden state 12 (0 goes into the first block), averaged over tokens."),
        ("dinov2", {"layer": -1, "tokens": "patches", "spatial": "full"}, "hidden state 12 (0 goes into the first "
         "block), at all tokens of the patches, projected at random from 196,608 to 4,096"),
        ("clip", {"layer": 2}, "hidden state 2 (0 goes into the first block), averaged over tokens of the patches."),
        ("dinov2", {}, "the encoder's last output, its class token."),
        ("clip", {}, "the embedding that is compared with texts."),
        ("checkpoint", {"scores": "sigmoid"}, "“vit-base-patch16-224”, as implemented in transformers 5.23.0 (Wolf et "
         "al., 2020), frame by frame: scores of classes after a sigmoid each."),
    ],
)  # fmt: skip
def test_checkpoints_are_named(extractor, parameters, said):
    pytest.importorskip("transformers")
    assert said in _told(extractor, parameters, transformers="5.23.0")


def test_random_weights_are_of_no_checkpoint_and_of_no_training():
    assert "trained on" not in _told("resnet50", {}, random_weights=True)
    pytest.importorskip("transformers")
    assert "configured as the checkpoint" in _told("videomae", {}, random_weights=True)


def test_a_basis_is_told_once():
    made = {"parameters": {"layer": "layer3"}, "basis": {"sha256": "0", "n_components": 1200}}
    text = methods_markdown({"spaces": [{"name": "s", "extractor": "resnet50", "provenance": made}]})
    assert ": layer layer3, at all places. They were reduced to" in text and text.count("1200") == 1
    assert "(Ross et al., 2008)" in text
