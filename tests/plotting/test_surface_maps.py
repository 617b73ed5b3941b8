"""Maps of vertices and grayordinates: the right vertices on the right surface, or a sentence."""

import json

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis

from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.plotting.colouring import category_scale
from cinebold.plotting.figure_set import NotDrawnError, figure_path
from cinebold.plotting.group_figures import draw_group_figures
from cinebold.plotting.meshes import inflated, mesh_for
from cinebold.plotting.participant_figures import draw_participant_figures
from cinebold.plotting.slices import statmap_slices
from cinebold.plotting.surface import statmap_surface


def pair(tmp_path, name, values):
    """A map on both hemispheres, the same values on each; the left file."""
    n = len(values)
    return SurfaceGeometry(np.ones(2 * n, bool), (n, n)).save_map(tmp_path / name, np.tile(values, 2))[0]


def posterior(n_vertices):
    """1 at the back of the left hemisphere, 0 at the front, by the coordinates of fsaverage5's nested vertices."""
    y = inflated("left").vertices[:n_vertices, 1]
    return (y.max() - y) / np.ptp(y)


def test_densities_of_fsaverage_show_the_same_picture(tmp_path):
    """Finer surfaces begin with the vertices of fsaverage5, whatever the others hold; coarser ones go to neighbours."""
    five = posterior(10_242)
    six = np.concatenate([five, np.full(40_962 - 10_242, 99)])
    pictures = [
        statmap_surface(
            pair(tmp_path, name, values), tmp_path / f"{name}.png", title="", vmax=1.0
        ).read_bytes()
        for name, values in (("five", five), ("six", six))
    ]
    assert pictures[0] == pictures[1]
    mesh, chosen = mesh_for(2_562, "left")
    assert (chosen[:2_562] == np.arange(2_562)).all() and len(chosen) == len(mesh.vertices) == 10_242
    assert np.abs(posterior(2_562)[chosen] - five).max() < 0.1


def test_own_surfaces_are_used_where_they_fit(tmp_path):
    n = 1_000
    with pytest.raises(NotDrawnError, match="1,000 vertices"):
        mesh_for(n, "left")
    vertices, triangles = inflated("left").vertices[:n], np.array([[0, 1, 2], [3, 4, 5]])
    paths = []
    for side in "LR":
        arrays = [
            nibabel.gifti.GiftiDataArray(vertices.astype(np.float32), "NIFTI_INTENT_POINTSET"),
            nibabel.gifti.GiftiDataArray(triangles.astype(np.int32), "NIFTI_INTENT_TRIANGLE"),
        ]
        paths.append(tmp_path / f"sub-1_hemi-{side}_midthickness.surf.gii")
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), paths[-1])
    mesh, chosen = mesh_for(n, "right", paths)
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-4)
    np.testing.assert_array_equal(chosen, np.arange(n))
    with pytest.raises(NotDrawnError, match="1,001 vertices"):
        mesh_for(1_001, "left", paths)


def test_grayordinates_are_drawn_on_both(tmp_path):
    """Cortex on the surface, as of a map of its vertices; voxels on slices."""
    n = 2_562
    cube = np.zeros((20, 24, 20), bool)
    cube[8:12, 10:14, 8:12] = True
    affine = np.array([[8.0, 0, 0, -76], [0, 8, 0, -110], [0, 0, 8, -70], [0, 0, 0, 1]])
    inside = np.arange(n) % 10 > 0
    axis = (
        BrainModelAxis.from_mask(inside, name="CortexLeft")
        + BrainModelAxis.from_mask(inside, name="CortexRight")
        + BrainModelAxis.from_mask(cube, name="BrainStem", affine=affine)
    )
    geometry = CiftiGeometry(np.ones(len(axis), bool), axis)
    values = np.concatenate([*[posterior(n)[inside]] * 2, np.linspace(0.5, 1, cube.sum())])
    (path,) = geometry.save_map(tmp_path / "r", values)
    alone = pair(tmp_path, "surface", np.where(inside, posterior(n), np.nan))
    drawn = [
        statmap_surface(p, tmp_path / f"{k}.png", title="", vmax=1.0) for k, p in enumerate((path, alone))
    ]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    voxels = geometry.volume(values)
    np.testing.assert_allclose(voxels.get_fdata()[cube], np.linspace(0.5, 1, cube.sum()), rtol=1e-6)
    nibabel.save(voxels, tmp_path / "voxels.nii.gz")
    both = (path, tmp_path / "voxels.nii.gz")
    drawn = [statmap_slices(p, tmp_path / f"{k}.png", title="", vmax=1.0) for k, p in enumerate(both)]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()


