"""Pictures made small, and how bright they look."""

import numpy as np


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame, (h, w, 3) uint8, as (height, width, 3) uint8; the whole picture, its aspect ratio is not kept.

    Every new pixel is the mean of the old ones under it, so that a large film is not aliased.
    """
    from PIL import Image

    if frame.shape[:2] == (height, width):
        return frame
    size = frame.shape[1], frame.shape[0]
    picture = Image.frombytes("RGB", size, np.ascontiguousarray(frame))  # fromarray would copy it once more
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def lightness(frame: np.ndarray) -> np.ndarray:
    """CIE L* of an sRGB frame: (h, w, 3) uint8 to (h, w) float64, 0 (black) to 100 (white).

    The same numbers as the luminance of pymoten (`moten.colorspace.rgb2lab`), from a table of the 256 levels.
    """
    luminance = _RED.take(frame[..., 0])
    luminance += _GREEN.take(frame[..., 1])
    luminance += _BLUE.take(frame[..., 2])
    cube_root = np.cbrt(luminance)
    dark = luminance < 0.008856
    cube_root[dark] = 7.787 * luminance[dark] + 4 / 29
    cube_root *= 116
    cube_root -= 16
    return cube_root


_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS < 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
_RED, _GREEN, _BLUE = 0.212671 * _LINEAR, 0.715160 * _LINEAR, 0.072169 * _LINEAR
