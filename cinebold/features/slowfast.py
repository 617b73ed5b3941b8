"""SlowFast R50, 8 x 8, trained on Kinetics-400 (Feichtenhofer et al. 2019), by pytorchvideo.

The input follows the official recipe, whose details matter: 64 frames at 30 Hz, of these 32 for the fast
pathway and 8 for the slow one at truncated, hence irregular, positions; then /255, normalisation, the short
side to 256 pixels (bilinear, not antialiased) and a central crop of 256 x 256, in this order.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import SettingError
from cinebold.features.parameters import parameters_from, require
from cinebold.features.series import FeatureSeries
from cinebold.features.weights import WeightsSource, find_weights, load_weights
from cinebold.files import file_sha256
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import ShownFrames, WindowRule

if TYPE_CHECKING:
    import torch

SOURCE = WeightsSource(
    network="slowfast_r50",
    file_names=("SLOWFAST_8x8_R50.pyth", "slowfast_r50.pyth", "slowfast_r50.pth", "slowfast_r50.safetensors"),
    url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
    state_key="model_state",
)
RATE_HZ = 30
N_SAMPLES = 64
#: Positions of the fast pathway among the 64 frames, and of the slow one among those 32: 0, 2, ..., 60, 63 and 0, 4,
#: 8, 13, 17, 22, 26, 31. Truncated as `torch.linspace(...).long()` does it; a regular stride is another input.
FAST = np.linspace(0, N_SAMPLES - 1, 32).astype(int)
SLOW = np.linspace(0, len(FAST) - 1, 8).astype(int)
SIZE, MEAN, STD = 256, 0.45, 0.225
#: Windows that go through the network together.
BATCH = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class SlowFastParameters:
    """What is read from the network, and when."""

    #: "logits": 400 classes, before the softmax; "avgpool": 2304 channels, what the classes are made of
    layer: str = "logits"
    hop_s: float = 1.0  #: between the reference times of two windows
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"

    def __post_init__(self) -> None:
        name = "slowfast_r50"
        require(name, self.layer in _LAYERS, f"layer must be one of {', '.join(_LAYERS)}", self.layer)
        require(name, self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        self.window_rule()

    def window_rule(self) -> WindowRule:
        """64 frames at 30 Hz."""
        return WindowRule(N_SAMPLES / RATE_HZ, self.hop_s, N_SAMPLES, self.align)


class SlowFastR50:
    """Kinetics-400 logits, or the features they are made of, of windows of 2.13 s.

    "avgpool" is the network's own pooling: both pathways averaged over time and 7 x 7 places at stride 1,
    then over the 2 x 2 results, so that the places inside count more than those at the edge; 2048 slow and
    256 fast channels.
    """

    name = "slowfast_r50"
    version = 1

    def __init__(
        self,
        parameters: SlowFastParameters,
        *,
        device: str = "cpu",
        weights_dir: str | None = None,
        random_weights: bool = False,
        seed: int = 0,
    ) -> None:
        self.parameters = parameters
        self.device = device
        self.seed = seed
        self.weights = None if random_weights else find_weights(SOURCE, weights_dir)
        self._weights_sha256 = None if self.weights is None else file_sha256(self.weights)
        self._network: torch.nn.Module | None = None

    @staticmethod
    def check_parameters(given: Mapping[str, Any]) -> SlowFastParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(SlowFastParameters, "slowfast_r50", given)

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        source = {"seed": self.seed} if self.weights is None else {"weights_sha256": self._weights_sha256}
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": asdict(self.parameters),
            "window": {**asdict(self.parameters.window_rule()), "rate_hz": RATE_HZ},
            "random_weights": self.weights is None,
            **source,
        }

    def start(self, info: FilmInfo) -> "SlowFastAccumulator":
        """An accumulator for one film; the network is built and loaded once."""
        if self._network is None:
            self._network = self._build()
        return SlowFastAccumulator(self, self._network, info)

    def _build(self) -> "torch.nn.Module":
        import torch

        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise SettingError(
                f"The device {self.device} was asked for, but torch finds no GPU; use --device cpu."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = build_slowfast_r50()
        if self.weights is not None:
            load_weights(network, self.weights, SOURCE.state_key)
        if self.parameters.layer == "avgpool":
            network.blocks[6].proj = torch.nn.Identity()  # leaves the head's pooling
        return network.eval().to(self.device)


class SlowFastAccumulator:
    """Holds the prepared frames of the windows that are not yet complete, and one batch of windows."""

    def __init__(self, extractor: SlowFastR50, network: "torch.nn.Module", info: FilmInfo) -> None:
        self._extractor, self._network, self._info = extractor, network, info
        self._rule = extractor.parameters.window_rule()
        samples_s = self._rule.sample_times(info.duration_s)[:, FAST]  # (n_windows, 32)
        order = np.argsort(samples_s, axis=None, kind="stable")
        self._window_of, self._position_of = np.divmod(order, len(FAST))
        self._samples = ShownFrames(samples_s.ravel()[order])
        self._clips: dict[int, list[torch.Tensor]] = {}  # window -> frames in the order of its sample times
        self._complete: list[list[torch.Tensor]] = []
        self._batch_size = BATCH[extractor.device.split(":")[0]]
        self._last_frame: np.ndarray | None = None
        self._outputs: list[np.ndarray] = []

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame."""
        self._take(self._samples.add(time_s))
        self._last_frame = frame

    def finish(self) -> FeatureSeries:
        """The features of the film."""
        self._take(self._samples.finish())
        self._forward()
        return FeatureSeries(
            values=np.concatenate(self._outputs),
            times_s=self._rule.times(self._info.duration_s),
            names=_LAYERS[self._extractor.parameters.layer](),
            pad_fraction=self._rule.pad_fraction(self._info.duration_s).astype(np.float32),
            film_duration_s=self._info.duration_s,
            provenance=self._extractor.fingerprint(),
        )

    def _take(self, samples: slice) -> None:
        """The last frame was on display at these sample times; windows are completed in their order."""
        if samples.stop == samples.start or self._last_frame is None:
            return
        prepared = prepare_frame(self._last_frame, self._extractor.device)
        for window in self._window_of[samples]:
            clip = self._clips.setdefault(int(window), [])
            clip.append(prepared)
            if len(clip) == len(FAST):
                self._complete.append(self._clips.pop(int(window)))
                if len(self._complete) == self._batch_size:
                    self._forward()

    def _forward(self) -> None:
        import torch

        if not self._complete:
            return
        fast = torch.stack([torch.stack(clip, dim=1) for clip in self._complete])  # (n, 3, 32, 256, 256)
        # Full float32, fixed algorithms: on a GPU the defaults cost three digits and may change between runs.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with torch.inference_mode(), exact:
            output = self._network([fast[:, :, torch.as_tensor(SLOW)], fast])
        self._outputs.append(output.float().cpu().numpy())
        self._complete = []


