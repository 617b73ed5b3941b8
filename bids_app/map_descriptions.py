"""What each map is, in the words of its sidecar; docs/outputs.md says the same."""

#: By the `stat-` label, with `_desc` where the file names a feature space or a model.
STATISTICS: dict[str, dict[str, str]] = {
    "r": {
        "Description": "Pearson correlation of predicted and measured responses in held-out data, the mean over runs "
        "weighted by their volumes",
        "Units": "arbitrary",
    },
    "r_desc": {
        "Description": "The same of the model that `desc` names alone: one feature space, or ridge regression beside "
        "an LSTM",
        "Units": "arbitrary",
    },
    "rsquared": {
        "Description": "Coefficient of determination (1 - SSE/SST) pooled over the held-out runs, each centred on its "
        "mean; it can be negative",
        "Units": "arbitrary",
    },
    "rsquared_desc": {
        "Description": "The same of the model that `desc` names alone: ridge regression beside an LSTM",
        "Units": "arbitrary",
    },
    "rnorm": {
        "Description": "r divided by the noise ceiling, where that is at least ceiling_floor; not clipped",
        "Units": "arbitrary",
    },
    "alpha": {
        "Description": "Chosen penalty of the model fitted to all training data, in units of alpha_unit",
        "Units": "arbitrary",
    },
    "gamma": {
        "Description": "Share of the feature space in the penalty of banded ridge, of the model fitted to all training "
        "data; the shares of a voxel sum to one",
        "Units": "arbitrary",
    },
    "p": {
        "Description": "One-sided p value of r under permutations of the predictions within the runs, permuted r "
        "multiplied by sqrt(2) where folds learn from each other's data"
    },
    "p_desc": {"Description": "The same of the model of the feature space alone"},
    "pfwe": {
        "Description": "One-sided p value of r against the largest permuted r of all analysed voxels, which controls "
        "the family-wise error"
    },
    "q": {"Description": "Benjamini-Hochberg adjusted p value over the analysed voxels"},
    "z": {"Description": "Normal quantile of 1 - p"},
    "noiseceiling": {
        "Description": "Highest r that a single showing allows, from the agreement of responses to repeated showings "
        "of a film, estimated as `ceiling` says",
        "Units": "arbitrary",
    },
    "product": {
        "Description": "Part of the feature space in the held-out R2 of the joint model (product measure); the parts "
        "sum to stat-rsquared",
        "Units": "arbitrary",
    },
    "unique": {
        "Description": "Held-out R2 of all feature spaces less that of the model fitted without the feature space",
        "Units": "arbitrary",
    },
    "partial": {
        "Description": "Share of the error of the model without the feature space that the feature space takes away",
        "Units": "arbitrary",
    },
    "bestlayer": {
        "Description": "Number of the feature space (1, 2, ... in the order of FeatureSpaces) whose own model has the "
        "highest held-out r, where any is significant",
        "Units": "arbitrary",
    },
    "centrelayer": {
        "Description": "Mean of the numbers of the feature spaces weighted by their positive held-out r, where any is "
        "significant",
        "Units": "arbitrary",
    },
    "weight": {
        "Description": "Weights of a feature space's components, summed over the delays; the fourth axis is the "
        "component"
    },
}

#: The same for the group level.
GROUP_STATISTICS: dict[str, dict[str, str]] = {
    "r": {"Description": "Mean held-out r over the participants, through Fisher's z", "Units": "arbitrary"},
    "weight": {"Description": "Mean weights over the participants; the fourth axis is the component"},
    "t": {"Description": "One-sample t statistic across participants, of Fisher's z of r or of the weights"},
    "p": {"Description": "Two-sided p value of t"},
    "q": {"Description": "Benjamini-Hochberg adjusted p value, within each component"},
}
