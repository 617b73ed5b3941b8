"""What every worker process has in memory from its start: preloaded once by the fork server, then forked.

Importing nipype, nilearn and scikit-learn takes seconds; doing it once and not once a worker is most of a short run.
Nothing here may start threads: they do not survive a fork.
"""

import logging
import os

import nibabel  # noqa: F401
import scipy.sparse  # noqa: F401
from nipype.pipeline import engine  # noqa: F401

from workflows import participant  # noqa: F401
from workflows.execution import configure_nipype

# The verbosity of the command reaches the processes that it starts through the environment.
verbosity = int(os.environ.get("CINEBOLD_VERBOSITY", "0"))
configure_nipype(verbosity)
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
for name in ("cinebold", "workflows"):
    logging.getLogger(name).setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG))
logging.captureWarnings(True)
if verbosity < 2:
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
