"""Prepares the frames of one source for the encoder: crop, size, and what changed."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from core.errors import InputError
from video.config import Config
from video.streams.frames import Frame, Pixels
from vision.encoder import Preprocessing

STILL = 127  # in the picture of what changed, the value of a pixel that did not


class Preparation:
    """Turns frames, one after another, into what the encoder is shown.

    Channels are red, green and blue; and with `motion` half of their change since the frame that
    was shown before, `STILL` where there is none.
    """

    def __init__(self, config: Config, preprocessing: Preprocessing):
        self.config = config
        self.preprocessing = preprocessing
        self._before: UInt8[Tensor, "3 size size"] | None = None

    def __call__(self, pixels: Pixels) -> UInt8[Tensor, "channels size size"]:
        """Return the next frame for the encoder.

        Raises:
            InputError: the crop is not inside the frame.
        """
        prepared = self.preprocessing(Image.fromarray(self._cropped(pixels)))
        if not self.config.motion:
            return prepared
        before = prepared if self._before is None else self._before
        self._before = prepared
        return torch.cat((prepared, changed(prepared, before)))

    def _cropped(self, pixels: Pixels) -> Pixels:
        if self.config.crop is None:
            return pixels
        x, y, width, height = self.config.crop
        frame_height, frame_width = pixels.shape[:2]
        if x + width > frame_width or y + height > frame_height:
            crop = " ".join(map(str, self.config.crop))
            raise InputError(f"--crop {crop} is not inside frames of {frame_width}x{frame_height}")
        return pixels[y : y + height, x : x + width]

    def all(self, frames: Iterable[Frame]) -> Iterator[UInt8[Tensor, "channels size size"]]:
        """Yield each frame as often as the net is to be shown it."""
        for frame in frames:
            for _ in range(frame.shown):
                yield self(frame.pixels)


def changed(
    frame: UInt8[Tensor, "3 height width"], before: UInt8[Tensor, "3 height width"]
) -> UInt8[Tensor, "3 height width"]:
    """Return half of the difference of two frames, plus `STILL`."""
    half = (frame.short() - before.short()).div(2, rounding_mode="floor")
    return (half + STILL).clamp(0, 255).to(torch.uint8)
