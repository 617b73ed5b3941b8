"""The methods text of an analysis, from the summary of what really ran; every sentence with its references."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

_CITATION = re.compile(r"\[((?:@\w+(?:; )?)+)\]")


@dataclass(frozen=True)
class Reference:
    """A publication or a program that the text cites."""

    key: str
    short: str
    full: str
    doi: str = ""
    url: str = ""

    @property
    def link(self) -> str:
        """Where it can be found."""
        return f"https://doi.org/{quote(self.doi, safe='/:();')}" if self.doi else self.url


@dataclass(frozen=True)
class Paragraph:
    """One step of the analysis; `parts` alternates between text and tuples of the references that stand there."""

    heading: str
    parts: tuple[str | tuple[Reference, ...], ...]


def methods_markdown(summary: Mapping[str, Any]) -> str:
    """The methods text as Markdown, with the list of the references that it cites."""
    paragraphs = methods_paragraphs(summary)
    lines = ["## Methods", ""]
    for paragraph in paragraphs:
        text = "".join(part if isinstance(part, str) else _in_brackets(part) for part in paragraph.parts)
        lines += [f"**{paragraph.heading}.** {_escaped(text)}", ""]
    lines += ["### References", ""]
    for reference in cited(paragraphs):
        lines.append(f"- {reference.full} <{reference.link}>")
    return "\n".join(lines) + "\n"


def methods_paragraphs(summary: Mapping[str, Any]) -> list[Paragraph]:
    """The steps of a participant's or a group's analysis; a summary that lacks something lacks the sentences on it."""
    steps = _GROUP_STEPS if _is_group(summary) else _PARTICIPANT_STEPS
    known = references()
    paragraphs = []
    for heading, write in steps:
        text = " ".join(sentence for sentence in write(summary) if sentence)
        if text:
            pieces = _CITATION.split(text)
            parts = [
                tuple(known[key] for key in re.findall(r"\w+", piece) if key in known) if i % 2 else piece
                for i, piece in enumerate(pieces)
            ]
            paragraphs.append(Paragraph(heading, tuple(part for part in parts if part)))
    return paragraphs


def cited(paragraphs: Sequence[Paragraph]) -> list[Reference]:
    """The references that stand in the text, each once, by name."""
    found = {
        r.key: r
        for paragraph in paragraphs
        for part in paragraph.parts
        if isinstance(part, tuple)
        for r in part
    }
    return sorted(found.values(), key=lambda reference: reference.full.lower())


@cache
def references() -> dict[str, Reference]:
    """All that can be cited, by key."""
    text = (resources.files("bids_app.report") / "templates" / "references.toml").read_text(encoding="utf-8")
    return {key: Reference(key, **entry) for key, entry in tomllib.loads(text).items()}


def _inputs(summary: Mapping[str, Any]) -> list[str]:
    fmriprep = _version(summary, "fmriprep")
    runs = _objects(summary, "runs")
    films = {film.get("name") for run in runs for film in _objects(run, "films")} - {None}
    counts = f"{_plural(len(runs), 'run')} with {_plural(len(films), 'film')}" if runs and films else ""
    return [
        "Inputs were organised by the Brain Imaging Data Structure [@gorgolewski2016]"
        + (
            f" and queried with PyBIDS {_version(summary, 'pybids')} [@yarkoni2019]."
            if _version(summary, "pybids")
            else "."
        ),
        f"Images had been preprocessed with fMRIPrep{fmriprep and ' ' + fmriprep} [@esteban2019]"
        + (
            f"; {counts} were analysed in the space {summary['space']}."
            if counts and summary.get("space")
            else "."
        ),
    ]


def _features(summary: Mapping[str, Any]) -> list[str]:
    sentences = []
    for space in _objects(summary, "spaces"):
        describe = _EXTRACTORS.get(str(space.get("extractor")))
        name, extractor = space.get("name", "?"), space.get("extractor", "?")
        text = describe(space, summary) if describe else f"were computed with the extractor {extractor}."
        sentences.append(f"The features of the space “{name}” {text}")
        if space.get("random_weights"):
            sentences.append(
                "The network had RANDOM weights: these features say nothing about a trained network."
            )
    return sentences


def _motion_energy(space: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    version = _version(summary, "pymoten")
    return (
        "are motion energy: the responses of a pyramid of spatio-temporal Gabor filters to the luminance of the film "
        f"[@adelson1985; @nishimoto2011], computed with pymoten{version and ' ' + version} [@pymoten]."
    )


def _low_level(space: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    return "are low-level descriptions of the frames: luminance, contrast, difference to the frame before, and cuts."


def _slowfast(space: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    version = _version(summary, "pytorchvideo")
    trained = "" if space.get("random_weights") else ", trained on Kinetics-400 [@kay2017]"
    return (
        f"are activations of a SlowFast R50 network [@feichtenhofer2019]{trained}, as implemented in "
        f"PyTorchVideo{version and ' ' + version} [@fan2021]."
    )


_EXTRACTORS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]] = {
    "motion_energy": _motion_energy,
    "low_level": _low_level,
    "slowfast_r50": _slowfast,
}


def _responses(summary: Mapping[str, Any]) -> list[str]:
    bold = _object(summary, "bold")
    if not bold:
        return []
    mask = {"gm": "grey matter", "brain": "the brain"}.get(str(bold.get("mask")), "a mask given by the user")
    resolution = bold.get("resolution_mm")
    grid = f", resampled to {resolution:g} mm" if _is_number(resolution) else ""
    sentences = [f"Responses are the voxels of {mask}{grid}."]
    strategy = bold.get("confounds")
    regressed = []
    if strategy and strategy != "none":
        extra = {"compcor": "; @behzadi2007", "scrubbing": "; @power2014"}.get(str(strategy), "")
        version = _version(summary, "nilearn")
        regressed.append(
            f"the confounds of the strategy “{strategy}” of nilearn{version and ' ' + version} "
            f"[@nilearn; @wang2024{extra}]"
        )
    # Strategies that bring fMRIPrep's cosines need no others: what each run says is what was done.
    filtered = [run.get("high_pass_hz") for run in _objects(summary, "runs")] or [bold.get("high_pass_hz")]
    high_pass = next((value for value in filtered if _is_number(value)), None)
    if high_pass is not None:
        regressed.append(f"drifts slower than {high_pass:g} Hz (discrete cosines)")
    if regressed:
        sentences.append(
            f"In each run {' and '.join(regressed)} were regressed out and each voxel was standardised."
        )
    return sentences


def _design(summary: Mapping[str, Any]) -> list[str]:
    low_pass = {"lanczos": "a Lanczos filter [@duchon1979]", "box": "the mean over each volume's duration"}
    delays = [delay for delay in _sequence(summary, "delays_s") if _is_number(delay)]
    pca = _object(summary, "encoding").get("pca")
    sentences = []
    if str(summary.get("low_pass")) in low_pass:
        sentences.append(
            f"Features were brought to the times of the volumes with {low_pass[summary['low_pass']]}."
        )
    steps = ["standardised"] if _object(summary, "encoding").get("standardise") else []
    if _is_number(pca):
        kept = f"{100 * pca:g} % of the variance" if pca < 1 else _plural(int(pca), "component")
        steps.append(f"reduced by principal component analysis [@jolliffe2016] to {kept}")
    if steps:
        sentences.append(f"With the training runs alone each feature space was {' and '.join(steps)}.")
    if delays:
        listed = ", ".join(f"{delay:g}" for delay in delays)
        sentences.append(
            "The haemodynamic response was left free by a finite impulse response model [@dale1999] with delays "
            f"of {listed} s."
        )
    confounds = _object(summary, "bold").get("confounds")
    if confounds and (confounds != "none" or _object(summary, "bold").get("high_pass_hz")):
        sentences.append(
            "Drift and confounds were regressed out of the delayed features of each run as they were out of the "
            "responses."
        )
    return sentences


def _model(summary: Mapping[str, Any]) -> list[str]:
    encoding = _object(summary, "encoding")
    estimators = {
        "ridge": "ridge regression [@hoerl1970]",
        "lasso": "the LASSO [@tibshirani1996], solved by coordinate descent [@friedman2010]",
    }
    estimator = encoding.get("estimator")
    if not estimator:
        return []
    sentences = [
        "A voxelwise encoding model [@naselaris2011] was fitted with "
        f"{estimators.get(str(estimator), str(estimator))}.",
        "Each run was predicted from the other runs; within these the regularisation of each voxel was chosen by "
        "leaving out one run at a time. Films shown in a held-out run were left out of training.",
        "Predictions were scored by Pearson's r in each held-out run, averaged over runs by their volumes, and by R² "
        "pooled over the held-out runs.",
    ]
    if "noiseceiling" in _object(summary, "scores"):
        sentences.append("The noise ceiling was estimated from films that were shown in more than one run.")
    return sentences


def _significance(summary: Mapping[str, Any]) -> list[str]:
    encoding = _object(summary, "encoding")
    n_permutations = encoding.get("n_permutations")
    if not _is_number(n_permutations) or n_permutations <= 0:
        return []
    shift = encoding.get("minimum_shift_s")
    least = f" by at least {shift:g} s" if _is_number(shift) else ""
    q = next((value for value in (summary.get("q"), encoding.get("q")) if _is_number(value)), 0.05)
    return [
        f"The null distribution of r came from {_plural(int(n_permutations), 'circular shift')} of the "
        f"predictions within runs{least}, which keeps the autocorrelation; permuted r were multiplied by √2, as in "
        "leave-one-run-out each pair of runs enters r twice; p values count the observed value [@phipson2010].",
        f"The false discovery rate was controlled at q = {q:g} [@benjamini1995].",
    ]


def _software(summary: Mapping[str, Any]) -> list[str]:
    own, nipype = _version(summary, "cinebold"), _version(summary, "nipype")
    ran = f"The analysis ran in cinebold{own and ' ' + own}, a BIDS App [@gorgolewski2017]"
    return [ran + (f", on the workflow engine Nipype {nipype} [@gorgolewski2011]." if nipype else ".")]


def _group_test(summary: Mapping[str, Any]) -> list[str]:
    members = _sequence(summary, "participants")
    q = summary.get("q")
    return [
        f"The maps of {_plural(len(members), 'participant')} were brought together in their common mask.",
        "Held-out r was Fisher-z transformed and tested against zero across participants with a two-sided one-sample "
        "t-test; so were the weights of each feature component.",
        f"The false discovery rate was controlled at q = {q:g} [@benjamini1995]." if _is_number(q) else "",
    ]


_PARTICIPANT_STEPS = (
    ("Inputs", _inputs), ("Features", _features), ("Responses", _responses), ("Design", _design), ("Model", _model),
    ("Significance", _significance), ("Software", _software),
)  # fmt: skip
_GROUP_STEPS = (("Group test", _group_test), ("Software", _software))


def _is_group(summary: Mapping[str, Any]) -> bool:
    return isinstance(summary.get("participants"), list)


def _in_brackets(found: tuple[Reference, ...]) -> str:
    return "(" + "; ".join(reference.short for reference in found) + ")"


def _escaped(text: str) -> str:
    """Markdown in names, such as underscores, loses its meaning."""
    return re.sub(r"([\\`*_<>#])", r"\\\1", text)


def _version(summary: Mapping[str, Any], program: str) -> str:
    for name, version in _object(summary, "versions").items():
        if str(name).lower() == program:
            return str(version)
    return ""


def _plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _sequence(parent: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = parent.get(key)
    return value if isinstance(value, list | tuple) else ()


def _objects(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [value for value in _sequence(parent, key) if isinstance(value, Mapping)]
