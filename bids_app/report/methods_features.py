"""Sentences of the methods text on the features of the films: which network or filter, and what was read from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bids_app.report.summaries import is_number, mapping_of, mappings_of, version_of
from cinebold.features.registry import extractor_class


def features_sentences(summary: Mapping[str, Any]) -> list[str]:
    """What was computed from the films."""
    sentences = []
    for space in mappings_of(summary, "spaces"):
        name, extractor = space.get("name", "?"), str(space.get("extractor", "?"))
        if extractor in _NETWORKS:
            text = _network(_NETWORKS[extractor], extractor, space, summary)
        elif extractor in _OTHERS:
            text = _OTHERS[extractor](summary)
        else:
            text = f"were computed with the extractor {extractor}."
        sentences.append(f"The features of the space “{name}” {text}")
        basis = mapping_of(mapping_of(space, "provenance"), "basis")
        if basis:
            sentences.append(
                f"They were reduced to their scores on {basis.get('n_components')} principal components, learned "
                "incrementally [@ross2008] from films that the model was not tested on."
            )
        if space.get("random_weights"):
            sentences.append(
                "The network had RANDOM weights: these features say nothing about a trained network."
            )
    return sentences


_KINETICS, _IMAGENET = "Kinetics-400 [@kay2017]", "ImageNet [@deng2009]"
#: The name of a library as the versions have it -> as the text has it, and its reference.
_LIBRARIES = {
    "pytorchvideo": ("PyTorchVideo", "fan2021"),
    "torchvision": ("torchvision", "torchvision"),
    "transformers": ("transformers", "wolf2020"),
}


@dataclass(frozen=True)
class _Network:
    """What the text says of the network of an extractor."""

    name: str  #: with its article and its reference
    library: str
    trained_on: str = ""  #: empty where the checkpoint, which the text names, decides
    places: str = "places and times"  #: what `spatial = "mean"` averages over


_NETWORKS = {
    "slowfast_r50": _Network("a SlowFast R50 network [@feichtenhofer2019]", "pytorchvideo", _KINETICS),
    "slowfast_r101": _Network("a SlowFast R101 network [@feichtenhofer2019]", "pytorchvideo", _KINETICS),
    "slow_r50": _Network("a Slow R50 network [@feichtenhofer2019]", "pytorchvideo", _KINETICS),
    **{
        f"x3d_{size.lower()}": _Network(
            f"an X3D-{size} network [@feichtenhofer2020]", "pytorchvideo", _KINETICS
        )
        for size in ("XS", "S", "M", "L")
    },
    "alexnet": _Network("AlexNet [@krizhevsky2014]", "torchvision", _IMAGENET, "places"),
    "s3d": _Network("an S3D network [@xie2018]", "torchvision", _KINETICS),
    "resnet50": _Network("ResNet-50 [@he2016]", "torchvision", _IMAGENET, "places"),
    "mvit_v2_s": _Network("an MViTv2-S network [@li2022]", "torchvision", _KINETICS, "tokens"),
    "vjepa2": _Network("the encoder of V-JEPA 2 [@assran2025]", "transformers", places="tokens"),
    "videomae": _Network("the encoder of VideoMAE [@tong2022]", "transformers", places="tokens"),
    "clip": _Network("the vision encoder of CLIP [@radford2021]", "transformers", places="tokens"),
    "dinov2": _Network("DINOv2 [@oquab2024]", "transformers", places="tokens"),
    "checkpoint": _Network("a network for classification", "transformers", places="tokens or places"),
}


def _network(network: _Network, extractor: str, space: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Which network, with which weights, from which library, and what was read from it."""
    provenance = mapping_of(space, "provenance")
    resolved = mapping_of(provenance, "parameters")
    kind = extractor_class(extractor).parameter_kind
    # A provenance leaves out younger parameters that have their defaults; a bare summary has only what was given.
    parameters = (
        {field.name: field.default for field in fields(kind)}
        | dict(mapping_of(space, "parameters"))
        | resolved
    )
    is_random = bool(space.get("random_weights"))
    which = ""
    if resolved.get("checkpoint"):
        which = f", {'configured as the' if is_random else 'with the'} checkpoint “{resolved['checkpoint']}”"
    elif network.trained_on and not is_random:
        # Of torchvision's two sets of weights for ResNet-50 the provenance names the one by its preprocessing.
        named = provenance.get("preprocessing")
        which = f", {f'with the weights {named}, ' if isinstance(named, str) else ''}trained on {network.trained_on}"
    title, reference = _LIBRARIES[network.library]
    version = version_of(summary, network.library)
    library = f"{title}{version and ' ' + version} [@{reference}]"
    read = ", ".join(_reading(network, parameters, provenance))
    return (
        f"are activations of {network.name}{which}, as implemented in {library}"
        f"{_windows(parameters, provenance)}: {read}."
    )