def test_figure_sets_of_surfaces_say_what_cannot_be_drawn(tmp_path):
    r = posterior(642) - 0.2
    maps = {"r": pair(tmp_path, "r", r), "q": pair(tmp_path, "q", np.where(r > 0.5, 0.01, 0.9))}
    draw_participant_figures(maps, out_prefix=tmp_path / "p", diagnostics={})
    listing = json.loads((tmp_path / "p_desc-figures_report.json").read_text())
    assert {"rsurface", "qsurface", "rhist"} <= set(listing["figures"])
    assert listing["not_made"]["qslices"] == "the map is one of vertices, which have no slices"
    draw_group_figures({**maps, "t": maps["r"]}, out_prefix=tmp_path / "g", n_participants=3)
    listing = json.loads((tmp_path / "g_desc-figures_report.json").read_text())
    assert {"rsurface", "qsurface", "tsurface", "rhist"} <= set(listing["figures"])
    odd = {"r": pair(tmp_path, "odd", np.linspace(0, 1, 1_000))}
    draw_participant_figures(odd, out_prefix=tmp_path / "odd", diagnostics={})
    listing = json.loads((tmp_path / "odd_desc-figures_report.json").read_text())
    assert (
        "no surface with 1,000 vertices" in listing["not_made"]["rsurface"] and "rhist" in listing["figures"]
    )


def test_scores_and_comparisons_of_vertices_are_drawn_on_the_surface(tmp_path):
    """What the model's maps say is drawn; the winning spaces are those of a map that is made by hand."""
    n = 642
    rising = posterior(n)
    winner = np.where(rising > 0.5, 2.0, 1.0)
    r = rising - 0.2
    maps = {name: pair(tmp_path, name, r) for name in ("r", "rsquared", "noiseceiling", "rnorm")}
    maps |= {f"unique-{s}": pair(tmp_path, f"u{k}", (winner == k) * 0.1) for k, s in enumerate("ab", 1)}
    maps["bestlayer"] = pair(tmp_path, "bestlayer", winner)
    draw_participant_figures(maps, out_prefix=tmp_path / "p", spaces=("a", "b"))
    listing = json.loads((tmp_path / "p_desc-figures_report.json").read_text())
    drawn = {key: facts for key, facts in listing["figures"].items() if key.endswith("surface")}
    assert set(drawn) == {
        f"{key}surface" for key in ("r", "rsquared", "ceiling", "rnorm", "uniquebest", "bestlayer")
    }
    assert {facts["surface"] for facts in drawn.values()} == {"the inflated fsaverage5 surface"}
    assert not any("failed" in reason for reason in listing["not_made"].values())
    counts = {"a": 2 * int((winner == 1).sum()), "b": 2 * int((winner == 2).sum())}
    assert drawn["uniquebestsurface"]["counts"] == drawn["bestlayersurface"]["counts"] == counts
    for key, title, unit, ordered in (
        ("uniquebest", "The feature space with the largest unique R²", "feature space", False),
        ("bestlayer", "The layer that predicts best", "layer", True),
    ):
        expected = statmap_surface(
            maps["bestlayer"], tmp_path / "expected.png", title=title, unit=unit,
            scale=category_scale(("a", "b"), ordered=ordered),
        )  # fmt: skip
        assert figure_path(tmp_path / "p", f"{key}surface").read_bytes() == expected.read_bytes()
