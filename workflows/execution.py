"""Run a graph and say what happened to each node."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype import config as nipype_config
from nipype import logging as nipype_logging
from nipype.pipeline import engine as pe
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

from cinebold.errors import SettingError
from workflows.interfaces.sinks import StoreDerivatives
from workflows.specifications import Hardware


@dataclass
class Execution:
    """What happened: nodes by their full names, without the name of the outermost graph."""

    computed: list[str] = field(default_factory=list)  #: ran now; those whose results were kept are not here
    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  #: node -> the error's last line

    def failure_of(self, graphs: list[str]) -> str | None:
        """The first failure inside one of these graphs or nodes, as "node: error", or None."""
        for node, message in self.failed.items():
            if any(node == graph or node.startswith(f"{graph}.") for graph in graphs):
                return f"{node}: {message}"
        return None


class Scheduler(MultiProcPlugin):
    """Nipype's MultiProc; a worker that is killed (out of memory) fails its node instead of hanging the run.

    What ran beside it in the same pool fails with it; what comes later runs in a new pool.
    """

    def _submit_job(self, node: pe.Node, updatehash: bool = False) -> int:
        try:
            task_id = super()._submit_job(node, updatehash)
        except BrokenProcessPool:
            self.pool = ProcessPoolExecutor(
                max_workers=self.processors,
                initializer=process_initializer,
                initargs=(self._cwd,),
                mp_context=multiprocessing.get_context(self.plugin_args.get("mp_context")),
            )
            task_id = super()._submit_job(node, updatehash)
        future = self._task_obj[task_id]
        if future.done():  # perhaps before it stood in the table, where a failure is looked up
            self._async_callback(future)
        return task_id

    def _async_callback(self, args: Any) -> None:
        error = args.exception()
        if error is None:
            super()._async_callback(args)
            return
        for task_id, future in list(self._task_obj.items()):
            if future is args:
                text = f"RuntimeError: a worker process ended, most likely killed for its memory ({error})"
                self._taskresult[task_id] = {"result": None, "traceback": [text], "taskid": task_id}


def configure_nipype(verbose: int = 0) -> None:
    """Set Nipype up for this process: no telemetry, no crash pickles, its messages only for those who ask."""
    level = {0: "CRITICAL", 1: "ERROR"}.get(verbose, "INFO")
    nipype_config.update_config(
        {
            "execution": {
                "crashfile_format": "txt",
                "stop_on_first_crash": "false",
                "remove_unnecessary_outputs": "false",
                "hash_method": "timestamp",
                "poll_sleep_duration": "0.02",
                "check_version": "false",
                # Its own report pages lie in a folder that parallel jobs share, and nobody reads them.
                "create_report": "false",
            },
            "logging": {
                "workflow_level": level,
                "interface_level": level,
                "utils_level": level,
                "log_to_file": "false",
            },
        }
    )
    nipype_logging.update_logging(nipype_config)


def run_graph(
    workflow: pe.Workflow,
    hardware: Hardware,
    *,
    crash_folder: Callable[[str], Path],
    plugin: Mapping[str, Any] | None = None,
    stop_on_first_crash: bool = False,
    progress: bool = False,
) -> Execution:
    """Run the graph to its end and return what happened; a failing node stops only what depends on it.

    `crash_folder` gives the folder for the crash file of a node by its name. `plugin` is a Nipype plugin and its
    arguments, {"plugin": name, "plugin_args": {...}}; None is MultiProc with what `hardware` says.
    """
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        node.config = {"execution": {"crashdump_dir": str(crash_folder(name))}}
    workflow.config["execution"] = {"stop_on_first_crash": str(stop_on_first_crash).lower()}
    record = Execution()
    bar = _progress_bar(workflow, progress)

    def note(node: pe.Node, status: str) -> None:
        name = node.fullname.partition(".")[2]
        if status == "start":
            # MultiProc has looked for kept results by now; the other plugins look later.
            kept = not isinstance(runner, Scheduler) and node.is_cached() == (True, True)
            stores = isinstance(node.interface, StoreDerivatives)
            if not (kept or stores or node.run_without_submitting):
                record.computed.append(name)
        elif status == "end":
            # MultiProc reports the end of a node that failed on the master thread as well.
            if name not in record.failed:
                record.finished.add(name)
            bar.update()
        elif status == "exception":
            record.failed.setdefault(name, "")
            bar.update()

    runner = _plugin(hardware, plugin, note)
    # Nipype collects garbage after each step on the master thread; what is there before the run need not be looked at.
    gc.freeze()
    try:
        workflow.run(plugin=runner)
    except (
        Exception
    ) as error:  # whatever a node or the plugin raised: it stands in the record, or it is ours to tell
        if not record.failed:
            raise
        record.failed = {
            name: text or _message(crash_folder(name), name, error) for name, text in record.failed.items()
        }
    finally:
        gc.unfreeze()
        bar.close()
    return record


def _plugin(
    hardware: Hardware, plugin: Mapping[str, Any] | None, note: Callable[[pe.Node, str], None]
) -> Any:
    arguments = {
        "n_procs": hardware.n_procs,
        "memory_gb": hardware.memory_mb / 1024,
        "raise_insufficient": False,
        "mp_context": "forkserver",
        "status_callback": note,
    }
    if plugin is None or plugin.get("plugin", "MultiProc") == "MultiProc":
        multiprocessing.set_forkserver_preload(["workflows.worker"])
        return Scheduler(plugin_args=arguments | dict((plugin or {}).get("plugin_args", {})))
    from nipype.pipeline import plugins

    kind = getattr(plugins, f"{plugin['plugin']}Plugin", None)
    if kind is None:
        known = sorted(name.removesuffix("Plugin") for name in dir(plugins) if name.endswith("Plugin"))
        raise SettingError(
            f"--use-plugin: Nipype has no plugin {plugin['plugin']!r}; it has {', '.join(known)}"
        )
    return kind(plugin_args={"status_callback": note} | dict(plugin.get("plugin_args", {})))


def _progress_bar(workflow: pe.Workflow, shown: bool) -> Any:
    from tqdm import tqdm

    n_nodes = sum(
        "IdentityInterface" not in str(node.interface) for node in workflow._create_flat_graph().nodes
    )
    return tqdm(total=n_nodes, desc="steps", unit="step", disable=not shown, leave=False)


def _message(folder: Path, name: str, error: Exception) -> str:
    """The last line of a node's crash file: the error as it was raised, without its module."""
    node = name.rpartition(".")[2]
    crashes = sorted(folder.glob(f"crash-*-{node}-*.txt"), key=os.path.getmtime)
    text = crashes[-1].read_text(errors="replace") if crashes else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line or "Exception: " in line]
    last = (raised or lines or ["unknown error"])[-1]
    return last.rpartition("cinebold.errors.")[2].partition(": ")[2] if "cinebold.errors." in last else last
