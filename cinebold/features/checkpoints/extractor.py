"""What extractors of the transformers library have in common: their layers, tokens, windows and identity."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cinebold.errors import InputError, SettingError
from cinebold.features.checkpoints.folder import (
    CONFIG,
    PICTURE_PREPROCESSORS,
    VIDEO_PREPROCESSORS,
    CheckpointFolder,
    find_checkpoint,
)
from cinebold.features.checkpoints.library import build, configuration, load, transformers_library
from cinebold.features.checkpoints.pictures import PictureRecipe, recipe_of
from cinebold.features.network_options import NetworkOptions
from cinebold.features.nodes import Layer, NodeExtractor, check_layer
from cinebold.features.parameters import require
from cinebold.files import file_sha256

if TYPE_CHECKING:
    import torch

_INDEX = re.compile(r"(?:hidden\.)?(-?\d+)")
_FRACTION = re.compile(r"\d*\.\d+")


@dataclass(frozen=True, kw_only=True)
class TokenParameters(NetworkOptions):
    """What is read from a network of tokens."""

    #: a name; or which hidden state: an index (0: what goes into the first block, -1: the last block) or, with a point,
    #: a fraction of the depth ("0.5")
    layer: str = "last"
    spatial: str = "mean"  #: "mean": over tokens; "full": every token, projected
    n_projected: int = 4096  #: a layer of more numbers is projected at random to so many; 0: never
    projection_seed: int = 0
    checkpoint: str = ""  #: a name on the hub, or of a folder in the folder of weights, or a path

    def check(self, extractor: str, outputs: Sequence[str]) -> None:
        """Raise SettingError unless this makes sense for some checkpoint."""
        is_state = _INDEX.fullmatch(self.layer) or (
            _FRACTION.fullmatch(self.layer) and float(self.layer) <= 1
        )
        require(
            extractor,
            bool(self.layer in outputs or is_state),
            f"layer must be {', '.join(outputs)}, an index, or a fraction from 0.0 to 1.0",
            self.layer,
        )
        for name in ("channels_last", "compiled"):
            require(extractor, not getattr(self, name), f"{name} is not offered here", True)
        layer = Layer({self.layer: (1,)}, classes=self.layer if self.layer == "logits" else None)
        check_layer(extractor, self, {self.layer: layer})


class TokenExtractor(NodeExtractor):
    """A network of transformers, from a folder; one of its outputs, or what comes out of one of its blocks.

    A family names the configurations that it reads, the library's class, and its outputs.
    """

    hub_name: ClassVar[str] = ""  #: of the checkpoint that is looked for unless another is asked for
    model_types: ClassVar[tuple[str, ...]] = ()  #: of config.json
    outputs: ClassVar[tuple[str, ...]]  #: names that `layer` may have besides hidden states
    unused: ClassVar[tuple[str, ...]] = ()  #: see `library.load`
    not_needed: ClassVar[tuple[str, ...]] = ()
    is_video: ClassVar[bool] = False
    default_recipe: ClassVar[PictureRecipe]  #: of the official checkpoint, for random weights

    def __init__(
        self,
        parameters: Any,
        *,
        device: str = "cpu",
        weights_dir: str | None = None,
        random_weights: bool = False,
        seed: int = 0,
    ) -> None:
        self.parameters = parameters
        self.folder: CheckpointFolder | None = None
        if parameters.checkpoint or not random_weights:
            self.folder = find_checkpoint(self.name, parameters.checkpoint or self.hub_name, weights_dir)
        self.is_random = random_weights
        self.config = self._configuration()
        self.recipe = self._recipe()
        parameters = replace(parameters, layer=_canonical(self.name, parameters.layer, self.n_blocks()))
        self.parameters = parameters
        check_layer(self.name, parameters, self.layers())
        self._identity = self._hashes()
        super().__init__(parameters, device=device, random_weights=True, seed=seed)

    @classmethod
    def find_weights(cls, weights_dir: str | Path | None) -> Path:
        """The file of weights of the checkpoint that is looked for by default; MissingWeightsError without it."""
        return find_checkpoint(cls.name, cls.hub_name, weights_dir).weights_file

    @classmethod
    def check_parameters(cls, given: Mapping[str, Any]) -> Any:
        """The parameters that `given` means; a layer may be given as a number."""
        layer = given.get("layer")
        if isinstance(layer, int | float) and not isinstance(layer, bool):
            given = {**given, "layer": str(layer)}
        return super().check_parameters(given)

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film; of the checkpoint its name's last part, not its place."""
        whole = {**super().fingerprint(), "random_weights": self.is_random}
        name = (self.parameters.checkpoint or self.hub_name).rstrip("/").split("/")[-1].split("--")[-1]
        whole["parameters"] = {**whole["parameters"], "checkpoint": name}
        return whole

    def weights_identity(self) -> dict[str, Any]:
        """The hashes of weights and configuration, or the seed of random weights."""
        return {"seed": self.seed, **self._identity} if self.is_random else self._identity

    def describe(self) -> dict[str, Any]:
        """Windows, preprocessing and projection."""
        return {
            "window": self.window(),
            "preprocessing": asdict(self.recipe),
            "projection": None if self.projection is None else self.projection.describe(),
        }

    def variant(self) -> list[Any]:
        """Equal weights with another preprocessing are given other pictures."""
        return [asdict(self.recipe)]

    def window(self) -> dict[str, Any]:
        """The rule of the windows, for the fingerprint."""
        raise NotImplementedError

    def official_transform(self) -> PictureRecipe:
        """As the preprocessor's file says."""
        return self.recipe

    def n_blocks(self) -> int:
        """The hidden states but for the first."""
        return int(self.config.num_hidden_layers)

    def layers(self) -> Mapping[str, Layer]:
        """The layer that is asked for."""
        return {self.parameters.layer: self._layer(self.parameters.layer)}

    def layer_sizes(self) -> dict[str, int]:
        """Every layer, and how many numbers a window it has before pooling and projection."""
        names = (*self.outputs, *(f"hidden.{index}" for index in range(self.n_blocks() + 1)))
        return {name: self._layer(name).n_features("full") for name in names}

    def _layer(self, name: str) -> Layer:
        return Layer({self.node(name): self.shape(name)}, classes=name if name == "logits" else None)

    def node(self, layer: str) -> str:
        """What the network is asked for."""
        return layer

    def shape(self, layer: str) -> tuple[int, ...]:
        """Of the node of a layer, channels first, for one window."""
        raise NotImplementedError

    def network_class(self, transformers: Any) -> Any:
        """The library's class."""
        raise NotImplementedError

    def untrained(self) -> "torch.nn.Module":
        """The network with the weights of the folder, or drawn ones."""
        kind = self.network_class(transformers_library())
        if self.is_random or self.folder is None:
            return build(kind, self.config)
        return load(
            kind,
            self.config,
            self.folder.state(),
            self.folder.weights_file,
            unused=self.unused,
            not_needed=self.not_needed,
        )

    def default_configuration(self, transformers: Any) -> Any:
        """The library's configuration of the official network, for random weights."""
        raise SettingError(
            f"{self.name}: name a checkpoint, whose configuration random weights need as well."
        )

    def _configuration(self) -> Any:
        if self.folder is None:
            return self.default_configuration(transformers_library())
        return configuration(self.folder.config(), self.model_types, self.folder.path / CONFIG)

    def _recipe(self) -> PictureRecipe:
        if self.folder is None:
            return self.default_recipe
        names = VIDEO_PREPROCESSORS if self.is_video else PICTURE_PREPROCESSORS
        path, table = self.folder.preprocessor(names)
        return recipe_of(table, path)

    def _hashes(self) -> dict[str, Any]:
        if self.folder is None:
            text = json.dumps(self.config.to_diff_dict(), sort_keys=True, default=str)
            return {"config_sha256": hashlib.sha256(text.encode()).hexdigest()}
        config = {"config_sha256": file_sha256(self.folder.path / CONFIG)}
        return config if self.is_random else {"weights_sha256": self.folder.weights_sha256(), **config}


