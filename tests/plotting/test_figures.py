"""Every figure: a picture of the expected size, the same bytes twice, and no trouble with odd input."""

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from cinebold.errors import InputError
from cinebold.plotting.colouring import ColourScale, RangeScale, category_scale, scale_for
from cinebold.plotting.curves import alpha_histogram, delay_profile, score_histogram
from cinebold.plotting.design import design_figure, stretches
from cinebold.plotting.motion import MotionTrace, motion_figure
from cinebold.plotting.participant_figures import draw_participant_figures
from cinebold.plotting.slices import statmap_slices
from cinebold.plotting.surface import categories_on_surface, sampled_on_surface, statmap_surface
from cinebold.plotting.words import wordcloud_figure, worth_reading

AFFINE = np.array([[8.0, 0, 0, -72], [0, 8, 0, -108], [0, 0, 8, -64], [0, 0, 0, 1]])
SHAPE = (19, 23, 19)


@pytest.fixture
def stat_map(tmp_path):
    """Values rise towards the back of the head; outside a ball there are none."""
    x, y, z = np.meshgrid(*(AFFINE[i, 3] + 8 * np.arange(n) for i, n in enumerate(SHAPE)), indexing="ij")
    values = np.where((x / 70) ** 2 + ((y + 18) / 90) ** 2 + (z / 70) ** 2 < 1, -y / 200, np.nan)
    nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), tmp_path / "r.nii.gz")
    nib.save(nib.Nifti1Image(np.where(values > 0.2, 0.01, 0.9), AFFINE), tmp_path / "q.nii.gz")
    return tmp_path / "r.nii.gz"


def _picture(path, largest=400_000):
    assert 1000 < path.stat().st_size < largest
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB"
        assert image.info == {}  # no date, no version
        return np.asarray(image)


def _twice(tmp_path, draw, *arguments, **options):
    first, second = (draw(*arguments, out_png=tmp_path / name, **options) for name in ("1.png", "2.png"))
    assert first.read_bytes() == second.read_bytes()
    return _picture(first)


def _share_of_colour(picture):
    """The share of pixels that are clearly not grey."""
    return (np.ptp(picture.astype(int), axis=-1) > 60).mean()


