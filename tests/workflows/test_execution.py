"""Running graphs: failures stay where they belong, kept results stay kept, killed workers do not hang the run."""

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline import engine as pe

from cinebold.errors import SettingError
from workflows.execution import configure_nipype, run_graph
from workflows.specifications import Hardware

HARDWARE = Hardware(n_procs=2, omp_nthreads=1, memory_mb=2000)


def double(value):
    """A step that works."""
    return 2 * value


def refuse(value):
    """A step whose input is bad."""
    from cinebold.errors import InputError

    raise InputError(f"the file {value} is not what it must be")


def die(value):
    """A step that is killed, as for its memory."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def node(name, function, **inputs):
    interface = Function(input_names=["value"], output_names=["value"], function=function)
    made = pe.Node(interface, name=name)
    for key, value in inputs.items():
        made.set_input(key, value)
    return made


@pytest.fixture
def build(tmp_path):
    """A graph of two branches; the second one begins with the given function."""

    def make(function):
        configure_nipype()
        workflow = pe.Workflow(name="outer_wf", base_dir=str(tmp_path / "work"))
        for name, first in (("good", double), ("bad", function)):
            branch = pe.Workflow(name=f"{name}_wf")
            branch.connect(node("first", first, value=1), "value", node("second", double), "value")
            workflow.add_nodes([branch])
        return workflow

    return make


def run(workflow, tmp_path):
    return run_graph(workflow, HARDWARE, crash_folder=lambda name: tmp_path / "crashes" / name.split(".")[0])


def test_a_failure_stops_only_what_depends_on_it(build, tmp_path):
    execution = run(build(refuse), tmp_path)
    assert {"good_wf.first", "good_wf.second"} <= execution.finished
    assert "bad_wf.second" not in execution.finished
    assert execution.failure_of(["good_wf"]) is None
    assert execution.failure_of(["bad_wf"]) == "bad_wf.first: the file 1 is not what it must be"
    assert list((tmp_path / "crashes" / "bad_wf").glob("crash-*.txt"))


def test_a_second_run_computes_nothing(build, tmp_path):
    assert len(run(build(double), tmp_path).computed) == 4
    assert run(build(double), tmp_path).computed == []


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_and_not_a_hang(build, tmp_path):
    execution = run(build(die), tmp_path)
    assert "killed" in execution.failure_of(["bad_wf"])


def test_a_worker_that_is_killed_at_once_is_noticed(build, tmp_path, monkeypatch):
    """The pool is found broken before the scheduler has written down which task it was."""
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    def submit(self, *_):
        future = Future()
        future.set_exception(BrokenProcessPool("gone"))
        return future

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    execution = run(build(double), tmp_path)
    assert "killed" in execution.failure_of(["bad_wf"]) and "killed" in execution.failure_of(["good_wf"])


def test_a_graph_name_is_not_mistaken_for_a_longer_one(build, tmp_path):
    execution = run(build(refuse), tmp_path)
    assert execution.failure_of(["bad"]) is None


def test_other_plugins_keep_results_too(build, tmp_path):
    linear = {"plugin": "Linear"}
    first, second = (
        run_graph(build(double), HARDWARE, crash_folder=lambda name: tmp_path, plugin=linear)
        for _ in range(2)
    )
    assert len(first.computed) == 4
    assert second.computed == []


def test_a_plugin_that_does_not_exist_is_refused(build, tmp_path):
    with pytest.raises(SettingError, match="has no plugin 'Nonsense'"):
        run_graph(build(double), HARDWARE, crash_folder=lambda name: tmp_path, plugin={"plugin": "Nonsense"})


@pytest.mark.slow
def test_work_goes_on_after_a_worker_was_killed(tmp_path):
    """Five killed workers, one after the other, and fifteen nodes that have nothing to do with them."""
    configure_nipype()
    workflow = pe.Workflow(name="outer_wf", base_dir=str(tmp_path / "work"))
    workflow.add_nodes([node(f"bad{k}", die, value=k) for k in range(5)])
    workflow.add_nodes([node(f"good{k}", double, value=k) for k in range(15)])
    execution = run(workflow, tmp_path)
    assert all("killed" in execution.failure_of([f"bad{k}"]) for k in range(5))
    # Only what shared a pool with a killed worker at that moment may be lost with it.
    assert sum(f"good{k}" in execution.finished for k in range(15)) >= 10
