"""Derivatives are stored under their names, with sidecars, and left alone when they are right."""

import json

from workflows.interfaces.sinks import StoreDerivatives


def store(folder, text="1", **inputs):
    source = folder / "stat-r_statmap.nii.gz"
    source.write_text(text)
    sink = StoreDerivatives(
        in_files=[str(source)],
        prefixes=[str(folder / "out" / "sub-01")],
        sidecar_json=json.dumps({"SkullStripped": True}),
        specific_json=json.dumps({"r": {"Units": "arbitrary"}, "p": {"Units": "none"}}),
        **inputs,
    )
    return sink.run(cwd=str(folder)).outputs.out_files


def test_names_and_sidecars(tmp_path):
    stored = store(tmp_path)
    target = tmp_path / "out" / "sub-01_stat-r_statmap.nii.gz"
    assert stored in (str(target), [str(target)])
    assert target.read_text() == "1"
    sidecar = json.loads((tmp_path / "out" / "sub-01_stat-r_statmap.json").read_text())
    assert sidecar == {"SkullStripped": True, "Units": "arbitrary"}


def test_what_is_right_is_left_alone_and_what_is_wrong_is_replaced(tmp_path):
    store(tmp_path)
    target = tmp_path / "out" / "sub-01_stat-r_statmap.nii.gz"
    before = target.stat().st_mtime_ns
    store(tmp_path)
    assert target.stat().st_mtime_ns == before
    store(tmp_path, text="2")
    assert target.read_text() == "2"
    assert {path.name for path in target.parent.iterdir()} == {target.name, "sub-01_stat-r_statmap.json"}


def test_a_map_of_a_feature_space_has_its_own_words(tmp_path):
    source = tmp_path / "stat-r_desc-conv1_statmap.nii.gz"
    source.write_text("1")
    StoreDerivatives(
        in_files=[str(source)],
        prefixes=[str(tmp_path / "out" / "sub-01")],
        specific_json=json.dumps(
            {"r": {"Units": "arbitrary", "Description": "joint"}, "r_desc": {"Description": "alone"}}
        ),
    ).run(cwd=str(tmp_path))
    sidecar = json.loads((tmp_path / "out" / "sub-01_stat-r_desc-conv1_statmap.json").read_text())
    assert sidecar == {"Units": "arbitrary", "Description": "alone"}
