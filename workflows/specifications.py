"""What a graph is built from: frozen, JSON-able descriptions that the first room fills in.

A graph can be built and tested from these alone, without a dataset on disk. Paths are absolute strings; times are in
seconds, resolutions in mm, frequencies in Hz.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cinebold.bold.clip_responses import ClipModel
from cinebold.bold.confounds_strategies import ConfoundStrategy
from cinebold.encoding.settings import EncodingSettings

Specification = TypeVar("Specification")


@dataclass(frozen=True)
class Presentation:
    """One showing of a film in a run."""

    film: str  #: the film's file
    film_name: str  #: its path below the dataset's stimuli/ folder, the name that outputs carry
    onset_s: float  #: from the first volume's trigger
    duration_s: float | None = None  #: None: until the film ends
    film_offset_s: float = 0.0  #: the film time shown at the onset


@dataclass(frozen=True)
class FeatureSpace:
    """A named block of features and how it is made."""

    name: str  #: alphanumeric, as it stands in file names, e.g. "motionenergy"
    extractor: str  #: registered extractor, e.g. "motion_energy"
    parameters: dict[str, Any] = field(default_factory=dict)
    store_dtype: str = "float32"  #: or "float16": how the values are stored
    basis: str | None = None  #: a file of principal components that windows are reduced to

    def described(self) -> dict[str, Any]:
        """For sidecars: a basis by its name; that of its content is in the features' own sidecar."""
        content = asdict(self)
        basis = content.pop("basis")
        return content if basis is None else {**content, "basis": Path(basis).name}


@dataclass(frozen=True)
class Hardware:
    """What a graph may use of the machine."""

    n_procs: int = 1
    omp_nthreads: int = 1
    memory_mb: int = 4096
    device: str = "cpu"  #: "cpu" or "cuda[:N]", already resolved


@dataclass(frozen=True)
class FeatureExtraction:
    """One film, all the feature spaces that are wanted of it, and where each is stored."""

    film: str
    film_name: str
    spaces: tuple[FeatureSpace, ...]
    outputs: tuple[str, ...]  #: one .h5 a space, in the order of `spaces`
    weights_dir: str | None = None
    random_weights: bool = False
    seed: int = 0
    sources: tuple[str, ...] = ()  #: BIDS URIs for the sidecar
    #: hashes of the files beside the film that feature spaces read: when one changes, the step runs anew
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClipPreparation:
    """How one response a clip is made of a run's series."""

    model: ClipModel = field(default_factory=ClipModel)
    standardise: bool = True  #: z-score by session, with what its training runs say
    average: bool = False  #: over the repeats of a clip, in the runs of one task


@dataclass(frozen=True)
class BoldPreparation:
    """How responses are read: mask, grid, confounds, filter."""

    #: "gm" (of surfaces: the cortex), "brain", "none" (the whole grid or surface) or the path of an image
    mask: str = "gm"
    gm_threshold: float = 0.2
    resolution_mm: float | None = None  #: None: the grid of the input
    confounds: str | ConfoundStrategy = "simple"  #: see `cinebold.bold.confounds.load_confounds`
    high_pass_hz: float | None = 0.008  #: None: fMRIPrep's cosine columns only where the strategy has them
    dummy_scans: int | None = None  #: None: the volumes that fMRIPrep marked
    trim: str | None = None  #: of both ends of a run: see `cinebold.bold.volumes.trimmed_volumes`
    axes: str = "input"  #: of the grid: "input", or "world" (x to the right, y to the front, z up)
    interpolation: str = "linear"  #: "nearest" or "cubic"
    smoothing_mm: float | None = None  #: full width at half maximum of a Gaussian, of volumes
    atlas: str | None = None  #: a file of labels, of surfaces the left one: its parcels are the targets
    standardise: bool = True  #: False: voxels keep their mean and scale
    clips: ClipPreparation | None = None  #: None: the responses are volumes

    def described(self) -> dict[str, Any]:
        """For sidecars and reports: the atlas by the name of its file."""
        return {**asdict(self), "atlas": None if self.atlas is None else Path(self.atlas).name}


