"""Bases that reduce features: read once, and never learned from films that are tested."""

from collections.abc import Sequence

from bids_app.recipe import Recipe
from cinebold.encoding.settings import CrossValidation, is_named
from cinebold.features.basis import Basis, read_basis
from cinebold.files import file_sha256
from workflows.specifications import Presentation, Run


class Bases:
    """The bases of a recipe's feature spaces; InputError where a file is none."""

    def __init__(self, recipe: Recipe) -> None:
        self._bases: dict[str, Basis] = {
            space.name: read_basis(space.basis) for space in recipe.feature_spaces if space.basis is not None
        }
        self._sha256: dict[str, str] = {}

    @property
    def identity(self) -> tuple[str, ...]:
        """What they hold, a hash each."""
        return tuple(basis.sha256 for basis in self._bases.values())

    def leaks(self, runs: Sequence[Run], cross_validation: CrossValidation) -> list[str]:
        """A sentence for each basis that was learned from films that these runs are tested with.

        Films are told by their bytes; those of runs that are only trained on may be known.
        """
        is_split = cross_validation.scheme == "split"
        tested = [
            p
            for run in runs
            for p in run.presentations
            if not is_split or any(is_named(run.label, name) for name in cross_validation.test)
        ]
        who = "the test runs show" if is_split else f"{cross_validation.scheme} tests"
        advice = (
            "fit it on films that no test run shows"
            if is_split
            else "fit it on films that are in none of these runs, or test on other runs (--cross-validation split)"
        )
        sentences = []
        for space, basis in self._bases.items():
            known = [p.film_name for p in tested if self._hash(p) in basis.films]
            if known:
                films = ", ".join(dict.fromkeys(known))
                sentences.append(
                    f"the basis {basis.path.name} of the features {space} was learned from {films}, which {who}: "
                    f"{advice}."
                )
        return sentences

    def _hash(self, presentation: Presentation) -> str:
        film = presentation.film
        if film not in self._sha256:
            self._sha256[film] = file_sha256(film)
        return self._sha256[film]
