"""An atlas from the command line: parcels that were planted are found, and the others are not."""

import csv
import json

import nibabel
import numpy as np
import pytest

from cinebold.simulate.truth import FOLDER

pytestmark = pytest.mark.slow

PLANTED, BESIDE, ABSENT = range(1, 5), 8, 12


@pytest.fixture
def atlas(simulated, tmp_path):
    """The planted regions, a parcel without signal, and the name of one that is not there."""
    (path,) = (simulated / FOLDER).glob("*_desc-planted_dseg.nii.gz")
    image = nibabel.load(path)
    labels = np.asarray(image.dataobj).astype(np.int16)
    (brain, *_) = (simulated / "derivatives/fmriprep/sub-01/func").glob("*_desc-brain_mask.nii.gz")
    labels[(np.asarray(nibabel.load(brain).dataobj) > 0) & (labels == 0)] = BESIDE
    own = tmp_path / "tpl-MNI152NLin2009cAsym_atlas-Planted_dseg.nii.gz"
    nibabel.Nifti1Image(labels, image.affine).to_filename(own)
    table = path.with_name(path.name.replace(".nii.gz", ".tsv")).read_text().rstrip("\n")
    rows = [line.split("\t")[:2] for line in table.splitlines()]
    rows += [[str(BESIDE), "beside"], [str(ABSENT), "nowhere"]]
    own.with_name(own.name.replace(".nii.gz", ".tsv")).write_text(
        "".join("\t".join(row) + "\n" for row in rows)
    )
    return own


def test_planted_parcels_are_found(simulated, broken, atlas, tmp_path, cinebold):
    bids, out = broken(simulated), tmp_path / "out"
    doubtful = next((bids / "derivatives/fmriprep/sub-01/func").glob("*run-2*_desc-preproc_bold.nii.gz"))
    image = nibabel.load(doubtful)
    qform = image.affine.copy()
    qform[0, 3] += 5
    image.set_qform(qform, code=1)
    image.set_sform(image.affine, code=1)
    content = image.to_bytes()
    doubtful.unlink()  # a link to the other tests' file
    nibabel.Nifti1Image.from_bytes(content).to_filename(doubtful)

    done = cinebold(
        bids, out, "participant", "-w", tmp_path / "work", "--participant-label", "01", "--resolution", "native",
        "--features", "low_level", "--permutations", 100, "--nprocs", 1, "--atlas", atlas,
        "--interpolation", "cubic", "--smoothing", 4,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (table,) = out.glob("sub-01/func/*_atlas-Planted_stats.tsv")
    with open(table, newline="", encoding="utf-8") as stream:
        rows = {int(row["index"]): row for row in csv.DictReader(stream, delimiter="\t")}
    assert list(rows) == [*PLANTED, BESIDE, ABSENT]
    for index in PLANTED:
        assert float(rows[index]["r"]) > 0.4 and float(rows[index]["q"]) < 0.05
    assert abs(float(rows[BESIDE]["r"])) < 0.3
    assert (rows[ABSENT]["n_voxels"], rows[ABSENT]["r"]) == ("0", "n/a")
    assert json.loads(table.with_suffix(".json").read_text())["Atlas"] == atlas.name

    (r_map,) = out.glob("sub-01/func/*_stat-r_statmap.nii.gz")
    painted, labels = (np.asarray(nibabel.load(path).dataobj) for path in (r_map, atlas))
    for index in (*PLANTED, BESIDE):
        inside = painted[(labels == index) & np.isfinite(painted)]
        assert len(inside) == int(rows[index]["n_voxels"])
        np.testing.assert_allclose(inside, float(rows[index]["r"]), rtol=1e-5)
    assert np.isnan(painted[labels == 0]).all()

    (path,) = out.glob("sub-01/figures/*_desc-summary_report.json")
    summary = json.loads(path.read_text())
    n_found = sum(float(row["q"]) < 0.05 for row in rows.values() if row["q"] != "n/a")
    assert (summary["n_targets"], summary["n_significant"]) == (5, n_found)
    assert summary["bold"]["atlas"] == atlas.name
    assert {(run["interpolation"], run["smoothing_mm"]) for run in summary["runs"]} == {("cubic", 4.0)}
    empty, forms = summary["warnings"]
    assert empty.startswith("1 parcel has no target that is analysed, and no result: nowhere.")
    assert forms.startswith(f"The sform and the qform of {doubtful.name} differ by up to 5 mm")
    page = (out / "sub-01.html").read_text()
    assert "parcels predicted above chance" in page and atlas.name in page and str(atlas) not in page
