"""What all interfaces share: results by name, and a bound on the threads."""

import os
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterface, BaseInterfaceInputSpec, TraitedSpec, traits
from threadpoolctl import threadpool_limits

from cinebold import __version__


class StageInputSpec(BaseInterfaceInputSpec):
    """The inputs of every stage."""

    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="threads of the linear algebra")
    version = traits.Str(__version__, usedefault=True, desc="another version of the program computes anew")


class StageInterface(BaseInterface):
    """An interface whose `compute` returns its outputs by name and works in the node's own folder."""

    input_spec = StageInputSpec
    output_spec = TraitedSpec

    def __init__(self, **inputs: Any) -> None:
        super().__init__(**inputs)
        self._results: dict[str, Any] = {}

    def _run_interface(self, runtime: Any) -> Any:
        threads = self.inputs.num_threads
        # Libraries that start their threads later (numba, torch) read these.
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
        with threadpool_limits(limits=threads):
            self._results = self.compute(Path(runtime.cwd))
        return runtime

    def _list_outputs(self) -> dict[str, Any]:
        return self._results

    def compute(self, folder: Path) -> dict[str, Any]:
        """Do the stage's work in `folder` and return its outputs by name."""
        raise TypeError(f"{type(self).__name__} computes nothing")
