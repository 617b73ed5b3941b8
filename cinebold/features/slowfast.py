"""SlowFast R50, 8 x 8, trained on Kinetics-400 (Feichtenhofer et al. 2019), by pytorchvideo.

The input follows the official recipe, whose details matter: 64 frames at 30 Hz, of these 32 for the fast
pathway and 8 for the slow one at truncated, hence irregular, positions; then /255, normalisation, the short
side to 256 pixels (bilinear, not antialiased) and a central crop of 256 x 256, in this order. Another input,
that of a project of 2021, is there for comparison (`PROJECT_2021`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.features.network import NetworkExtractor, Windows, class_names, exact_inference
from cinebold.features.parameters import parameters_from, require
from cinebold.features.weights import WeightsSource
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import TIME_TOLERANCE_S, WindowRule

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

#: neurohackademy/feature-encoding with tridivb/slowfast_feature_extractor: around each frame of a film of 24 frames
#: a second the 72 frames [i - 36, i + 36), all for the fast pathway and 18 for the slow one.
PROJECT_2021 = "neurohackademy2021"
RATE_2021_HZ = 24
FAST_2021 = np.arange(72)
SLOW_2021 = np.linspace(0, 71, 18).astype(int)  # 0, 4, ..., 20, 25, ...: nearly, not quite, every fourth
#: ffmpeg -filter:v "scale=365:258, crop=256:256"; of 4:2:0 video it crops at even places.
WIDTH_2021, HEIGHT_2021, LEFT_2021, TOP_2021 = 365, 258, 54, 0


@dataclass(frozen=True)
class SlowFastParameters:
    """What is read from the network, and when."""

    #: "logits": 400 classes, before the softmax; "avgpool": 2304 channels, what the classes are made of
    layer: str = "logits"
    hop_s: float = 1.0  #: between the reference times of two windows
    align: str = "centre"  #: where the reference time lies in its window: "centre", "end" or "start"
    #: "official", or "neurohackademy2021", which has its own hop (a frame of 1/24 s) and alignment ("frame")
    windows: str = "official"

    def __post_init__(self) -> None:
        name = "slowfast_r50"
        require(name, self.layer in _LAYERS, f"layer must be one of {', '.join(_LAYERS)}", self.layer)
        require(name, self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        choices = ("official", PROJECT_2021)
        require(name, self.windows in choices, f"windows must be one of {', '.join(choices)}", self.windows)
        if self.windows == PROJECT_2021:
            fixed = (
                f"hop_s and align are fixed at 1/{RATE_2021_HZ} s and 'frame' with windows = {PROJECT_2021!r}"
            )
            require(name, abs(self.hop_s - 1 / RATE_2021_HZ) < TIME_TOLERANCE_S, fixed, self.hop_s)
            require(name, self.align == "frame", fixed, self.align)
        else:
            choices = ("centre", "end", "start")
            require(name, self.align in choices, f"align must be one of {', '.join(choices)}", self.align)

    def window_rule(self) -> WindowRule:
        """64 frames at 30 Hz; or 72 at 24 Hz, read in the middle of their display."""
        if self.windows == PROJECT_2021:
            n_samples = len(FAST_2021)
            return WindowRule(n_samples / RATE_2021_HZ, 1 / RATE_2021_HZ, n_samples, self.align)
        return WindowRule(N_SAMPLES / RATE_HZ, self.hop_s, N_SAMPLES, self.align)


class SlowFastR50(NetworkExtractor):
    """Kinetics-400 logits, or the features they are made of, of windows of 2.13 s.

    "avgpool" is the network's own pooling: both pathways averaged over time and 7 x 7 places at stride 1,
    then over the 2 x 2 results, so that the places inside count more than those at the edge; 2048 slow and
    256 fast channels.
    """

    name = "slowfast_r50"
    parameter_kind = SlowFastParameters
    source = SOURCE
    batch = BATCH

    @classmethod
    def check_parameters(cls, given: Mapping[str, Any]) -> SlowFastParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        if given.get("windows") == PROJECT_2021:
            given = {"hop_s": 1 / RATE_2021_HZ, "align": "frame", **given}
        return parameters_from(SlowFastParameters, cls.name, given)

    @property
    def of_2021(self) -> bool:
        """Whether the input is that of the project of 2021."""
        return self.parameters.windows == PROJECT_2021

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        fingerprint = super().fingerprint()
        if not self.of_2021:
            del fingerprint["parameters"][
                "windows"
            ]  # younger than the first stored features, which stay valid
        return fingerprint

    def describe(self) -> dict[str, Any]:
        """The window."""
        rate = {"rate_hz": RATE_HZ}
        if self.of_2021:
            rate = {"rate_hz": RATE_2021_HZ, "outside": "zeros", "crop": [TOP_2021, LEFT_2021]}
        return {"window": {**asdict(self.parameters.window_rule()), **rate}}

    def untrained(self) -> "torch.nn.Module":
        """See `build_slowfast_r50`."""
        return build_slowfast_r50()

    def _build(self) -> "torch.nn.Module":
        import torch

        network = self.loaded()
        if self.of_2021:
            # Its tool pooled over all frames of a window, whatever their number; pytorchvideo pools over 8 and 32.
            for pool, positions in zip(network.blocks[5].pool, (SLOW_2021, FAST_2021), strict=True):
                pool.kernel_size = (len(positions), 7, 7)
        if self.parameters.layer == "avgpool":
            network.blocks[6].proj = torch.nn.Identity()  # leaves the head's pooling
        return network.to(self.device)

    def windows(self, info: FilmInfo) -> Windows:
        """A window every `hop_s`; only the frames that a pathway takes are sampled."""
        rule = self.parameters.window_rule()
        samples_s = rule.sample_times(info.duration_s)
        pad_fraction = rule.pad_fraction(info.duration_s)
        times_s = rule.times(info.duration_s)
        if self.of_2021:
            outside = (samples_s < 0) | (samples_s > info.duration_s - TIME_TOLERANCE_S)
            return Windows(times_s, samples_s, pad_fraction, blank=outside)
        return Windows(times_s, samples_s[:, FAST], pad_fraction)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """See `prepare_frame` and `prepare_frame_of_2021`."""
        return (prepare_frame_of_2021 if self.of_2021 else prepare_frame)(frame, self.device)

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """Logits or pooled channels."""
        import torch

        fast = torch.stack([torch.stack(list(clip), dim=1) for clip in clips])  # (n, 3, n_frames, 256, 256)
        slow = torch.as_tensor(SLOW_2021 if self.of_2021 else SLOW)
        with exact_inference():
            output = self._network([fast[:, :, slow], fast])
        return output.float().cpu().numpy()

    def column_names(self) -> tuple[str, ...]:
        """Classes or channels."""
        return _LAYERS[self.parameters.layer]()


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

    pixels = _normalised(frame, device)
    height, width = pixels.shape[1:]
    if width < height:
        size = (int(height / width * SIZE), SIZE)
    else:
        size = (SIZE, int(width / height * SIZE))
    pixels = torch.nn.functional.interpolate(pixels[None], size=size, mode="bilinear", align_corners=False)[0]
    top, left = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
    return pixels[:, top : top + SIZE, left : left + SIZE].contiguous()


def prepare_frame_of_2021(frame: np.ndarray, device: str = "cpu") -> "torch.Tensor":
    """A frame, (h, w, 3) uint8, as the project of 2021 made it: (3, 256, 256) float32.

    Scaled to 365 x 258 by ffmpeg's scaler (bicubic, its default), whatever the film's aspect ratio, cropped,
    and normalised. That project encoded the film once more and kept the frames as JPEG, which is not done
    here, and read these as BGR, where the weights of pytorchvideo expect RGB, which they get here.
    """
    import av

    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = picture.reformat(width=WIDTH_2021, height=HEIGHT_2021, interpolation="BICUBIC", threads=1)
    pixels = scaled.to_ndarray(format="rgb24")[TOP_2021 : TOP_2021 + SIZE, LEFT_2021 : LEFT_2021 + SIZE]
    return _normalised(np.ascontiguousarray(pixels), device)


def _normalised(frame: np.ndarray, device: str) -> "torch.Tensor":
    import torch

    pixels = torch.as_tensor(frame).to(device).permute(2, 0, 1).float()
    return (pixels / 255 - MEAN) / STD


def _class_names() -> tuple[str, ...]:
    return class_names("KINETICS400")


def _pooled_names() -> tuple[str, ...]:
    return tuple(
        [f"avgpool slow {i:04d}" for i in range(2048)] + [f"avgpool fast {i:03d}" for i in range(256)]
    )


_LAYERS = {"logits": _class_names, "avgpool": _pooled_names}
