"""Data that live on the device give the batches that they give when they do not."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import captioning.config
import captioning.data
import captioning.sources
import video.config
import video.data
import video.reading
from core.training import devices
from core.training.config import LoopConfig

CPU = torch.device("cpu")


class Kept:
    """Features of a frozen encoder."""

    def __init__(self, features: Tensor):
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, rows: Sequence[int]) -> Tensor:
        return self.features[list(rows)]


@pytest.fixture
def enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "fits", lambda size, device: size < 10_000)


def test_captions(enough_memory: None) -> None:
    source = Kept(torch.randn(7, 4, 3).half())
    there = captioning.sources.resident(source, CPU)
    assert isinstance(there, captioning.sources.Resident)
    assert len(there) == 7
    config = captioning.config.Config(captions=2, loop=LoopConfig(batch=5))
    sentences = [[[1, 3, 2]]] * 7
    for step in range(3):
        one, other = (
            captioning.data.TrainingBatches([each, each], sentences, config, CPU, 0)(
                step, slice(1, 4)
            )
            for each in (source, there)
        )
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    large = Kept(torch.randn(7, 4, 300))
    assert captioning.sources.resident(large, CPU) is large


def test_clips(enough_memory: None) -> None:
    clips = [
        video.reading.LoadedClip(str(n), torch.randn(5 + n, 3), [], torch.arange(5 + n))
        for n in range(4)
    ]
    there = video.data.resident(clips, CPU)
    assert there is not clips
    config = video.config.Config(window=4, loop=LoopConfig(batch=2))
    for step in range(3):
        one, other = (
            video.data.TrainingBatches(each, config, CPU)(step, slice(0, 2))
            for each in (clips, there)
        )
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    large = [video.reading.LoadedClip("a", torch.randn(5, 3000), [], torch.arange(5))]
    assert video.data.resident(large, CPU) is large