def _canonical(extractor: str, layer: str, n_blocks: int) -> str:
    """A name as it is; an index or a fraction as "hidden.INDEX"."""
    if match := _INDEX.fullmatch(layer):
        index = int(match[1])
        require(
            extractor,
            -n_blocks <= index <= n_blocks,
            f"the index of a layer must be at most {n_blocks}",
            index,
        )
        return f"hidden.{index if index >= 0 else n_blocks + 1 + index}"
    if _FRACTION.fullmatch(layer):
        return f"hidden.{int(float(layer) * n_blocks + 0.5)}"
    return layer


def hidden_indices(nodes: Sequence[str]) -> dict[str, int]:
    """Those nodes that are hidden states, with or without a word behind them, and which."""
    return {node: int(node.split(" ")[0].split(".")[1]) for node in nodes if node.startswith("hidden.")}


def check_frames(extractor: str, n_frames: int, config: Any) -> None:
    """Raise SettingError unless a window's frames make whole tubelets."""
    tubelet = int(getattr(config, "tubelet_size", 1))
    if n_frames < tubelet or n_frames % tubelet:
        raise SettingError(f"{extractor}: frames must be a multiple of {tubelet}; found {n_frames}.")


def check_square(path: Path | None, recipe: PictureRecipe, side: int) -> None:
    """Raise InputError unless the preprocessing gives the pictures that the configuration is for."""
    if recipe.output_size != (side, side):
        raise InputError(
            f"{path}: expected a preprocessing to {side} x {side} pixels, as {CONFIG} says, found "
            f"{recipe.output_size[0]} x {recipe.output_size[1]}."
        )
