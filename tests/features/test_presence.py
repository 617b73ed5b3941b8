"""Whether a film is shown: on film time, on the volumes of a run, and in a model."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.design.alignment import Showing, build_run_design
from cinebold.design.delays import delayed
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import SettingError
from cinebold.features.registry import create_extractor
from cinebold.video.decoding import FilmInfo


def presence(duration_s, **parameters):
    info = FilmInfo("a.mp4", 16, 16, 0, np.arange(0, duration_s, 0.04), duration_s, 25.0)
    return create_extractor("presence", parameters).start(info).finish()


def runs(tr_s, n_volumes, showings, low_pass="lanczos"):
    """Designs with the presence and three columns of noise; `showings`: onset, duration, offset."""
    rng, designs = np.random.default_rng(0), []
    for run in range(3):
        shown = []
        for film, (onset_s, duration_s, offset_s) in enumerate(showings):
            here = presence(120.0)
            noise = presence(120.0, hop_s=tr_s / 2)
            series = {"presence": here, "noise": _with(noise, rng.normal(size=(len(noise.times_s), 3)))}
            shown.append(Showing(f"film {run} {film}", onset_s, duration_s, offset_s, series))
        designs.append(build_run_design(f"run-{run}", n_volumes, tr_s, None, shown, low_pass=low_pass)[0])
    return designs


def _with(series, values):
    return replace(series, values=values, names=tuple("xyz"))


def test_one_column_of_ones_to_the_end_of_the_film():
    series = presence(2.34, hop_s=0.5)
    np.testing.assert_array_equal(series.values, np.ones((5, 1)))
    np.testing.assert_allclose(series.times_s, [0.25, 0.75, 1.25, 1.75, 2.25])
    np.testing.assert_allclose(series.pad_fraction, [0, 0, 0, 0, 0.32], atol=1e-6)
    assert series.names == ("film",)
    with pytest.raises(SettingError, match="hop_s must be above 0"):
        create_extractor("presence", {"hop_s": 0})


@pytest.mark.parametrize("low_pass", ["lanczos", "box"])
@pytest.mark.parametrize("tr_s", [0.7, 2.0])
def test_on_the_volumes_it_is_1_where_a_film_is_shown_and_0_elsewhere(tr_s, low_pass):
    showings = [(8.3, 30.0, 0.0), (60.0, None, 75.5)]
    design, warnings = build_run_design(
        "run-1", int(130 / tr_s), tr_s, None, runs_showings(showings), low_pass=low_pass
    )
    assert not any("aliased" in text for text in warnings)
    times_s = (np.arange(int(130 / tr_s)) + 0.5) * tr_s
    shown = ((times_s >= 8.3) & (times_s < 38.3)) | ((times_s >= 60) & (times_s < 60 + 44.5))
    np.testing.assert_allclose(design.features["presence"][:, 0], shown, atol=1e-12, rtol=0)


def runs_showings(showings):
    return [Showing("one film", *times, {"presence": presence(120.0)}) for times in showings]


@pytest.mark.parametrize("estimator", ["ridge", "banded_ridge", "lasso", "ols"])
@pytest.mark.parametrize("standardise", ["features", "volumes"])
@pytest.mark.parametrize(
    "showings", [[(8.0, 40.0, 0.0), (70.0, 40.0, 0.0)], [(0.0, None, 0.0)]], ids=["gaps", "always"]
)
def test_a_response_to_the_film_as_such_is_found(estimator, standardise, showings):
    """Where the film is always on, the column is 1 from the delay on: it still tells the start of the run."""
    designs = runs(2.0, 60, showings)
    rng, delays = np.random.default_rng(1), (0, 1, 2, 3)
    responses = []
    for design in designs:
        drive = delayed(design.features["presence"], (2, 3)).sum(axis=1)
        both = np.stack([drive + 0.2 * rng.normal(size=60), rng.normal(size=60)], axis=1)
        responses.append((both - both.mean(axis=0)) / both.std(axis=0))
    settings = EncodingSettings(estimator=estimator, standardise=standardise, n_permutations=0)
    result = fit_encoding_model(designs, responses, settings, [2.0 * delay for delay in delays])
    r = result.maps["r"]
    assert r[0] > 0.6 and abs(r[1]) < 0.4
    assert np.isfinite(result.maps["rsquared"]).all()


@pytest.mark.parametrize("estimator", ["ridge", "banded_ridge", "lasso", "ols"])
@pytest.mark.parametrize("with_nuisance", [False, True])
def test_a_column_that_never_changes_has_no_weight(estimator, with_nuisance):
    """A film that is always on, without a delay: the mean of the run, which responses have lost."""
    designs = runs(2.0, 60, [(0.0, None, 0.0)])
    if with_nuisance:
        drift = np.linalg.qr(np.stack([np.ones(60), np.cos(np.pi * (np.arange(60) + 0.5) / 60)], axis=1))[0]
        designs = [replace(design, nuisance=drift) for design in designs]
    rng = np.random.default_rng(1)
    responses = [design.features["noise"] @ np.ones((3, 2)) + rng.normal(size=(60, 2)) for design in designs]
    settings = EncodingSettings(estimator=estimator, n_permutations=0)
    result = fit_encoding_model(designs, responses, settings, [0.0])
    assert (np.abs(result.model.weights["presence"]) < 1e-9).all()
    assert (result.maps["r"] > 0.6).all()
