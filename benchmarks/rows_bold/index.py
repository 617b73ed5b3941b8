"""Finding one participant's files among many participants'."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.registry import Row, Setup, row, timed

_SPACE = "space-MNI152NLin2009cAsym"


@row("index")
def index(setup: Setup) -> Row:
    """One of 200 participants of a derivative dataset, against pybids that indexes them all."""
    from bids_app.layouts import index_files

    n_participants = 10 if setup.quick else 200
    with TemporaryDirectory() as folder:
        root = Path(folder)
        n_each = _make_derivatives(root, n_participants)
        seconds, peak_mb, found = timed(lambda: index_files(root, ["007"]), 3)
        peer_s, _, expected = timed(lambda: _by_pybids(root))
    ours = {str(file.path) for file in found if "sub-007" in Path(file.path).parts}
    return Row(
        name="index",
        peer="pybids, all participants, without reading metadata",
        goal=1,
        agreement=float(len(ours ^ expected)),
        agreement_of="files that only one of both finds",
        seconds_ours=seconds,
        seconds_peer=peer_s,
        peak_mb=peak_mb,
        sizes={"n_participants": n_participants, "n_files_each": n_each},
    )


def _make_derivatives(root: Path, n_participants: int) -> int:
    """Empty files with the names of fMRIPrep's, four runs each; how many a participant has."""
    (root / "dataset_description.json").write_text(
        '{"Name": "fMRIPrep", "BIDSVersion": "1.9.0", "DatasetType": "derivative", '
        '"GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0"}]}\n'
    )
    names = []
    for run in range(1, 5):
        stem = f"func/{{sub}}_task-movie_run-{run}"
        names += [f"{stem}_desc-confounds_timeseries.{ending}" for ending in ("tsv", "json")]
        for ending in ("nii.gz", "json"):
            names += [f"{stem}_{_SPACE}_desc-{what}.{ending}" for what in ("preproc_bold", "brain_mask")]
    for tissue in ("GM", "WM", "CSF"):
        names.append(f"anat/{{sub}}_{_SPACE}_label-{tissue}_probseg.nii.gz")
    for number in range(1, n_participants + 1):
        sub = f"sub-{number:03}"
        for name in names:
            path = root / sub / name.format(sub=sub)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}" if path.suffix == ".json" else b"")
    return len(names)


def _by_pybids(root: Path) -> set[str]:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    layout = BIDSLayout(
        root,
        validate=False,
        config=["bids", "derivatives"],
        indexer=BIDSLayoutIndexer(validate=False, index_metadata=False),
    )
    return set(layout.get(subject="007", return_type="filename"))
