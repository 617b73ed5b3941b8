"""Which participants the group level brings together, and under which names."""

from pathlib import Path

from bids_app import outputs
from bids_app.config import Settings
from bids_app.datasets import find_fmriprep
from bids_app.inputs import Selection, find_participants
from bids_app.layouts import index_files
from bids_app.map_descriptions import group_grid_metadata, statistics_of
from bids_app.random_weights import random_parameters, random_spaces_of_maps
from bids_app.recipe import Recipe
from bids_app.surface_files import meshes_of_map
from cinebold.errors import InputError, SettingError
from workflows.specifications import GroupAnalysis, GroupMember


def group_analysis(settings: Settings, recipe: Recipe, selection: Selection) -> GroupAnalysis:
    """What the group level does with the participants that are finished.

    Raises
    ------
    InputError : fewer than two are, or one has several models that fit
    SettingError : the space is not one of all participants
    """
    if settings.space == "fsnative":
        raise SettingError(
            "--output-spaces fsnative is each participant's own surface, whose vertices cannot be compared; run both "
            "levels with fsaverage of any density, or fsLR."
        )
    resolution = None
    if recipe.bold.resolution_mm is not None:
        resolution = outputs.resolution_label(recipe.bold.resolution_mm, ())
    cards = outputs.finished_participants(
        settings.output_dir, recipe.label, settings.space, resolution, settings.input_density
    )
    for task in settings.task_id or ():
        cards = {
            who: [card for card in found if f"_task-{task}_" in card.name] for who, found in cards.items()
        }
    cards = {who: found for who, found in cards.items() if found}
    expected = settings.participant_label or find_participants(settings.bids_dir, None, selection)
    members = tuple(
        _group_member(settings.output_dir, who, outputs.one_card(cards[who], who))
        for who in expected
        if who in cards
    )
    missing = tuple(who for who in expected if who not in cards)
    if not members:
        raise InputError(
            f"no participant has a finished model of recipe {recipe.name} in space {settings.space} below "
            f"{settings.output_dir / 'models'}: run the participant level first, with the same --recipe, "
            "--output-spaces and --resolution"
        )
    if len(members) == 1:
        raise InputError(
            f"a test across participants needs at least two; only sub-{members[0].participant} is finished"
            + (f", missing: {', '.join(f'sub-{who}' for who in missing)}" if missing else "")
        )
    untrained = random_spaces_of_maps(member.r_map for member in members)
    name = outputs.group_name(members)
    r_map = Path(members[0].r_map)
    volumes = r_map.name.endswith(".nii.gz")
    space = r_map.name.partition("_space-")[2].partition("_")[0]
    return GroupAnalysis(
        members=members,
        missing=missing,
        recipe=recipe.label,
        space=space,
        resolution_label=(resolution or "native") if volumes else "",
        q=recipe.group.fdr,
        output_dir=str(settings.output_dir),
        prefix=f"tpl-{space}/func/tpl-{space}_{name}",
        figures_prefix=f"figures/group_space-{space}_{name}",
        map_metadata={
            **group_grid_metadata(r_map, recipe.bold.resolution_mm),
            "Sources": [outputs.own_uri(settings.output_dir, member.r_map) for member in members],
            "ModelParameters": {
                "Recipe": recipe.name,
                "Participants": len(members),
                "q": recipe.group.fdr,
                **random_parameters(untrained),
            },
        },
        stat_metadata=statistics_of(outputs.GROUP_STATISTICS, volumes),
        meshes=_meshes(settings, members[0]),
        random_spaces=untrained,
    )


def _meshes(settings: Settings, member: GroupMember) -> tuple[str, ...]:
    """Surfaces to draw the group's maps on, from one participant's derivatives; none where they are not at hand.

    The group needs no derivatives otherwise, so their absence is no error.
    """
    if member.r_map.endswith(".nii.gz"):
        return ()
    try:
        folder = find_fmriprep(settings.bids_dir, settings.derivatives)
        derived = index_files(folder, [member.participant], database_dir=settings.bids_database_dir)
        return meshes_of_map(Path(member.r_map), derived)
    except InputError:
        return ()


def _group_member(output_dir: Path, participant: str, card: Path) -> GroupMember:
    """What the participant level wrote of one participant, found beside its model card."""
    folders = outputs.maps_beside(card, output_dir, "r")
    if not folders:
        name = card.name.removesuffix("_encoding.json")
        raise InputError(
            f"{card} is there but its map {name}_stat-r_statmap is not: run sub-{participant} again"
        )
    weights = {
        path.name.partition("_desc-")[2].partition("_statmap")[0]: str(path)
        for path in outputs.maps_beside(card, output_dir, "weight_desc-*")
        if path.parent == folders[0].parent
    }
    return GroupMember(participant, str(folders[0]), str(card), weights)