class TestMaps:
    def test_slices(self, stat_map, tmp_path):
        picture = _twice(
            tmp_path,
            statmap_slices,
            stat_map,
            title="r",
            unit="r",
            threshold=0.1,
            q_image=tmp_path / "q.nii.gz",
        )
        assert picture.shape[1] == 1102
        assert 0.02 < _share_of_colour(picture) < 0.5

    def test_only_significant_voxels_are_coloured(self, stat_map, tmp_path):
        options = {"title": "r", "vmax": 0.5, "q_image": tmp_path / "q.nii.gz"}
        everything = _picture(statmap_slices(stat_map, tmp_path / "a.png", **options))
        significant = _picture(statmap_slices(stat_map, tmp_path / "b.png", **options, only_significant=True))
        assert _share_of_colour(significant) < 0.8 * _share_of_colour(everything)

    def test_negative_values_are_drawn_when_symmetric_only(self, stat_map, tmp_path):
        image = nib.load(stat_map)
        negative = tmp_path / "negative.nii.gz"
        nib.save(nib.Nifti1Image(-np.abs(image.get_fdata()), AFFINE), negative)
        for draw in (statmap_slices, statmap_surface):
            without = _picture(draw(negative, tmp_path / "a.png", title="", vmax=0.5))
            with_ = _picture(draw(negative, tmp_path / "b.png", title="", vmax=0.5, symmetric=True))
            assert _share_of_colour(with_) > 3 * _share_of_colour(without)

    def test_surface(self, stat_map, tmp_path):
        picture = _twice(tmp_path, statmap_surface, stat_map, title="r", unit="r", threshold=0.1)
        assert picture.shape == (299, 1352, 3)
        assert 0.02 < _share_of_colour(picture) < 0.7

    @pytest.mark.parametrize("hemisphere", ["left", "right"])
    def test_surface_values_are_those_of_the_volume(self, stat_map, hemisphere):
        from nilearn.datasets import fetch_surf_fsaverage
        from nilearn.surface import load_surf_mesh

        image = nib.load(stat_map)
        found = sampled_on_surface(image.get_fdata(dtype=np.float32), image.affine, hemisphere)
        y = load_surf_mesh(fetch_surf_fsaverage("fsaverage5")[f"pial_{hemisphere}"]).coordinates[:, 1]
        assert np.isfinite(found).mean() > 0.8
        # Missing neighbours have no weight: every value is within 1.5 voxels (12 mm) of the plane.
        assert np.nanmax(np.abs(found + y / 200)) < 12 / 200

    @pytest.mark.parametrize("fill", [np.nan, 0.0, -1.0])
    def test_nothing_to_show(self, tmp_path, fill):
        path = tmp_path / "r.nii.gz"
        nib.save(nib.Nifti1Image(np.full(SHAPE, fill, dtype=np.float32), AFFINE), path)
        for draw in (statmap_slices, statmap_surface):
            assert _share_of_colour(_picture(draw(path, tmp_path / "a.png", title="empty"))) < 0.02

    def test_four_dimensions_are_refused(self, tmp_path):
        path = tmp_path / "r.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.float32), AFFINE), path)
        with pytest.raises(InputError, match="3-D map is expected"):
            statmap_slices(path, tmp_path / "a.png", title="")
        assert not (tmp_path / "a.png").exists()

    def test_q_on_another_grid_is_refused(self, stat_map, tmp_path):
        path = tmp_path / "other.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.float32), AFFINE), path)
        for draw in (statmap_slices, statmap_surface):
            with pytest.raises(InputError, match="grid"):
                draw(stat_map, tmp_path / "a.png", title="", q_image=path)

    def test_categories_keep_their_colours_and_never_mix(self, stat_map, tmp_path):
        """A third category between two others would be the mean of their numbers: it must not appear."""
        image = nib.load(stat_map)
        values = image.get_fdata()
        halves = np.where(np.isfinite(values), np.where(values > 0.1, 3.0, 1.0), np.nan)
        nib.save(nib.Nifti1Image(halves.astype(np.float32), AFFINE), tmp_path / "best.nii.gz")
        scale = category_scale(["a", "b", "c"], ordered=False)
        for draw in (statmap_slices, statmap_surface):
            picture = _twice(
                tmp_path, draw, tmp_path / "best.nii.gz", title="best", unit="space", scale=scale
            )
            counts = [_pixels_near(picture, colour) for colour in scale.colours]
            if draw is statmap_slices:  # on a surface colours are shaded
                bar = counts[1]  # of the colour bar alone
                assert counts[0] > 5 * bar and counts[2] > 5 * bar
        template_values = categories_on_surface(halves, AFFINE, "left", 3)
        assert set(template_values[np.isfinite(template_values)]) == {1.0, 3.0}


def _pixels_near(picture, colour):
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=-1) < 12).sum())


