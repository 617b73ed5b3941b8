"""The confounds of a run as its specifications say."""

from cinebold.bold.confounds import Confounds, load_confounds
from cinebold.bold.volumes import trimmed_volumes
from workflows.specifications import BoldPreparation, Run


def confounds_of(run: Run, preparation: BoldPreparation) -> Confounds:
    """Read the run's tables and select; raises what `load_confounds` raises."""
    return load_confounds(
        run.confounds,
        preparation.confounds,
        dummy_scans=preparation.dummy_scans,
        n_volumes=run.n_volumes,
        trim=(0, 0) if preparation.trim is None else trimmed_volumes(preparation.trim, run.tr_s),
        extra=run.extra_confounds,
    )