def build_slowfast_r50() -> "torch.nn.Module":
    """The network of pytorchvideo with untrained weights; its output is not passed through a softmax."""
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from pytorchvideo.models.hub import slowfast_r50

    return slowfast_r50(pretrained=False)


def prepare_frame(frame: np.ndarray, device: str = "cpu") -> "torch.Tensor":
    """A frame, (h, w, 3) uint8, as the network wants it: (3, 256, 256) float32.

    The steps and roundings are those of pytorchvideo's NormalizeVideo, ShortSideScale(256) and
    CenterCropVideo(256).
    """
    import torch

    pixels = torch.as_tensor(frame).to(device).permute(2, 0, 1).float()
    pixels = (pixels / 255 - MEAN) / STD
    height, width = pixels.shape[1:]
    if width < height:
        size = (int(height / width * SIZE), SIZE)
    else:
        size = (SIZE, int(width / height * SIZE))
    pixels = torch.nn.functional.interpolate(pixels[None], size=size, mode="bilinear", align_corners=False)[0]
    top, left = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
    return pixels[:, top : top + SIZE, left : left + SIZE].contiguous()


def _class_names() -> tuple[str, ...]:
    from cinebold.features.torchvision_guard import prepare_torchvision

    prepare_torchvision()
    from torchvision.models._meta import _KINETICS400_CATEGORIES

    return tuple(_KINETICS400_CATEGORIES)


def _pooled_names() -> tuple[str, ...]:
    return tuple(
        [f"avgpool slow {i:04d}" for i in range(2048)] + [f"avgpool fast {i:03d}" for i in range(256)]
    )


_LAYERS = {"logits": _class_names, "avgpool": _pooled_names}