class TestColours:
    def test_categories_have_colours_and_others_have_none(self):
        scale = category_scale(["conv1", "conv2"], ordered=True)
        colours = scale.rgba(np.array([1.0, 2.0, np.nan, 0.0, 3.0]))
        assert colours[:, 3].tolist() == [1, 1, 0, 0, 0]
        assert not np.allclose(colours[0], colours[1])
        many = category_scale([str(k) for k in range(40)], ordered=False)
        assert len(many.colours) == 40

    def test_a_range_has_its_ends(self):
        scale = RangeScale(1, 8)
        colours = scale.rgba(np.array([1.0, 8.0, 9.0, np.nan]))
        assert colours[:, 3].tolist() == [1, 1, 1, 0]
        np.testing.assert_allclose(colours[1], colours[2])

    def test_scale_comes_from_the_values(self):
        values = np.r_[np.linspace(-1, 0.4321, 10_001), np.nan]
        assert scale_for(values, threshold=None, vmax=None, symmetric=False).vmax == 0.44
        assert scale_for(values, threshold=None, vmax=None, symmetric=True).vmax == 1.0
        assert scale_for(values, threshold=5.0, vmax=2.0, symmetric=False).threshold == 2.0
        assert scale_for(np.full(3, np.nan), threshold=None, vmax=None, symmetric=False).vmax == 1.0

    def test_opacity_rises_to_the_threshold(self):
        scale = ColourScale(vmax=1.0, threshold=0.5, symmetric=True)
        opacity = scale.rgba(np.array([np.nan, 0, 0.25, -0.25, 0.5, -0.5, 2]))[:, 3]
        np.testing.assert_allclose(opacity, [0, 0, 0.25, 0.25, 1, 1, 1])
        assert ColourScale(vmax=1.0).rgba(np.array([-0.5, 0.5]))[:, 3].tolist() == [0, 1]

    def test_signs_are_told_apart(self):
        scale = ColourScale(vmax=1.0, symmetric=True)
        below, above = scale.rgba(np.array([-0.7, 0.7]))[:, :3]
        assert below[2] > above[2] + 0.3 and above[0] > below[0] + 0.3


class TestCurves:
    def test_score_histogram(self, tmp_path):
        values = np.r_[np.random.default_rng(0).normal(0, 0.05, 5000), np.linspace(0.1, 0.8, 200), np.nan]
        picture = _twice(
            tmp_path, score_histogram, values, title="r", xlabel="r", significant=values > 0.2,
            null_values=np.random.default_rng(1).normal(0, 0.05, 999),
        )  # fmt: skip
        assert picture.shape == (403, 806, 3)

    @pytest.mark.parametrize("values", [[], [np.nan], [0.3], [0.0, 0.0]])
    def test_score_histogram_of_little(self, tmp_path, values):
        _picture(score_histogram(np.array(values), tmp_path / "a.png", title="r", xlabel="r"))

    def test_alpha_histogram(self, tmp_path):
        grid = np.logspace(-4, 5, 19)
        alphas = np.random.default_rng(0).choice(grid, 1000).astype(np.float32)  # as they come from a map
        assert _twice(tmp_path, alpha_histogram, alphas, grid).shape == (403, 806, 3)

    @pytest.mark.parametrize(
        "alphas, grid", [([], []), ([np.nan], [1, 10]), ([1, 1], []), ([0.0, 1.0], [0.0, 1.0])]
    )
    def test_alpha_histogram_of_little(self, tmp_path, alphas, grid):
        _picture(alpha_histogram(np.array(alphas), grid, tmp_path / "a.png"))

    @pytest.mark.parametrize("n_delays", [1, 4])
    def test_delay_profile(self, tmp_path, n_delays):
        rms = np.random.default_rng(0).random((8, n_delays))
        rms[2] = 0
        rms[3] = np.nan
        delays = 2.0 * np.arange(1, n_delays + 1)
        _twice(tmp_path, delay_profile, rms, delays, spaces=[f"space{i}" for i in range(8)])


class TestDesign:
    def test_curves_images_and_gaps(self, tmp_path):
        rng = np.random.default_rng(0)
        has_film = np.r_[np.zeros(5, bool), np.ones(40, bool), np.zeros(5, bool)]
        keep = np.ones(50, dtype=bool)
        keep[:2] = False
        columns = {
            "few": rng.normal(size=(50, 3)),
            "many": rng.normal(size=(50, 30)),
            "flat": np.zeros((50, 1)),
        }
        picture = _twice(
            tmp_path, design_figure, 2.0 * np.arange(50), columns, has_film, [("a $film$.mp4", 10, 90)],
            title="run-1", keep=keep,
        )  # fmt: skip
        assert picture.shape[1] == 1170

    def test_run_without_film(self, tmp_path):
        nothing = np.zeros(10, dtype=bool)
        _picture(
            design_figure(
                np.arange(10.0), {"a": np.ones((10, 1))}, nothing, [], tmp_path / "a.png", title="r"
            )
        )

    def test_stretches(self):
        flags = np.random.default_rng(0).random(200) > 0.5
        rebuilt = np.zeros(200, dtype=bool)
        for start, end in stretches(flags):
            assert not rebuilt[start:end].any()
            rebuilt[start:end] = True
        np.testing.assert_array_equal(rebuilt, flags)


