"""The stage that makes responses of clips: what it takes from the run and from its design."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cinebold.bold.clip_responses import METHODS, ClipModel
from workflows.interfaces.clips import EstimateClipResponses
from workflows.specifications import ClipPreparation, Presentation, Run, to_json

TR_S, N_VOLUMES = 2.0, 120
LENGTH_S = 7.0


def a_run(duration_s, **others):
    shown = tuple(
        Presentation("/films/a.mp4", "a.mp4", onset_s, duration_s, film_offset_s=1.0)
        for onset_s in np.arange(8.0, 200.0, 16.0)
    )
    names = {"label": "run-1", "entities": {}, "bold": "b", "brain_mask": None, "confounds": "c"}
    return Run(**names, tr_s=TR_S, n_volumes=N_VOLUMES, shape=(1,), presentations=shown, **others)


@pytest.fixture
def estimate(tmp_path, monkeypatch):
    """Responses of a run by a method."""
    rng = np.random.default_rng(0)
    arrays = {
        "responses": rng.normal(size=(N_VOLUMES, 5)).astype(np.float32),
        "keep": np.ones(N_VOLUMES, bool),
        "nuisance": rng.normal(size=(N_VOLUMES, 2)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    design = tmp_path / "summary.json"
    design.write_text(json.dumps({"film_duration_s": {"a.mp4": LENGTH_S}}))

    def work(run, method="lss"):
        folder = tmp_path / "node"
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        stage = EstimateClipResponses(
            **{name: str(tmp_path / f"{name}.npy") for name in arrays},
            run_json=to_json(run),
            clips_json=to_json(ClipPreparation(ClipModel(method))),
            design_summary=str(design),
        )
        return np.load(stage.run().outputs.responses)

    return work


def test_a_clip_without_a_duration_lasts_until_the_film_ends(estimate):
    found, expected = estimate(a_run(None)), estimate(a_run(LENGTH_S - 1.0))
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - estimate(a_run(0.1))).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_events_without_a_clip_are_taken_out_and_need_no_response(estimate, method):
    run = a_run(3.0)
    alone = estimate(run, method)
    beyond = estimate(replace(run, other_events_s=((9999.0, 1.0),)), method)
    np.testing.assert_array_equal(beyond, alone)
    beside = estimate(replace(run, other_events_s=((30.0, 1.0), (9999.0, 1.0))), method)
    assert (np.abs(beside - alone).max() > 1e-4) == (method != "fir")
