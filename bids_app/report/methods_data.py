"""Sentences of the methods text on the data: inputs, responses, design."""

from collections.abc import Mapping
from typing import Any

from bids_app.report.summaries import (
    is_number,
    listed,
    mapping_of,
    mappings_of,
    plural,
    sequence_of,
    version_of,
)


def inputs_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Datasets and programs that came before."""
    fmriprep = version_of(summary, "fmriprep")
    runs = mappings_of(summary, "runs")
    films = {film.get("name") for run in runs for film in mappings_of(run, "films")} - {None}
    counts = f"{plural(len(runs), 'run')} with {plural(len(films), 'film')}" if runs and films else ""
    return [
        "Inputs were organised by the Brain Imaging Data Structure [@gorgolewski2016]"
        + (
            f" and queried with PyBIDS {version_of(summary, 'pybids')} [@yarkoni2019]."
            if version_of(summary, "pybids")
            else "."
        ),
        f"Images had been preprocessed with fMRIPrep{fmriprep and ' ' + fmriprep} [@esteban2019]"
        + (
            f"; {counts} were analysed in the space {summary['space']}."
            if counts and summary.get("space")
            else "."
        ),
    ]


def responses_sentences(summary: Mapping[str, Any]) -> list[str]:
    """What was done to the responses."""
    bold = mapping_of(summary, "bold")
    if not bold:
        return []
    masks = {"gm": "grey matter", "brain": "the brain", "none": "the whole field of view"}
    mask = masks.get(str(bold.get("mask")), "a mask given by the user")
    resolution = bold.get("resolution_mm")
    how = {"nearest": " by their nearest neighbours", "cubic": " by cubic splines"}.get(
        str(bold.get("interpolation")), ""
    )
    grid = f", resampled to {resolution:g} mm{how}" if is_number(resolution) else ""
    surfaces = {"cifti": "the grayordinates", "surface": "the vertices of both hemispheres"}
    where = surfaces.get(str(bold.get("geometry")), f"the voxels of {mask}{grid}")
    if atlas := bold.get("atlas"):
        on = {"cifti": "grayordinates", "surface": "the vertices of both hemispheres"}
        where = f"the means of the parcels of the atlas {atlas} over {on.get(str(bold.get('geometry')), mask + grid)}"
    if bold.get("geometry") == "surface" and bold.get("mask") == "gm":
        where += " inside the cortex mask, where the derivatives have one"
    sentences = [f"Responses are {where}."]
    if is_number(width := bold.get("smoothing_mm")):
        sentences.append(f"Volumes were smoothed with a Gaussian of {width:g} mm full width at half maximum.")
    regressed = _confounds(summary, bold)
    # Strategies that bring fMRIPrep's cosines need no others: what each run says is what was done.
    filtered = [run.get("high_pass_hz") for run in mappings_of(summary, "runs")] or [bold.get("high_pass_hz")]
    high_pass = next((value for value in filtered if is_number(value)), None)
    if high_pass is not None:
        regressed.append(f"drifts slower than {high_pass:g} Hz (discrete cosines)")
    standardised = bold.get("standardise", True)
    if regressed:
        sentences.append(
            f"In each run {listed(regressed)} were regressed out"
            + (" and each voxel was standardised." if standardised else "; voxels kept their units.")
        )
    elif not standardised:
        sentences.append("They were neither cleaned nor standardised.")
    return [*sentences, *_clips(mapping_of(bold, "clips"), summary), *_left_out(summary, bold)]


def _clips(clips: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """How one response a clip was made; nothing where volumes were modelled."""
    model = mapping_of(clips, "model")
    how = _CLIP_METHODS.get(str(model.get("method")))
    if how is None:
        return []
    window = sequence_of(model, "window_s")
    first_s, last_s = window if len(window) == 2 else (None, None)
    text = how.format(
        hrf={"glover": "Glover's [@glover1999]", "spm": "SPM's [@friston1998]"}.get(
            str(model.get("hrf")), ""
        ),
        first_s=first_s,
        last_s=last_s,
        ridge=model.get("ridge"),
    )
    sentences = [f"The response to each presentation of a clip was {text}."]
    scheme = mapping_of(mapping_of(summary, "encoding"), "cross_validation").get("scheme")
    if clips.get("standardise"):
        whose = "the training runs of its session" if scheme == "split" else "its run"
        sentences.append(f"Responses were standardised with the mean and standard deviation of {whose}.")
    if clips.get("average"):
        sentences.append("Those to repeats of a clip were averaged.")
    return sentences


_CLIP_METHODS = {
    "lss": "estimated by least squares in a model of its own, with one more regressor for all other presentations "
    "[@mumford2012] and the canonical response {hrf}",
    "lsa": "estimated by least squares in one model of all presentations with the canonical response {hrf}",
    "ridge-lsa": "estimated in one model of all presentations with the canonical response {hrf}, shrunk by a ridge "
    "penalty of {ridge} times the mean squared length of the regressors",
    "fir": "the mean of the volumes from {first_s} to {last_s} s after its onset",
}


def _confounds(summary: Mapping[str, Any], bold: Mapping[str, Any]) -> list[str]:
    """What was regressed out of the responses, as the beginning of a list."""
    chosen = bold.get("confounds")
    own = mapping_of(bold, "confounds")
    further = any(run.get("extra_confounds") for run in mappings_of(summary, "runs"))
    found = ["the regressors of a further table"] if further else []
    if not chosen or chosen == "none":
        return found
    entries = [str(entry) for entry in sequence_of(own, "columns")] or [
        entry.strip() for entry in str(chosen).split(",")
    ]
    extra = "; @behzadi2007" * any("comp" in entry for entry in entries)
    extra += "; @power2014" * bool("scrubbing" in entries or own.get("fd_threshold_mm"))
    extra += "; @pruim2015" * any("aroma" in entry for entry in entries)
    version = version_of(summary, "nilearn")
    if chosen in _OF_NILEARN:
        return [
            f"the confounds of the strategy “{chosen}” of nilearn{version and ' ' + version} "
            f"[@nilearn; @wang2024{extra}]",
            *found,
        ]
    cite = f" [{extra.removeprefix('; ')}]" if extra else ""
    return [f"the confounds {', '.join(entries)} of fMRIPrep{cite}", *found]


def _left_out(summary: Mapping[str, Any], bold: Mapping[str, Any]) -> list[str]:
    """Volumes and runs that did not take part."""
    runs = mappings_of(summary, "runs")
    counts = [(run.get("n_volumes"), run.get("n_volumes_kept")) for run in runs]
    sentences = []
    if counts and all(is_number(n) and is_number(kept) for n, kept in counts):
        lost, total = sum(n - kept for n, kept in counts), sum(n for n, _ in counts)
        if lost:
            sentences.append(
                f"Of {plural(total, 'volume')}, {lost} ({100 * lost / total:.1f} %) neither trained nor tested: "
                "those before the steady state, at trimmed ends or with much motion; features shown at them still "
                "entered the responses to later volumes."
            )
    rules = [
        words.format(bold[key])
        for key, words in (
            ("max_fd_mm", "a mean framewise displacement above {:g} mm [@power2012]"),
            ("min_volumes", "fewer than {:g} volumes left"),
        )
        if is_number(bold.get(key))
    ]
    if rules:
        excluded = mappings_of(summary, "excluded_runs")
        sentences.append(f"Runs with {' or '.join(rules)} were left out ({len(excluded) or 'none'}).")
    return sentences


#: Strategies that nilearn has under the same name.
_OF_NILEARN = ("simple", "scrubbing", "compcor", "ica_aroma")


def design_sentences(summary: Mapping[str, Any]) -> list[str]:
    """How features came onto the volumes."""
    low_pass = {"lanczos": "a Lanczos filter [@duchon1979]", "box": "the mean over each volume's duration"}
    delays = [delay for delay in sequence_of(summary, "delays_s") if is_number(delay)]
    pca = mapping_of(summary, "encoding").get("pca")
    sentences = []
    clips = mapping_of(summary, "bold").get("clips")
    if clips:
        sentences.append("The features of a presentation are the mean over what was shown of the clip.")
    elif str(summary.get("low_pass")) in low_pass:
        sentences.append(
            f"Features were brought to the times of the volumes with {low_pass[summary['low_pass']]}."
        )
    encoding = mapping_of(summary, "encoding")
    if encoding.get("standardise") == "volumes":
        sentences.append("The features of each volume were standardised across features.")
    steps = ["standardised"] if encoding.get("standardise") in ("features", True) else []
    if is_number(pca):
        kept = f"{100 * pca:g} % of the variance" if pca < 1 else plural(int(pca), "component")
        steps.append(f"reduced by principal component analysis [@jolliffe2016] to {kept}")
    if steps:
        sentences.append(f"With the training data alone each feature space was {' and '.join(steps)}.")
    response = _RESPONSES.get(str(encoding.get("hrf")))
    if response:
        sentences.append(
            f"The components were convolved with the canonical haemodynamic response {response}."
        )
    elif delays == [0] and not clips:
        sentences.append(
            "The haemodynamic response was not modelled: features and responses meet without a delay."
        )
    elif delays and not clips:
        listed = ", ".join(f"{delay:g}" for delay in delays)
        beside = " of the linear model" if encoding.get("estimator") == "lstm" else ""
        sentences.append(
            f"The haemodynamic response{beside} was left free by a finite impulse response model [@dale1999] with "
            f"delays of {listed} s."
        )
    confounds = mapping_of(summary, "bold").get("confounds")
    if not clips and confounds and (confounds != "none" or mapping_of(summary, "bold").get("high_pass_hz")):
        sentences.append(
            "Drift and confounds were regressed out of the columns of the design of each run as they were out of the "
            "responses."
        )
    return sentences


_RESPONSES = {"spm": "of SPM [@friston1998]", "glover": "of Glover [@glover1999]"}