class TestWords:
    @pytest.mark.parametrize("n_names", [5, 400])
    def test_clouds(self, tmp_path, n_names):
        weights = np.random.default_rng(0).normal(size=n_names)
        loadings = {f"action number {chr(97 + i % 26)}{i}": w for i, w in enumerate(weights)}
        picture = _twice(tmp_path, wordcloud_figure, loadings, title="component 00")
        assert picture.shape[1] == 1170
        for half, warm in ((picture[:, :585], True), (picture[:, 585:], False)):
            words = half[half.min(axis=-1) < 120].astype(int)  # title, headings and words
            coloured = words[np.ptp(words, axis=1) > 60]
            assert ((coloured[:, 0] > coloured[:, 2]) == warm).mean() > 0.95

    @pytest.mark.parametrize("loadings", [{}, {"a": np.nan}, {"a": 0.0}, {"only": 1.0}, {"$x^$": -1.0}])
    def test_little_to_say(self, tmp_path, loadings):
        _picture(wordcloud_figure(loadings, tmp_path / "a.png", title="t"))

    def test_order_of_names_does_not_matter(self, tmp_path):
        loadings = {f"name {chr(97 + i)}": w for i, w in enumerate(np.linspace(-1, 1, 26))}
        a = wordcloud_figure(loadings, tmp_path / "a.png", title="t")
        b = wordcloud_figure(dict(reversed(loadings.items())), tmp_path / "b.png", title="t")
        assert a.read_bytes() == b.read_bytes()

    def test_worth_reading(self):
        assert worth_reading(["luminance", "contrast"])
        assert not worth_reading(["channel_0001", "channel_0002", "channel_0003"])
        assert not worth_reading([])


def test_user_settings_neither_matter_nor_change(tmp_path):
    import matplotlib

    def draw(name):
        return delay_profile(np.ones((1, 2)), [2, 4], tmp_path / name, spaces=["a"]).read_bytes()

    usual = draw("a.png")
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert draw("b.png") == usual
        assert dict(matplotlib.rcParams) == before


def test_a_failed_figure_leaves_nothing(tmp_path):
    with pytest.raises(IndexError):
        design_figure(
            np.arange(3.0), {"a": np.ones((4, 1))}, np.ones(3, bool), [], tmp_path / "a.png", title=""
        )
    assert not list(tmp_path.iterdir())


def test_motion_is_drawn_where_it_is_known(tmp_path):
    """A row a run; the bands lie over the volumes that are left out, and nothing is drawn where nothing is known."""
    fd = [None, *[0.1] * 19]
    summaries = [{"n_volumes": 20, "fd_mm": fd, "left_out": left_out} for left_out in ([], [*range(10, 20)])]
    drawn = [
        _picture(motion_figure([MotionTrace.of_summary("run-1", 2.0, one)], tmp_path / f"{k}.png"))
        for k, one in enumerate(summaries)
    ]
    columns = np.flatnonzero((drawn[0] != drawn[1]).any(axis=(0, 2)))
    width = drawn[0].shape[1]
    assert width * 0.48 < columns.min() < width * 0.56 and columns.max() > width * 0.95
    unknown = MotionTrace.of_summary("run-2", 2.0, {"n_volumes": 20, "fd_mm": None, "left_out": []})
    known = MotionTrace.of_summary("run-1", 2.0, summaries[1])
    for motion, expected in (([known, unknown], {"n_runs": 2, "n_left_out": 10}), ([unknown], None)):
        draw_participant_figures({}, out_prefix=tmp_path / "p", motion=motion)
        listing = json.loads((tmp_path / "p_desc-figures_report.json").read_text())
        assert listing["figures"].get("motion") == expected
    assert "framewise displacement" in listing["not_made"]["motion"]
