"""The graph that extracts the features of films."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline import engine as pe

from cinebold.plotting.figure_set import drawn_figures
from workflows.interfaces.features import ExtractFeatures
from workflows.interfaces.film_figures import DrawFilmFigures
from workflows.resources import bounded, extraction_gb
from workflows.specifications import FeatureExtraction, Hardware, to_json


def film_field(film_name: str) -> str:
    """The name of a film's node and of the field that carries its features: its own name, made safe and unique.

    >>> film_field("clips/a b.mp4")
    'film_a_b_22c613a1'
    """
    readable = re.sub(r"\W+", "_", Path(film_name).stem)[:40].strip("_")
    return f"film_{readable}_{hashlib.sha256(film_name.encode()).hexdigest()[:8]}"


def drawing_node(film_name: str) -> str:
    """The name of the node that draws a film's figures. It is no part of the film's success or failure."""
    return f"draw_{film_field(film_name)}"


def init_stimuli_wf(
    extractions: Sequence[FeatureExtraction],
    hardware: Hardware,
    *,
    progress: bool = False,
    recipe: str = "",
    figures: Mapping[str, str] | None = None,
    name: str = "stimuli_wf",
) -> pe.Workflow:
    """Extract features film by film; each film is decoded once for all its feature spaces.

    `figures` says of which films the report shows pictures: film name -> what the figures' paths start with.

    Outputs (`outputnode`): one field a film, named by `film_field`, with the list of its stored series.
    """
    workflow = pe.Workflow(name=name)
    fields = [film_field(extraction.film_name) for extraction in extractions]
    outputnode = pe.Node(IdentityInterface(fields=fields), name="outputnode")
    on_gpu = hardware.device.startswith("cuda")
    # Films beside each other use the processors better than threads inside one film; a GPU takes one after the other,
    # and the threads decode for it.
    share = hardware.n_procs if on_gpu else max(1, hardware.n_procs // max(1, len(extractions)))
    threads = min(hardware.omp_nthreads, share)
    for field, extraction in zip(fields, extractions, strict=True):
        extract = pe.Node(
            ExtractFeatures(
                film=extraction.film,
                extraction_json=to_json(extraction),
                device=hardware.device,
                use_gpu=on_gpu,
                num_threads=threads,
                progress=progress,
            ),
            name=field,
            n_procs=threads,
            mem_gb=bounded(extraction_gb(extraction.spaces, threads, extraction.weights_dir), hardware),
            # A stored series that somebody deleted is made again, whatever the work directory remembers.
            overwrite=None if all(Path(path).is_file() for path in extraction.outputs) else True,
        )
        workflow.connect(extract, "features", outputnode, field)
        if prefix := (figures or {}).get(extraction.film_name):
            draw = pe.Node(
                DrawFilmFigures(
                    film=extraction.film,
                    film_name=extraction.film_name,
                    spaces=[space.name for space in extraction.spaces],
                    recipe=recipe,
                    out_prefix=prefix,
                ),
                name=drawing_node(extraction.film_name),
                mem_gb=bounded(1.0, hardware),
                overwrite=None if drawn_figures(prefix)[0] else True,
            )
            workflow.connect(extract, "features", draw, "features")
    return workflow
