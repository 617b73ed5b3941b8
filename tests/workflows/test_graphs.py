"""Graphs are built from specifications alone, and say what they need of the machine."""

from dataclasses import replace
from pathlib import Path

import pytest
from nipype.interfaces.base import isdefined

from cinebold.encoding.settings import EncodingSettings
from workflows.base import (
    graphs_of_film,
    graphs_of_film_figures,
    graphs_of_participant,
    init_cinebold_wf,
)
from workflows.execution import Execution
from workflows.resources import bounded, fit_gb, preparation_gb
from workflows.specifications import (
    BoldPreparation,
    FeatureExtraction,
    FeatureSpace,
    Hardware,
    ParticipantAnalysis,
    Presentation,
    Run,
)
from workflows.stimuli import film_field

HARDWARE = Hardware(n_procs=2, omp_nthreads=2, memory_mb=4096)
SPACES = (FeatureSpace("a", "low_level"), FeatureSpace("b", "motion_energy"))


@pytest.fixture
def analyses(tmp_path):
    """Two participants; both saw shared.mp4, each saw films of its own. The files exist and are empty."""

    def touch(name):
        path = tmp_path / name
        path.touch()
        return str(path)

    def run(who, k):
        films = (f"sub{who}run{k}.mp4", "shared.mp4")
        return Run(
            label=f"task-film_run-{k}",
            entities={"task": "film", "run": str(k)},
            bold=touch(f"bold{who}{k}.nii"),
            brain_mask=touch(f"mask{who}{k}.nii"),
            confounds=touch(f"confounds{who}{k}.tsv"),
            gm_probseg=touch(f"gm{who}.nii"),
            tr_s=2.0,
            n_volumes=100,
            shape=(20, 24, 20),
            presentations=tuple(Presentation(touch(f), f, 30.0 * i, 30.0) for i, f in enumerate(films)),
        )

    return [
        ParticipantAnalysis(
            participant=who,
            space="MNI",
            resolution_label="3mm",
            recipe="test",
            runs=(run(who, 1), run(who, 2)),
            spaces=SPACES,
            bold=BoldPreparation(),
            encoding=EncodingSettings(),
            delays_s=(2.0, 4.0),
            output_dir=str(tmp_path / "out"),
            prefix=f"sub-{who}/func/sub-{who}",
            model_prefix=f"models/sub-{who}",
            figures_prefix=f"sub-{who}/figures/sub-{who}",
        )
        for who in ("01", "02")
    ]


def extractions_of(analyses, tmp_path):
    films = {p.film_name: p.film for a in analyses for run in a.runs for p in run.presentations}
    return [
        FeatureExtraction(path, name, SPACES, tuple(str(tmp_path / f"{name}_{s.name}.h5") for s in SPACES))
        for name, path in films.items()
    ]


def test_each_film_is_extracted_once_for_all_who_saw_it(analyses, tmp_path):
    workflow = init_cinebold_wf(
        tmp_path, HARDWARE, recipe="test", extractions=extractions_of(analyses, tmp_path), analyses=analyses
    )
    names = workflow.list_node_names()
    extracting = [name for name in names if ".film_" in name]
    assert len(extracting) == 5  # four films of their own and the shared one
    graph = workflow._create_flat_graph()
    shared = next(node for node in graph if node.name == film_field("shared.mp4"))
    assert shared.n_procs == 1  # five films on two processors: beside each other
    assert {"sub_01_wf.fit", "sub_02_wf.fit"} <= set(names)


def test_a_film_alone_takes_all_threads(analyses, tmp_path):
    alone = extractions_of(analyses, tmp_path)[:1]
    workflow = init_cinebold_wf(tmp_path, HARDWARE, recipe="test", extractions=alone)
    assert workflow.get_node(f"stimuli_wf.{film_field(alone[0].film_name)}").n_procs == HARDWARE.n_procs


def test_a_film_is_a_gpu_node_only_on_a_gpu(analyses, tmp_path):
    for device, expected in (("cpu", False), ("cuda:0", True)):
        workflow = init_cinebold_wf(
            tmp_path,
            replace(HARDWARE, device=device),
            recipe="test",
            extractions=extractions_of(analyses, tmp_path),
        )
        node = workflow.get_node(f"stimuli_wf.{film_field('shared.mp4')}")
        assert bool(node.is_gpu_node()) is expected
        assert node.n_procs == (
            HARDWARE.n_procs if expected else 1
        )  # they decode for the one film on the GPU


