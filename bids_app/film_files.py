"""Files beside films that feature spaces read: columns that a user brings."""

from collections.abc import Iterable

from bids_app.recipe import Recipe
from cinebold.errors import InputError
from cinebold.features.registry import Extractor, bound_to, create_extractor, extractor_class
from cinebold.files import content_sha256


class FilmFiles:
    """Finds the files of the recipe's feature spaces, and hashes each once."""

    def __init__(self, recipe: Recipe) -> None:
        self._extractors: list[Extractor] = [
            create_extractor(space.extractor, space.parameters)
            for space in recipe.feature_spaces
            if hasattr(extractor_class(space.extractor), "for_film")
        ]
        self._identities: dict[str, tuple[str, ...]] = {}

    def identity(self, film: str) -> tuple[str, ...]:
        """What a film's files hold, a hash each; without such feature spaces none. InputError: a file is not there."""
        if film not in self._identities:
            bound = [bound_to(extractor, film) for extractor in self._extractors]
            self._identities[film] = tuple(content_sha256(one.fingerprint()) for one in bound)
        return self._identities[film]

    def problems(self, films: Iterable[str]) -> dict[str, str]:
        """The films that lack a file, and what is to be said of it."""
        found = {}
        for film in sorted(set(films)):
            try:
                self.identity(film)
            except InputError as error:
                found[film] = str(error)
        return found
