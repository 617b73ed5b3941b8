"""Pictures made small, and how bright they look."""

import numpy as np


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame, (h, w, 3) uint8, as (height, width, 3) uint8; the whole picture, its aspect ratio is not kept.

    Every new pixel is the mean of the old ones under it, so that a large film is not aliased.
    """
    from PIL import Image

    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX))


def lightness(frame: np.ndarray) -> np.ndarray:
    """CIE L* of an sRGB frame: (h, w, 3) uint8 to (h, w) float64, 0 (black) to 100 (white).

    The same numbers as the luminance of pymoten (`moten.colorspace.rgb2lab`), from a table of the 256 levels.
    """
    red, green, blue = np.moveaxis(_LINEAR[frame], -1, 0)
    luminance = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    cube_root = np.where(luminance < 0.008856, 7.787 * luminance + 4 / 29, np.cbrt(luminance))
    return 116 * cube_root - 16


_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS < 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
