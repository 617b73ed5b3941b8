"""The stage that tests encoding models across participants."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, traits

from cinebold.files import write_json
from cinebold.group.maps import group_maps
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.interfaces.summary import versions
from workflows.specifications import GroupAnalysis, from_json


class _InputSpec(StageInputSpec):
    group_json = traits.Str(mandatory=True, desc="a GroupAnalysis")
    r_maps = InputMultiObject(File(exists=True), mandatory=True)
    weight_maps = InputMultiObject(
        File(exists=True), desc="space by space, the participants of each together"
    )
    models = InputMultiObject(File(exists=True), desc="the participants' model cards")


class _OutputSpec(TraitedSpec):
    maps = OutputMultiObject(File(exists=True))
    summary = File(exists=True)


class CompareParticipants(StageInterface):
    """Mean maps and one-sample t-tests across participants."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        group = from_json(GroupAnalysis, self.inputs.group_json)
        values, geometry, summary = group_maps(
            {member.participant: member.r_map for member in group.members},
            {member.participant: member.weight_maps for member in group.members},
            {member.participant: member.model_card.removesuffix(".json") for member in group.members},
            q=group.q,
        )
        paths = [
            str(path)
            for name, found in values.items()
            for path in geometry.save_map(folder / f"{name}_statmap", found)
        ]
        content = {
            "participants": [member.participant for member in group.members],
            "missing": list(group.missing),
            "recipe": group.recipe,
            "space": group.space,
            "resolution_label": group.resolution_label,
            "q": group.q,
            **({} if geometry.affine is not None else {"geometry": geometry.describe()["kind"]}),
            **summary,
            "random_spaces": list(group.random_spaces),
            "versions": versions(),
        }
        return {"maps": paths, "summary": str(write_json(folder / "desc-summary_report.json", content))}