def _windows(parameters: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """What of the film the network saw at once; nothing where the summary does not say."""
    window = mapping_of(provenance, "window")
    if parameters.get("windows") == "neurohackademy2021":
        return ", on windows of 72 frames around each frame as in the project of 2021"
    if window.get("rule") == "bins":
        return ", frame by frame"
    if parameters.get("whole_clip"):
        return ", over whole clips"
    span_s = window.get("span_s")
    return f", over windows of {span_s:.3g} s" if is_number(span_s) else ""


#: Layers whose name does not say what they are.
_LAYERS = {
    "last": "the encoder's last output",
    "embedding": "the embedding that is compared with texts",
    "cls": "the class token",
}
_CLASSES = ("logits", "fc8")
_SCORES = {"softmax": "after a softmax", "sigmoid": "after a sigmoid each"}
#: Layers that have no places.
_FLAT = (*_CLASSES, "fc6", "fc7", "avgpool", "embedding", "cls")


def _reading(network: _Network, parameters: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    """Layer, tokens, pooling or projection, and how numbers were made, where it is not the usual way."""
    layer = str(parameters.get("layer"))
    hidden = layer.removeprefix("hidden.")
    if layer in _CLASSES:
        read = ["scores of classes " + _SCORES.get(str(parameters.get("scores")), "before the softmax")]
    elif hidden != layer:
        read = [f"hidden state {hidden} (0 goes into the first block)"]
    else:
        read = [_LAYERS.get(layer, f"layer {layer}")]
    has_places, places = layer not in _FLAT, network.places
    if has_places and parameters.get("tokens") == "cls":
        read.append("its class token")
        has_places = False
    elif has_places and "tokens" in parameters:
        places = "tokens of the patches"
    if parameters.get("log") is True and layer != "fc8":
        read.append("on a logarithmic scale")
    projection = mapping_of(provenance, "projection")
    if has_places and parameters.get("spatial") == "mean":
        read.append(f"averaged over {places}")
    elif has_places and (not projection or places != network.places):
        read.append(f"at all {places}")
    n_inputs, n_outputs = projection.get("n_inputs"), projection.get("n_outputs")
    if is_number(n_inputs) and is_number(n_outputs):
        read.append(f"projected at random from {n_inputs:,} to {n_outputs:,} numbers [@kane2014]")
    if parameters.get("precision") == "bfloat16":
        read.append("computed in bfloat16")
    return read


def _motion_energy(summary: Mapping[str, Any]) -> str:
    version = version_of(summary, "pymoten")
    return (
        "are motion energy: the responses of a pyramid of spatio-temporal Gabor filters to the luminance of the film "
        f"[@adelson1985; @nishimoto2011], computed with pymoten{version and ' ' + version} [@pymoten]."
    )


def _low_level(summary: Mapping[str, Any]) -> str:
    return "are low-level descriptions of the frames: luminance, contrast, difference to the frame before, and cuts."


def _precomputed(summary: Mapping[str, Any]) -> str:
    return "were made outside of cinebold and read from a file that belongs to each film."


def _presence(summary: Mapping[str, Any]) -> str:
    return "say whether a film was shown: 1 while it was, 0 otherwise."


_OTHERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "motion_energy": _motion_energy,
    "low_level": _low_level,
    "precomputed": _precomputed,
    "presence": _presence,
}
