"""Figures of a film: a film with planted cuts, pictures and classes."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from cinebold.features.low_level import LowLevel, LowLevelParameters
from cinebold.features.scenes import names_classes, scenes_between, top_classes
from cinebold.features.series import FeatureSeries
from cinebold.features.store import ensure_features, write_features
from cinebold.plotting.film_figures import ensure_film_figures
from cinebold.plotting.film_rows import rows_of
from cinebold.plotting.thumbnails import glimpses

LEVELS = (20, 200, 90, 240)  #: of the four scenes, 2 s each
DURATION_S, SCENE_S = 8.0, 2.0
CLASSES = tuple(f"{a}{b}ing" for a in "bcdfg" for b in "aeiou")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four scenes of one grey each, wide pictures, 10 frames a second."""
    import av

    path = tmp_path_factory.mktemp("film") / "grey $x_1$.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 36, 64, "yuv444p"
        for number in range(80):
            picture = np.full((36, 64, 3), LEVELS[number // 20], dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def series_of(values, names, key="k"):
    n = len(values)
    hop_s = DURATION_S / n
    return FeatureSeries(
        np.asarray(values, dtype=np.float32), (np.arange(n) + 0.5) * hop_s, tuple(names), np.zeros(n, np.float32),
        DURATION_S, {"extractor": "x", "key": key},
    )  # fmt: skip


def class_series(key="k"):
    """In scene i the class 5 i scores highest, then 5 i + 1, then 5 i + 2; everything else is noise below."""
    values = np.random.default_rng(0).uniform(0, 1, (16, len(CLASSES)))
    for scene in range(4):
        values[4 * scene : 4 * scene + 4, 5 * scene : 5 * scene + 3] = (9, 7, 5)
    return series_of(values, CLASSES, key)


@pytest.mark.parametrize("measure_cuts", [True, False])
def test_pictures_at_even_times_and_cuts_are_the_planted_ones(film, measure_cuts):
    seen = glimpses(film, strip_width=15, height=18, measure_cuts=measure_cuts)
    assert len(seen.thumbnails) == 8  # 15 heights hold eight pictures of 16:9
    for one, wanted_s in zip(seen.thumbnails, np.arange(8) + 0.5, strict=True):
        assert one.time_s == pytest.approx(wanted_s)
        assert one.picture.shape == (18, 32, 3)
        assert abs(one.picture.mean() - LEVELS[int(wanted_s // SCENE_S)]) < 3
    if measure_cuts:
        cuts = seen.low_level.times_s[seen.low_level.values[:, 4] > 0]
        assert cuts == pytest.approx([2.25, 4.25, 6.25])  # the bins that begin with a cut
    else:
        assert seen.low_level is None


def test_figures_scenes_and_classes_of_a_film(film, tmp_path):
    low_level = tmp_path / "low.h5"
    ensure_features(film, {low_level: LowLevel(LowLevelParameters())})
    for key in ("a", "b"):
        write_features(tmp_path / f"{key}.h5", class_series(key))
    write_features(tmp_path / "whole.h5", series_of(np.ones((1, 30)), [f"unit {i}" for i in range(30)]))

    def draw(name, key="a", low=low_level, source=film):
        spaces = {"classes": tmp_path / f"{key}.h5", "whole": tmp_path / "whole.h5"}
        files = ensure_film_figures(
            source, spaces | ({"low": low} if low else {}), out_prefix=tmp_path / name / "f", film_name="f.mp4",
            recipe="r",
        )  # fmt: skip
        assert sorted(map(str, (tmp_path / name).iterdir())) == sorted(files)
        return {path.rpartition("desc-")[2]: path for path in files}, json.loads(open(files[-1]).read())

    files, listing = draw("one")
    assert list(listing["figures"]) == ["filmstrip", "courses"] and listing["not_made"] == {}
    facts = listing["figures"]["courses"]
    assert facts["one_window"] == ["whole"] and set(facts["shown"]) == {"classes", "low"}
    assert [(s["start_s"], s["end_s"]) for s in listing["about"]["scenes"]] == [
        (0.0, 2.25), (2.25, 4.25), (4.25, 6.25), (6.25, 8.0),
    ]  # fmt: skip
    for number, scene in enumerate(listing["about"]["scenes"]):
        best = [one["name"] for one in scene["classes"]["classes"]]
        assert best == list(CLASSES[5 * number : 5 * number + 3])
    strip = np.asarray(Image.open(files["filmstrip_figure.png"]))
    for level in LEVELS:  # every scene is in the strip
        assert (np.abs(strip.astype(int) - level).max(axis=2) < 4).sum() > 1000

    again, _ = draw("two")
    assert all(open(path, "rb").read() == open(files[name], "rb").read() for name, path in again.items())
    before = {name: open(path, "rb").read() for name, path in files.items()}
    mtimes = {path: (tmp_path / path).stat().st_mtime_ns for path in files.values()}
    draw("one")
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in files.values()} == mtimes
    files, listing = draw("one", key="b")  # other features: drawn anew
    assert listing["about"]["key"] not in before["figures_report.json"].decode()
    (tmp_path / "one" / "f_desc-courses_figure.png").unlink()
    draw("one", key="b")  # a figure that somebody deleted comes back
    without, about = draw("three", low=None)  # cuts are measured on the way
    assert about["figures"]["filmstrip"]["n_cuts"] == 3
    assert open(without["filmstrip_figure.png"], "rb").read() == before["filmstrip_figure.png"]


def test_a_film_that_cannot_be_decoded_keeps_its_other_figures(film, tmp_path):
    write_features(tmp_path / "c.h5", class_series())
    (tmp_path / "bad.mp4").write_bytes(b"no film")

    def draw(path):
        files = ensure_film_figures(
            path, {"c": tmp_path / "c.h5"}, out_prefix=tmp_path / "f", film_name="f.mp4", recipe="r"
        )
        return json.loads(open(files[-1]).read())

    listing = draw(tmp_path / "bad.mp4")
    assert list(listing["figures"]) == ["courses"]
    assert "InputError" in listing["not_made"]["filmstrip"]
    assert list(draw(film)["figures"]) == ["filmstrip", "courses"]  # what failed is tried again


def test_rows_are_classes_by_their_peaks_or_the_components_of_the_film():
    rows = rows_of(class_series())
    assert len(rows.names) == 10 and "10 of 25 classes" in rows.what
    peaks = rows.values.argmax(axis=0)
    assert (np.diff(peaks) >= 0).all()
    assert {CLASSES[5 * scene] for scene in range(4)} <= set(rows.names)

    rng = np.random.default_rng(1)
    values = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 40)) + 0.1 * rng.normal(size=(60, 40))
    rows = rows_of(series_of(values, [f"unit {i}" for i in range(40)]))
    values = values.astype(np.float32).astype(float)
    expected = PCA(8, svd_solver="full").fit((values - values.mean(0)) / values.std(0))
    scores = expected.transform((values - values.mean(0)) / values.std(0))
    for k in range(3):
        assert abs(np.corrcoef(rows.values[:, k], scores[:, k])[0, 1]) > 1 - 1e-6
        assert rows.names[k] == f"pc {k + 1}, {100 * expected.explained_variance_ratio_[k]:.0f} %"

    long = rows_of(series_of(np.arange(2001.0)[:, None] * [1, 2], ["a", "b"]))
    assert len(long.times_s) == 334 and long.are_curves and "2,001 windows averaged to 334" in long.what
    np.testing.assert_allclose(long.values[:2, 0], [2.5, 8.5])
    with pytest.raises(ValueError, match="one window"):
        rows_of(series_of(np.ones((1, 3)), "abc"))


def test_many_cuts_leave_the_longest_scenes_and_short_ones_have_classes():
    cuts = np.cumsum(np.r_[np.full(30, 0.1), 1.0, 0.1, 2.0])
    scenes = scenes_between(cuts, 8.0, most=3)
    assert np.ptp(scenes, axis=1) == pytest.approx([1.0, 2.0, 8.0 - cuts[-1]])
    assert scenes_between([], 8.0, most=3) == [(0.0, 8.0)]
    short = top_classes(class_series(), [(2.6, 2.7)], n=1)  # between two windows: the nearest
    assert short[0][0]["name"] == CLASSES[5]
    assert not names_classes(["luminance", "contrast"]) and names_classes(CLASSES)
