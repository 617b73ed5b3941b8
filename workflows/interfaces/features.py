"""The stage that turns a film into feature series."""

import multiprocessing
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, OutputMultiObject, TraitedSpec, traits

from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.specifications import FeatureExtraction, from_json


def extract(extraction_json: str, device: str, n_threads: int, progress: bool) -> list[str]:
    """Make sure that every feature series of the extraction is in its store; the film is decoded at most once."""
    import torch

    from cinebold.features.registry import create_extractor
    from cinebold.features.store import ensure_features

    torch.set_num_threads(n_threads)
    extraction = from_json(FeatureExtraction, extraction_json)
    requests = {
        output: create_extractor(
            space.extractor,
            space.parameters,
            device=device,
            weights_dir=extraction.weights_dir,
            random_weights=extraction.random_weights,
            seed=extraction.seed,
            basis=space.basis,
        )
        for space, output in zip(extraction.spaces, extraction.outputs, strict=True)
    }
    ensure_features(
        extraction.film,
        requests,
        n_threads=n_threads,
        progress=progress,
        sidecar={"Sources": list(extraction.sources)},
        dtypes={
            output: space.store_dtype
            for space, output in zip(extraction.spaces, extraction.outputs, strict=True)
        },
    )
    return list(extraction.outputs)


class _InputSpec(StageInputSpec):
    film = File(exists=True, mandatory=True, desc="the film")
    extraction_json = traits.Str(mandatory=True, desc="a FeatureExtraction")
    device = traits.Str("cpu", usedefault=True, nohash=True)
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="tells the scheduler to take a GPU slot")
    progress = traits.Bool(False, usedefault=True, nohash=True)


class _OutputSpec(TraitedSpec):
    features = OutputMultiObject(File(exists=True), desc="one series a feature space, in the order asked for")


class ExtractFeatures(StageInterface):
    """Decode a film once and store its feature series."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        arguments = (inputs.extraction_json, inputs.device, inputs.num_threads, inputs.progress)
        if inputs.use_gpu:
            # Workers of the pool live as long as the graph: a child that exits gives the card's memory back.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return {"features": pool.apply(extract, arguments)}
        return {"features": extract(*arguments)}