@pytest.mark.parametrize(
    ("estimator", "device", "expected"),
    [("lstm", "cuda:1", True), ("lstm", "cpu", False), ("ridge", "cuda:1", True), ("ols", "cuda:1", True)],
)
def test_a_fit_takes_a_gpu_slot_only_where_it_uses_one(analyses, tmp_path, estimator, device, expected):
    analysis = replace(analyses[0], encoding=EncodingSettings(estimator=estimator))
    workflow = init_cinebold_wf(
        tmp_path,
        replace(HARDWARE, device=device),
        recipe="test",
        extractions=extractions_of([analysis], tmp_path),
        analyses=[analysis],
    )
    fit = workflow.get_node("sub_01_wf.fit")
    assert bool(fit.is_gpu_node()) is expected
    assert fit.inputs.device == device


def test_the_whole_grid_needs_no_mask_file(analyses, tmp_path):
    analysis = replace(analyses[0], bold=BoldPreparation(mask="none"))
    workflow = init_cinebold_wf(
        tmp_path,
        HARDWARE,
        recipe="test",
        extractions=extractions_of([analysis], tmp_path),
        analyses=[analysis],
    )
    assert not isdefined(workflow.get_node("sub_01_wf.targets").inputs.mask_file)


def test_a_film_that_fails_is_the_failure_of_those_who_saw_it(analyses):
    own = graphs_of_film("sub01run1.mp4", analyses)[0]
    assert own in graphs_of_participant(analyses[0], analyses)
    assert own not in graphs_of_participant(analyses[1], analyses)
    assert graphs_of_film("shared.mp4", analyses)[0] in graphs_of_participant(analyses[1], analyses)


def test_jobs_for_other_participants_extract_in_folders_of_their_own(analyses):
    """An array of jobs, one a participant, may share a work directory."""
    jobs = [graphs_of_film("shared.mp4", [analysis])[0] for analysis in analyses]
    assert len(set(jobs)) == len(jobs)


def test_films_with_like_names_have_nodes_of_their_own():
    names = ["a b.mp4", "a_b.mp4", "x/a_b.mp4", "a_b.mkv", "фильм.mp4", "-.mp4"]
    fields = [film_field(name) for name in names]
    assert len(set(fields)) == len(names)
    assert all(field.isidentifier() for field in fields)


def test_memory_grows_with_the_run_and_is_bounded_by_the_machine(analyses):
    run = analyses[0].runs[0]
    longer = replace(run, n_volumes=10 * run.n_volumes, shape=(97, 115, 97))
    assert preparation_gb(longer, BoldPreparation()) > preparation_gb(run, BoldPreparation())
    small, large = (fit_gb(runs, BoldPreparation(), 4096, 2) for runs in ((run,) * 2, (longer,) * 4))
    assert large > small
    assert fit_gb((longer,) * 4, BoldPreparation(mask="brain"), 4096, 2) > large
    assert bounded(1000.0, HARDWARE) < HARDWARE.memory_mb / 1024


def test_a_work_directory_is_kept_apart_by_recipe(analyses, tmp_path):
    one, other = (init_cinebold_wf(tmp_path, HARDWARE, recipe=recipe) for recipe in ("one", "other"))
    assert Path(one.base_dir) == tmp_path
    assert one.name != other.name


def test_films_are_drawn_where_asked_and_their_drawing_is_not_their_success(analyses, tmp_path):
    extractions = extractions_of(analyses, tmp_path)
    prefix = str(tmp_path / "out/stimuli/figures/shared.mp4_model-test")
    workflow = init_cinebold_wf(
        tmp_path, HARDWARE, recipe="test", extractions=extractions, analyses=analyses,
        film_figures={"shared.mp4": prefix},
    )  # fmt: skip
    drawing = [name for name in workflow.list_node_names() if ".draw_film_" in name]
    assert drawing == graphs_of_film_figures("shared.mp4", analyses)
    inputs = workflow.get_node(drawing[0]).inputs
    assert (inputs.out_prefix, inputs.spaces, inputs.recipe) == (prefix, ["a", "b"], "test")
    owners = [*graphs_of_film("shared.mp4", analyses), *graphs_of_participant(analyses[0], analyses)]
    failed = Execution(failed={drawing[0]: "no memory"})
    assert failed.failure_of(owners) is None
    assert "no memory" in failed.failure_of(graphs_of_film_figures("shared.mp4", analyses))
