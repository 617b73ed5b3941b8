"""Folded normalisation against the network as the library builds it, with statistics as training leaves them."""

import copy

import pytest
import torch

from cinebold.features.folding import fold_normalisation
from cinebold.features.torchvision_guard import prepare_torchvision


@pytest.mark.parametrize(
    ("name", "shapes", "n_left"),
    [
        ("slow_r50", [(1, 3, 4, 64, 64)], 0),
        ("slowfast_r50", [(1, 3, 2, 64, 64), (1, 3, 8, 64, 64)], 0),
        ("x3d_xs", [(1, 3, 4, 64, 64)], 1),  # its stem is two convolutions in one module
    ],
)
def test_nothing_changes_but_the_last_digits(name, shapes, n_left):
    prepare_torchvision()
    from pytorchvideo.models import hub

    generator = torch.Generator().manual_seed(0)
    network = getattr(hub, name)(pretrained=False).eval()
    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm3d)]
    for norm in norms:
        for values, low in (
            (norm.running_mean, -0.5),
            (norm.running_var, 0.5),
            (norm.weight, 0.5),
            (norm.bias, -0.5),
        ):
            values.data.uniform_(low, low + 1, generator=generator)
    folded = copy.deepcopy(network)
    assert fold_normalisation(folded) == len(norms) - n_left
    assert sum(isinstance(part, torch.nn.BatchNorm3d) for part in folded.modules()) == n_left
    clips = [torch.randn(shape, generator=generator) for shape in shapes]
    # The library writes into the list of pathways that it is given.
    expected, found = (list(clips), list(clips)) if len(clips) > 1 else (clips[0], clips[0])
    with torch.inference_mode():
        # Without the head, whose pooling wants the official size.
        for block, other in zip(network.blocks[:5], folded.blocks[:5], strict=True):
            expected, found = block(expected), other(found)
    pairs = zip(expected, found, strict=True) if len(clips) > 1 else [(expected, found)]
    for theirs, ours in pairs:
        assert float((ours - theirs).abs().max() / theirs.std()) < 1e-4
