"""The training step of every application: it never needs the host, captured or not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from recorder import Recorder
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import captioning.config
import captioning.train
import glimpse.config
import glimpse.train
import video.config
import video.train
from captioning.model import Captioner
from captioning.trained import Trained as TrainedCaptioner
from core.recurrent import Recurrent
from core.rng import reseed
from core.training import cuda_graphs
from core.training.config import LoopConfig
from core.training.optim import optimiser, set_learning_rate
from datasets.images.splits import Images
from datasets.text.vocabulary import Vocabulary
from glimpse.data import TrainingBatches
from video.trained import build
from vision.encoder import TINY, Encoder, make_encoder

CPU = torch.device("cpu")
Made = tuple[nn.Module, Callable[[int], tuple[Tensor, ...]]]


def glimpse_model(**options: Any) -> Made:
    config = glimpse.config.Config(
        glimpses=3,
        patch=4,
        what_units=6,
        where_units=5,
        glimpse_units=7,
        hidden=8,
        loop=LoopConfig(batch=5),
        **options,
    )
    images = Images(
        torch.randint(0, 256, (9, 1, 10, 10), dtype=torch.uint8),
        torch.randint(4, (9,)),
        tuple("abcd"),
    )
    batches = TrainingBatches(images, config)
    return glimpse.train.Learner(config, 1, 4), lambda step: batches(step, slice(0, 5))


def describing(*, static: bool = True, **options: Any) -> Made:
    config = captioning.config.Config(
        encoder="lite0",
        embedding=5,
        hidden=7,
        visual=6,
        scores=4,
        captions=2,
        coverage=0.5,
        **options,
    )
    vocabulary = Vocabulary.train(["a cat sees a dog", "a dog"], 1)
    decoder = Captioner(config, 6, len(vocabulary))
    learner = captioning.train.Learner(
        TrainedCaptioner(config, cast(Encoder, nn.Identity()), decoder, vocabulary), static=static
    )

    def batch(step: int) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(step)
        tokens = torch.randint(4, len(vocabulary), (4, 6), generator=random)
        tokens[1, 3 + step % 2 :] = vocabulary.pad
        return torch.randn(2, 9, 6, generator=random), tokens, torch.arange(2)

    return learner, batch


def labelling(*, pixels: bool, **options: Any) -> Made:
    config = video.config.Config(
        encoder="tiny" if pixels else "lite0", frame_size=16, frame=5, hidden=7, window=6, **options
    )
    encoder = make_encoder("tiny", preprocessing=replace(TINY, size=16))
    trained = build(config, encoder, tuple("abcd"))
    learner = video.train.Learner(trained, torch.rand(4) + 0.5, 3)
    shape = (3, 16, 16) if pixels else (2 * encoder.channels,)

    def batch(step: int) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(step)
        frames = torch.randint(0, 256, (6, 3, *shape), dtype=torch.uint8, generator=random)
        labels = torch.randint(-1, 4, (6, 3), generator=random)
        return frames if pixels else frames.half() / 256, labels, torch.tensor(step % 3 == 0)

    return learner, batch


STEPS: dict[str, Callable[[], Made]] = {
    "glimpse": lambda: glimpse_model(shift=1),
    "glimpse, lstm on canvases": lambda: glimpse_model(
        cell="lstm", scales=2, canvas=(20, 20), clutter=2
    ),
    "glimpse, a scan": lambda: glimpse_model(locator="scan", augment=("elastic",)),
    "captioning": describing,
    "captioning, pooled gru": lambda: describing(attention=False, cell="gru"),
    "video": lambda: labelling(pixels=False),
    "video, tiny, gru of two layers": lambda: labelling(pixels=True, cell="gru", layers=2),
}


def stepping(made: Made, backend: Recorder | None) -> Callable[[int], None]:
    """A step as `core.training.loop` does it."""
    learner, batch = made
    update = optimiser(learner, LoopConfig(), captured=True)

    def learn(*batch: Tensor) -> None:
        update.zero_grad()
        loss, _ = learner(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        update.step()

    work = cuda_graphs.Graphs(learn, backend, CPU) if backend else learn

    def step(number: int) -> None:
        reseed(CPU, number)
        set_learning_rate(update, 1e-2 / (number + 1))
        work(*batch(number))

    return step


@pytest.fixture(autouse=True)
def _steps_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: what is compiled for a CPU does not show the recorder what it does."""
    monkeypatch.setattr("core.engines.c.binding.library", lambda: None)
    monkeypatch.setattr("glimpse.fast.compiled.library", lambda: None)


@pytest.mark.parametrize("name", STEPS)
def test_captured_it_is_what_it_is_without(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    captured, recorder = STEPS[name](), Recorder()
    torch.manual_seed(0)
    eager = STEPS[name]()
    steps = stepping(captured, recorder), stepping(eager, None)
    for number in range(cuda_graphs.WARM_UP + 3):
        for step in steps:
            step(number)
    assert capsys.readouterr().err == ""  # it would say why it is not captured
    assert (recorder.captures, recorder.launches) == (1, 3)
    state = captured[0].state_dict()
    assert all(torch.equal(state[key], value) for key, value in eager[0].state_dict().items())


@pytest.mark.parametrize("name", STEPS)
def test_on_a_gpu_nothing_is_copied_from_or_to_the_host(name: str) -> None:
    """The pass forward, on tensors that know shape and device only."""
    learner, batch = STEPS[name]()
    given = batch(1)
    for part in learner.modules():
        if isinstance(part, Recurrent):
            part.engine = (
                "bptt"  # cuDNN's kernels cannot be asked for their shapes where there is no driver
            )
    with FakeTensorMode():

        def twin(real: Tensor) -> Tensor:
            return torch.empty(
                real.shape, dtype=real.dtype, device="cuda", requires_grad=real.requires_grad
            )

        weights = {
            key: twin(each) for key, each in (*learner.named_parameters(), *learner.named_buffers())
        }
        arguments = tuple(map(twin, given))
        with cuda_graphs.HostReads() as reads:
            loss, metrics = torch.func.functional_call(learner, weights, arguments)
    assert reads.operations == []
    assert {each.device.type for each in (loss, *metrics.values())} == {"cuda"}


def test_captions_of_static_shape_teach_the_same() -> None:
    found = []
    for static in (True, False):
        torch.manual_seed(0)
        learner, batch = describing(static=static)
        loss, metrics = learner.eval()(*batch(1))
        loss.backward()
        found.append([loss, metrics["accuracy"], *(p.grad for p in learner.parameters())])
    torch.testing.assert_close(*found)
