"""The one table of options: the command line, the documentation and the Boutiques descriptor are made from it.

Each option fills the field of the same name in `bids_app.config.Settings`. Both spellings of a long option are accepted
(`--work-dir` and `--work_dir`). This module imports nothing heavy, so that `--help` answers at once.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MEMORY_UNITS_MB = {"K": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}


def memory_mb(text: str) -> int:
    """Memory in MB; a bare number is MB, the suffixes K, M, G and T (and KB, ...) are understood.

    >>> memory_mb("1.5G"), memory_mb("900"), memory_mb("2048MB")
    (1500, 900, 2048)
    """
    stripped = text.strip().upper().removesuffix("B")
    unit = stripped[-1:] if stripped[-1:] in _MEMORY_UNITS_MB else ""
    try:
        amount = float(stripped.removesuffix(unit)) * _MEMORY_UNITS_MB.get(unit, 1.0)
    except ValueError:
        amount = 0
    if not 1 <= amount < 1e9:
        raise argparse.ArgumentTypeError(
            f"expected an amount of memory such as 8000, 8G or 1.5T, found {text!r}"
        )
    return int(amount)


def without_prefix(prefix: str) -> Callable[[str], str]:
    """A converter that accepts a label with or without its BIDS prefix: `sub-01` and `01`."""

    def label(text: str) -> str:
        stripped = text.removeprefix(prefix)
        if not stripped.isalnum():
            raise argparse.ArgumentTypeError(f"expected a label of letters and digits, found {text!r}")
        return stripped

    return label


def named_path(text: str) -> str:
    """`NAME=PATH`, kept as text; a bare path is called by its folder's name.

    >>> named_path("fmriprep=/data/prep"), named_path("/data/fmriprep")
    ('fmriprep=/data/prep', 'fmriprep=/data/fmriprep')
    """
    name, separator, path = text.partition("=")
    if not separator:
        path, name = text, text.rstrip("/").rpartition("/")[2]
    if not name or not path:
        raise argparse.ArgumentTypeError(
            f"expected NAME=PATH such as fmriprep=/data/fmriprep, found {text!r}"
        )
    return f"{name}={path}"


def run_or_task(text: str) -> str:
    """The label of a run or a task; a bare label is a task's.

    >>> run_or_task("test"), run_or_task("task-test_run-1")
    ('task-test', 'task-test_run-1')
    """
    label = text if "-" in text else f"task-{text}"
    if not all(
        key and value.isalnum() for key, _, value in (part.partition("-") for part in label.split("_"))
    ):
        raise argparse.ArgumentTypeError(
            f"expected the label of a task or a run, such as task-test or task-test_run-1, found {text!r}"
        )
    return label


def integer_or_auto(text: str) -> int | None:
    """A count, or `auto` for None."""
    if text == "auto":
        return None
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected auto or a count of 0 or more, found {text!r}")
    return value


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    field: str  #: the field of Settings, and the long option with `-` for `_`
    help: str
    group: str
    short: str | None = None
    aliases: tuple[str, ...] = ()
    kind: Callable[[str], Any] = str
    many: bool = False  #: takes one value or more
    flag: bool = False  #: takes no value
    negatable: bool = False  #: a flag with a `--no-` form, for what a recipe may have switched on
    count: bool = False  #: how often it is given
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    default: str = ""  #: what the help says of the default

    @property
    def flags(self) -> list[str]:
        """All spellings, the documented one first."""
        names = [self.field.replace("_", "-"), *self.aliases]
        spellings = [f"--{name}" for name in names]
        spellings += [f"--{name.replace('-', '_')}" for name in names if "-" in name]
        return ([self.short] if self.short else []) + spellings


SELECTION, DATA, ANALYSIS, MACHINE, OTHER = (
    "what is analysed",
    "where things are",
    "the analysis (each overrides the recipe)",
    "the machine",
    "other",
)
LEVELS = ("stimuli", "participant", "group")

OPTIONS: tuple[Option, ...] = (
    Option("participant_label", "participants to process, with or without `sub-`", SELECTION,
           aliases=("participant-id",), kind=without_prefix("sub-"), many=True, metavar="LABEL", default="all"),
    Option("session_label", "sessions to process", SELECTION, aliases=("session-id",),
           kind=without_prefix("ses-"), many=True, metavar="LABEL", default="all"),
    Option("task_id", "tasks to process", SELECTION, short="-t", aliases=("task-label", "task"),
           kind=without_prefix("task-"), many=True, metavar="LABEL", default="all"),
    Option("run_id", "runs to process", SELECTION, aliases=("run-label",), kind=without_prefix("run-"), many=True,
           metavar="INDEX", default="all"),
    Option("bids_filter_file", "a JSON file of pybids filters, {query: {entity: value}} as fMRIPrep reads it "
           "(queries here: bold)", SELECTION, metavar="FILE"),
    Option("output_spaces", "the space of the fMRIPrep output to analyse, with its resolution or density where there "
           "are several: SPACE[:res-LABEL][:den-LABEL]; volumes, surfaces (fsaverage5, fsnative) or grayordinates "
           "(fsLR:den-91k); it selects existing files", SELECTION, aliases=("space",), metavar="SPACE",
           default="MNI152NLin2009cAsym"),

    Option("derivatives", "derivative datasets by name; `fmriprep=PATH` is the one that is read", DATA, short="-d",
           aliases=("datasets",), kind=named_path, many=True, metavar="NAME=PATH",
           default="BIDS_DIR/derivatives/fmriprep*"),
    Option("stimuli_dir", "a further folder of films, searched by file name for those that are not below "
           "BIDS_DIR/stimuli", DATA, metavar="DIR"),
    Option("stimulus_map", "a TSV for datasets whose events name no films: columns task, stim_file, onset, and "
           "optionally participant, session, run, duration, clip_start", DATA, metavar="FILE"),
    Option("weights_dir", "the folder of network weights", DATA, metavar="DIR",
           default="the libraries' own caches"),
    Option("work_dir", "where intermediate results are kept; the same folder resumes a run", DATA, short="-w",
           metavar="DIR", default="./work"),
    Option("bids_database_dir", "keep the index of the dataset here and use it again", DATA, metavar="DIR"),
    Option("config_file", "a TOML that an earlier run left in its logs; options on the command line win", DATA,
           metavar="FILE"),

    Option("recipe", "a named analysis or a TOML file of one's own", ANALYSIS, metavar="NAME|FILE",
           default="motion-energy"),
    Option("model_label", "what this analysis is called in the names of the outputs (`model-`); needed when two "
           "analyses of one recipe share OUTPUT_DIR", ANALYSIS, metavar="LABEL",
           default="the recipe's name, or the features'"),
    Option("features", "extractors to use in place of the recipe's, one feature space each", ANALYSIS,
           aliases=("feature",), many=True, metavar="EXTRACTOR"),
    Option("mask", "voxels to analyse: gm (grey matter; of surfaces the cortex), brain, none (the whole grid), or an "
           "image", ANALYSIS, metavar="gm|brain|none|FILE"),
    Option("resolution", "voxel size of the analysis in mm, or native for the input's grid", ANALYSIS,
           metavar="MM|native"),
    Option("interpolation", "how volumes are resampled", ANALYSIS, choices=("linear", "nearest", "cubic")),
    Option("smoothing", "full width at half maximum of a Gaussian that volumes are smoothed with; 0 for none", ANALYSIS,
           kind=float, metavar="MM"),
    Option("atlas", "parcels in place of voxels: file of labels (NIfTI, left label.gii, dlabel) with a TSV beside it, "
           "an atlas of TemplateFlow on this machine, or none", ANALYSIS, metavar="FILE|NAME|none"),
    Option("nuisance_regressors", "confound strategy of nilearn (simple, scrubbing, compcor, ica_aroma, ...), none, a "
           "comma-separated list of strategies, columns and patterns, or a YAML file of one's own", ANALYSIS,
           short="-p", aliases=("denoise-strategy", "confounds"), metavar="STRATEGY|FILE.yml"),
    Option("extra_confounds", "further regressors, one table for each run: a path in which {sub}, {ses}, {task} and "
           "{run} stand for the run's", ANALYSIS, metavar="PATTERN"),
    Option("high_pass", "cut-off of the drift filter in Hz; 0 for none", ANALYSIS, kind=float, metavar="HZ"),
    Option("dummy_scans", "volumes to leave out at the start of each run; auto: those that fMRIPrep marked", ANALYSIS,
           kind=integer_or_auto, metavar="auto|N", default="auto"),
    Option("trim", "what to leave out at the start and at the end of each run, in volumes (2:11) or seconds (4s:22s)",
           ANALYSIS, metavar="START:END"),
    Option("max_fd", "leave out runs whose mean framewise displacement is above this", ANALYSIS, kind=float,
           metavar="MM", default="no limit"),
    Option("min_volumes", "leave out runs of which fewer volumes are kept", ANALYSIS, kind=int, metavar="N",
           default="no limit"),
    Option("responses", "what is modelled: the volumes of a run, or one response a clip by a general linear model, for "
           "films of a few seconds", ANALYSIS, choices=("volumes", "clips")),
    Option("clip_method", "how a clip's response is estimated: each in a model of its own (lss), all in one (lsa), all "
           "in one and shrunk (ridge-lsa), or as the mean of a window after its onset (fir)", ANALYSIS,
           choices=("lss", "lsa", "ridge-lsa", "fir")),
    Option("betas", "responses of clips that were made elsewhere, one file for each run with a map a presentation: a "
           "path in which {sub}, {ses}, {task} and {run} stand for the run's; a table of the same name (.tsv) names "
           "the clips in its column stim_file", ANALYSIS, metavar="PATTERN"),
    Option("delays", "delays of the finite impulse response in seconds", ANALYSIS, kind=float, many=True,
           metavar="S", default="the volumes from about 2 to about 8 s"),
    Option("hrf", "a canonical haemodynamic response that the features are convolved with, in place of delays",
           ANALYSIS, choices=("none", "spm", "glover")),
    Option("pca", "components a feature space is reduced to: a share of variance below 1, a number, or none", ANALYSIS,
           metavar="SHARE|N|none"),
    Option("estimator", "how weights are found", ANALYSIS,
           choices=("ridge", "banded_ridge", "lasso", "elastic_net", "ols", "lstm")),
    Option("alphas", "the grid of penalties, unit-free unless the recipe says otherwise", ANALYSIS, kind=float,
           many=True, metavar="ALPHA"),
    Option("l1_ratio", "share of the elastic net's penalty that is l1: above 0, and 1 is the LASSO", ANALYSIS,
           kind=float, metavar="SHARE", default="0.5"),
    Option("cross_validation", "which rows are held out together: every run in turn, groups of runs (--folds), the "
           "runs of --test-runs only, or every film in turn", ANALYSIS,
           choices=("leave-one-run-out", "k-fold", "split", "leave-one-stimulus-out")),
    Option("folds", "groups of runs of k-fold; the most groups of films of leave-one-stimulus-out", ANALYSIS,
           kind=int, metavar="K", default="5"),
    Option("test_runs", "the runs or tasks that split tests on and never trains on: task-test, task-movie_run-1",
           ANALYSIS, kind=run_or_task, many=True, metavar="LABEL"),
    Option("shared_films", "where a film stands on both sides of a fold: exclude its rows from training, or refuse",
           ANALYSIS, choices=("exclude", "refuse")),
    Option("permutations", "permutations of the held-out predictions, by which r is tested; 0: no test", ANALYSIS,
           kind=int, metavar="N"),
    Option("permutation_scheme", "how predictions are permuted within runs: shifted in a circle, or in blocks that "
           "change places", ANALYSIS, choices=("circular-shift", "block")),
    Option("variance_partitioning", "of two feature spaces or more: what each adds to the held-out R2", ANALYSIS,
           flag=True, negatable=True),
    Option("layers", "the feature spaces are the layers of a network in their order: a model of each alone, the best "
           "layer and the centre of mass", ANALYSIS, flag=True, negatable=True),
    Option("fdr", "the false discovery rate of maps and group tests", ANALYSIS, kind=float, metavar="Q"),
    Option("random_seed", "seed of every random step; recorded in the logs", ANALYSIS, kind=int, metavar="N",
           default="0"),
    Option("random_weights", "run networks with RANDOM weights: for trying out a pipeline, never for results",
           ANALYSIS, flag=True),

    Option("nprocs", "processes and threads, all together", MACHINE, aliases=("nthreads", "n-cpus"), kind=int,
           metavar="N", default="all that this process may use"),
    Option("omp_nthreads", "threads of a single step", MACHINE, kind=int, metavar="N", default="nprocs, at most 8"),
    Option("mem_mb", "upper bound of the memory, in MB or with a suffix: 16G", MACHINE, aliases=("mem",),
           kind=memory_mb, metavar="MB", default="90 % of what is there"),
    Option("device", "where networks run and models are fitted: auto, cpu, cuda or cuda:N", MACHINE, metavar="DEVICE",
           default="auto"),
    Option("use_plugin", "a YAML file with a Nipype plugin and its arguments", MACHINE, aliases=("nipype-plugin-file",),
           metavar="FILE"),
    Option("stop_on_first_crash", "stop at the first failure instead of finishing what does not depend on it", MACHINE,
           flag=True),
    Option("clean_workdir", "remove what earlier runs left in the work directory", MACHINE, flag=True),

    Option("dry_run", "print the resolved inputs and the plan; write nothing", OTHER, flag=True),
    Option("reports_only", "make the HTML pages anew from what is in OUTPUT_DIR", OTHER, flag=True),
    Option("strict", "stop when one participant's inputs have a problem, instead of going on with the others", OTHER,
           flag=True),
    Option("validate_output", "run the BIDS validator on OUTPUT_DIR at the end (needs the `validate` extra)", OTHER,
           flag=True),
    Option("skip_bids_validation", "accepted for compatibility: cinebold checks the files that it uses", OTHER,
           flag=True),
    Option("notrack", "accepted for compatibility: cinebold never reports anything to anybody", OTHER, flag=True),
    Option("verbose", "say more; twice for debugging", OTHER, short="-v", count=True),
)  # fmt: skip


def build_parser(program: str = "cinebold", version: str | None = None) -> argparse.ArgumentParser:
    """The command line. Options that are not given are absent from the result, so that a config file can fill them."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Which parts of the brain encode which features of the film that a person watched? "
        "Raw BIDS and fMRIPrep derivatives in, encoding maps and reports out.",
        epilog="Exit codes: 0 done; 1 some participants failed; 2 usage; 16 the input dataset is invalid; "
        "65 nothing to do after the filters; 70 internal error.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", help="the raw BIDS dataset: events, sidecars, stimuli/")
    parser.add_argument("output_dir", help="the derivative dataset that is written")
    parser.add_argument(
        "analysis_level",
        choices=LEVELS,
        help="stimuli: features of the films; participant: encoding models; group: tests across participants",
    )
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        group = groups.setdefault(option.group, None) or parser.add_argument_group(option.group)
        groups[option.group] = group
        text = option.help.replace("%", "%%") + (
            f" (default: {option.default.replace('%', '%%')})" if option.default else ""
        )
        named: dict[str, Any] = {"dest": option.field, "help": text}
        if option.flag:
            named["action"] = argparse.BooleanOptionalAction if option.negatable else "store_true"
        elif option.count:
            named |= {"action": "count"}
        else:
            named |= {"type": option.kind, "metavar": option.metavar, "choices": option.choices}
            if option.many:
                named["nargs"] = "+"
        documented, *others = [f for f in option.flags if f.startswith("--")]
        visible = ([option.short] if option.short else []) + [documented]
        visible += [f"--{alias}" for alias in option.aliases]
        hidden = [flag for flag in others if flag not in visible]
        group.add_argument(*visible, **named)
        if hidden:
            group.add_argument(*hidden, **{**named, "help": argparse.SUPPRESS})
    if version:
        parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    return parser