@dataclass(frozen=True)
class Run:
    """One BOLD run with all that belongs to it."""

    label: str  #: e.g. "task-movie_run-1"
    entities: dict[str, str]
    bold: str  #: of two hemispheres the left one's
    brain_mask: str | None  #: None: surfaces and grayordinates need none
    confounds: str
    tr_s: float
    n_volumes: int
    shape: tuple[int, ...]  #: of the grid, or (n_vertices of both hemispheres,), or (n_grayordinates,)
    presentations: tuple[Presentation, ...]
    geometry: str = "volume"  #: "volume", "surface" or "cifti"
    bold_right: str | None = None  #: the right hemisphere's series
    cortex_masks: tuple[str, ...] = ()  #: of the left and the right hemisphere; none: all vertices
    meshes: tuple[
        str, ...
    ] = ()  #: the left and the right surface that maps may be drawn on; none: those of nilearn
    gm_probseg: str | None = None
    start_time_s: float | None = None  #: StartTime of the sidecar; None: not given
    slice_timing_corrected: bool = False
    bold_json: str | None = None
    events: str | None = None
    extra_confounds: str | None = None  #: a further table of regressors
    #: (onset, duration) in seconds of events that show no film: a regressor of no interest beside clips
    other_events_s: tuple[tuple[float, float], ...] = ()
    betas: str | None = None  #: responses of clips that were made elsewhere, a map a row of their table
    beta_rows: tuple[int, ...] = ()  #: the map of each presentation
    sources: tuple[str, ...] = ()  #: BIDS URIs of the inputs
    design_prefix: str = ""  #: what the names of the run's own outputs start with


@dataclass(frozen=True)
class ExcludedRun:
    """A run that a rule leaves out."""

    label: str
    reason: str  #: after "is left out, because "
    mean_fd_mm: float | None = None
    n_volumes_kept: int | None = None


@dataclass(frozen=True)
class ParticipantAnalysis:
    """Everything that one participant's graph does."""

    participant: str  #: without "sub-"
    space: str
    resolution_label: str  #: the `res-` label of the outputs; empty: surfaces and grayordinates have none
    recipe: str  #: the `model-` label of the outputs
    runs: tuple[Run, ...]
    spaces: tuple[FeatureSpace, ...]
    bold: BoldPreparation
    encoding: EncodingSettings
    delays_s: tuple[float, ...]
    low_pass: str = "lanczos"  #: "lanczos" or "box"
    output_dir: str = ""  #: the root of the derivative dataset
    prefix: str = (
        ""  #: e.g. "sub-01/func/sub-01_task-movie_space-X_res-3mm_model-Y": every map's name starts so
    )
    model_prefix: str = ""  #: e.g. "models/sub-01_task-movie_space-X_res-3mm_model-Y"
    figures_prefix: str = ""  #: e.g. "sub-01/figures/sub-01_task-movie_space-X_res-3mm_model-Y"
    map_metadata: dict[str, Any] = field(default_factory=dict)  #: what every map's sidecar says
    stat_metadata: dict[str, Any] = field(default_factory=dict)  #: what it says besides, by `stat-` label
    warnings: tuple[str, ...] = ()  #: what was found while the inputs were read; shown in the report
    excluded: tuple[ExcludedRun, ...] = ()
    input_versions: dict[str, str] = field(default_factory=dict)  #: of the programs that wrote the inputs
    run_rules: dict[str, int | float] = field(
        default_factory=dict
    )  #: by which runs are left out, with units in their names


@dataclass(frozen=True)
class GroupMember:
    """What the group level reads of one participant."""

    participant: str
    r_map: str
    model_card: str
    weight_maps: dict[str, str]  #: feature space -> 4-D map of its components' weights


@dataclass(frozen=True)
class GroupAnalysis:
    """Everything that the group graph does."""

    members: tuple[GroupMember, ...]
    missing: tuple[str, ...]
    recipe: str
    space: str
    resolution_label: str
    q: float = 0.05
    output_dir: str = ""
    prefix: str = ""  #: e.g. "tpl-X/func/tpl-X_task-movie_res-3mm_model-Y"
    figures_prefix: str = ""
    map_metadata: dict[str, Any] = field(default_factory=dict)
    stat_metadata: dict[str, Any] = field(default_factory=dict)
    meshes: tuple[str, ...] = ()  #: as of a `Run`, from the derivatives of the first participant
    random_spaces: tuple[str, ...] = ()  #: feature spaces of networks that are not trained; the page says so


def to_json(specification: Any) -> str:
    """The JSON text of a specification; `from_json` gives an equal one back."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(specification)).dump_json(specification, indent=2).decode()


def from_json(kind: type[Specification], text: str | bytes) -> Specification:
    """The specification of type `kind` that `text` describes; unknown or wrongly typed fields are errors."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_json(text)
