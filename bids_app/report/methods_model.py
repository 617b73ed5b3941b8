"""Sentences of the methods text on the model: estimator, cross-validation, ceiling, comparisons, significance."""

from collections.abc import Callable, Mapping
from typing import Any

from bids_app.report.summaries import is_number, mapping_of, mappings_of, plural, sequence_of


def model_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Estimator, cross-validation and scores."""
    encoding = mapping_of(summary, "encoding")
    estimator = encoding.get("estimator")
    if not estimator:
        return []
    describe = _ESTIMATORS.get(str(estimator))
    return [
        "A voxelwise encoding model [@naselaris2011] was fitted with "
        f"{describe(encoding) if describe else str(estimator)}.",
        "All training runs shared one intercept." if encoding.get("intercept") == "all" else "",
        *_cross_validation(summary),
        "Predictions were scored by Pearson's r in each held-out run, averaged over runs by their volumes, and by R² "
        "pooled over the held-out runs."
        + (
            " For r the predictions of each fold were first brought to one mean and variance."
            if mapping_of(encoding, "cross_validation").get("scheme") == "leave-one-stimulus-out"
            else ""
        ),
        "Ridge regression on the same features and folds stands beside it for comparison [@hoerl1970]."
        if estimator == "lstm"
        else "",
    ]


_ESTIMATORS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "ridge": lambda _: "ridge regression [@hoerl1970]",
    "banded_ridge": lambda encoding: (
        "banded ridge regression, in which each voxel weighs the feature spaces itself "
        f"[@nunez2019], by a random search over {_count(encoding.get('n_candidates'))} candidates "
        "[@dupre2022] that was then refined"
    ),
    "lasso": lambda _: "the LASSO [@tibshirani1996], solved by coordinate descent [@friedman2010]",
    "elastic_net": lambda encoding: (
        "the elastic net [@zou2005] with an l1 share of "
        f"{_count(encoding.get('l1_ratio'))}, solved by coordinate descent [@friedman2010]"
    ),
    "ols": lambda _: "ordinary least squares",
    "lstm": lambda _: (
        "a recurrent network of long short-term memory [@hochreiter1997] on the feature components, whose "
        "states are read out by ridge regression voxel by voxel"
    ),
}


def _count(value: Any) -> str:
    return f"{value:g}" if is_number(value) else "several"


def _cross_validation(summary: Mapping[str, Any]) -> list[str]:
    encoding = mapping_of(summary, "encoding")
    given = mapping_of(encoding, "cross_validation")
    scheme = str(given.get("scheme", "leave-one-run-out"))
    made = mappings_of(mapping_of(summary, "diagnostics"), "folds")
    n_folds = len(made) or given.get("n_folds")
    groups = f"{n_folds} groups" if is_number(n_folds) else "groups"
    tested = ", ".join(str(name) for name in sequence_of(given, "test"))
    how = {
        "leave-one-run-out": "Each run was predicted from the other runs.",
        "k-fold": f"Runs were parted into {groups} and each group was predicted from the others.",
        "split": f"The held-out data ({tested}) were predicted from the other runs.",
        "leave-one-stimulus-out": f"Films were held out in {groups}, wherever they were shown, and predicted from the "
        "others; volumes within the longest delay of a held-out film were not trained on.",
    }.get(scheme, "")
    if not how:
        return []
    return [
        how,
        _choice_of_alpha(encoding, scheme, {str(fold.get("inner_scheme")) for fold in made}),
        "No film was allowed to stand on both sides of a fold."
        if given.get("shared_films") == "refuse"
        else "Films shown in held-out data were left out of training.",
    ]


def _choice_of_alpha(encoding: Mapping[str, Any], scheme: str, inner: set[str]) -> str:
    """How the penalty was found; `inner` are the schemes of the inner folds, as far as they are known."""
    alphas = sequence_of(encoding, "alphas")
    if encoding.get("estimator") == "ols":
        return ""
    if len(alphas) == 1 and is_number(alphas[0]):
        return f"The penalty was fixed at {alphas[0]:g} ({encoding.get('alpha_unit', 'relative')})."
    whose = "of each voxel's read-out" if encoding.get("estimator") == "lstm" else "of each voxel"
    default = "films" if scheme == "leave-one-stimulus-out" else "leave-one-run-out"
    ways = {
        "leave-one-run-out": "one run at a time",
        "films": "groups of films",
        "blocks": "blocks of consecutive volumes",
    }
    found = [way for name, way in ways.items() if name in (inner & set(ways) or {default})]
    return (
        f"The regularisation {whose} was chosen within the training data by leaving out {' or '.join(found)}."
    )


_CEILINGS = {
    "pairs": "the mean correlation of the responses to a film in two runs",
    "split-half": "the correlation of two halves of the showings of a film with the formula of Spearman and Brown "
    "[@spearman1910; @brown1910]",
    "explainable-variance": "the explainable variance of the showings of a film, corrected for its bias [@sahani2003; "
    "@hsu2004]",
    "ncsnr": "the signal-to-noise ratio of the showings of a film [@allen2022]",
}


def noise_ceiling_sentences(summary: Mapping[str, Any]) -> list[str]:
    """How well any model could do."""
    if "noiseceiling" not in mapping_of(summary, "scores"):
        return []
    encoding = mapping_of(summary, "encoding")
    how = _CEILINGS.get(str(encoding.get("ceiling", "pairs")), "")
    found = "The noise ceiling was estimated from films that were shown in more than one run"
    floor = encoding.get("ceiling_floor")
    return [
        f"{found}, as {how}." if how else f"{found}.",
        f"Normalised r is r divided by the ceiling, where that is at least {floor:g}."
        if is_number(floor) and "rnorm" in mapping_of(summary, "scores")
        else "",
    ]


def comparison_sentences(summary: Mapping[str, Any]) -> list[str]:
    """What was compared: feature spaces, layers."""
    encoding = mapping_of(summary, "encoding")
    sentences = []
    if encoding.get("variance_partitioning"):
        sentences.append(
            "Held-out variance was partitioned over the feature spaces: by the product measure, whose parts sum to the "
            "joint R² [@dupre2022]; by unique R², the loss when a space is left out and the others are "
            "fitted anew with the same folds; and by partial R², the same as a share of what the others leave."
        )
    if encoding.get("layers"):
        sentences.append(
            "Each feature space, in the order of the layers, was fitted alone with the same folds. A voxel was "
            "assigned the layer with the highest held-out r [@wen2018], and the mean of the layers' numbers weighted "
            "by their positive r, where any layer was significant: its least p over layers times their number, at the "
            "false discovery rate over voxels."
        )
    return sentences


def significance_sentences(summary: Mapping[str, Any]) -> list[str]:
    """How r was tested."""
    encoding = mapping_of(summary, "encoding")
    n_permutations = encoding.get("n_permutations")
    if not is_number(n_permutations) or n_permutations <= 0:
        return []
    q = next((value for value in (summary.get("q"), encoding.get("q")) if is_number(value)), 0.05)
    coupled = mapping_of(encoding, "cross_validation").get("scheme") != "split"
    return [
        f"The null distribution of r came from {_permutations(encoding, int(n_permutations))}, which keeps the "
        "autocorrelation"
        + (
            "; permuted r were multiplied by √2, as folds that learn from each other's data let each pair of runs "
            "enter r twice"
            if coupled
            else ""
        )
        + "; p values count the observed value [@phipson2010].",
        f"The false discovery rate was controlled at q = {q:g} [@benjamini1995].",
        "Family-wise p values compare r with the largest permuted r of all voxels [@nichols2002]."
        if is_number(summary.get("n_family_wise"))
        else "",
    ]


def _permutations(encoding: Mapping[str, Any], count: int) -> str:
    if encoding.get("permutation_scheme") == "block":
        block = encoding.get("block_s")
        least = f" of at least {block:g} s and 20 volumes" if is_number(block) else ""
        return (
            f"{plural(count, 'permutation')} of blocks{least} of the predictions within runs [@winkler2015]"
        )
    shift = encoding.get("minimum_shift_s")
    least = f" by at least {shift:g} s" if is_number(shift) else ""
    return f"{plural(count, 'circular shift')} of the predictions within runs{least}"
