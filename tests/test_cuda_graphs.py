"""Steps captured as cuda_graphs, on a device that is played on the CPU (tests/recorder.py)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder import Recorder
from torch import Tensor, nn
from torch.nn import functional as F

from core import rng
from core.errors import InputError
from core.training import checkpoint, cuda_graphs
from core.training.config import LoopConfig
from core.training.loop import fit
from core.training.optim import optimiser, restore, set_learning_rate
from core.training.run import Run

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    loop: LoopConfig = field(default_factory=LoopConfig)


class Net(nn.Module):
    """A layer with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = F.dropout(self.layer(x), 0.5)
        return F.cross_entropy(logits, y), {"accuracy": (logits.argmax(-1) == y).float().mean()}


def batch(step: int, rows: slice) -> tuple[Tensor, Tensor]:
    random = rng.generator("cpu", step)
    return torch.randn(8, 4, generator=random)[rows], torch.randint(3, (8,), generator=random)[rows]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Lets `fit` find a device that captures."""
    made = Recorder()
    monkeypatch.setattr("core.training.loop.backend", lambda device: made)
    return made


def train(
    folder: Path, graph: bool, net: Any = None, batch: Any = batch, **changes: Any
) -> tuple[nn.Module, Run]:
    loop = LoopConfig(
        **{"steps": 12, "batch": 8, "log_every": 5, "clip": 1.0, "warm_up": 3, **changes}
    )
    run = Run(folder, "net", Config(loop), quiet=True)
    net = net or Net()
    fit(net, batch, lambda: {"accuracy": 0.0}, run, loop, graph=graph)
    return net, run


def test_steps_are_captured_only_where_that_is_asked_for(
    tmp_path: Path, recorder: Recorder
) -> None:
    loop = LoopConfig(steps=12, batch=8, clip=1.0)
    run = Run(tmp_path, "net", Config(loop), quiet=True)
    fit(Net(), batch, lambda: {"accuracy": 0.0}, run, loop)
    assert recorder.captures == 0


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": "adamw"}, {"optimiser": "sgd", "momentum": 0.9}]
)
def test_a_captured_training_is_that_of_eager_steps(
    tmp_path: Path, recorder: Recorder, changes: dict[str, Any]
) -> None:
    net, run = train(tmp_path / "a", True, **changes)
    assert (recorder.captures, recorder.launches) == (1, 12 - cuda_graphs.WARM_UP)
    twin, other = train(tmp_path / "b", False, **changes)
    assert (recorder.captures, recorder.launches) == (1, 12 - cuda_graphs.WARM_UP)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        # The learning rate is a float32, not a float64.
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)
    rows = [(each.directory / "metrics.jsonl").read_text().splitlines() for each in (run, other)]
    assert len(rows[0]) == 4
    for one, two in zip(*(map(json.loads, each) for each in rows), strict=True):
        assert one == pytest.approx(two, rel=1e-5)


def test_a_captured_run_goes_on_to_the_same_bits(tmp_path: Path, recorder: Recorder) -> None:
    whole, run = train(tmp_path / "a", True, save_every=4)

    def broken(step: int, rows: slice) -> tuple[Tensor, Tensor]:
        if step == 10:
            raise KeyboardInterrupt
        return batch(step, rows)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", True, batch=broken, save_every=4)
    assert checkpoint.load(tmp_path / "b/last.pt", "net")["step"] == 8
    recorder.captures = 0
    again, other = train(tmp_path / "b", True, save_every=4)
    assert recorder.captures == 1
    for p, q in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
    names = [(each.directory / "metrics.jsonl").read_text() for each in (run, other)]
    assert names[0] == names[1]


def test_a_run_may_change_between_captured_and_eager(tmp_path: Path, recorder: Recorder) -> None:
    made = optimiser(Net(), LoopConfig(), captured=True)
    assert all(
        group["capturable"] and isinstance(group["lr"], Tensor) for group in made.param_groups
    )
    eager = optimiser(Net(), LoopConfig())
    restore(eager, made.state_dict())
    assert not any(
        group["capturable"] or isinstance(group["lr"], Tensor) for group in eager.param_groups
    )
    restore(made, eager.state_dict())
    assert all(
        group["capturable"] and isinstance(group["lr"], Tensor) for group in made.param_groups
    )
    set_learning_rate(made, 0.25)
    assert [group["lr"].item() for group in made.param_groups] == [0.25]


def test_each_shape_has_a_graph_and_there_are_not_too_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    total, recorder = torch.zeros(()), Recorder()
    step = cuda_graphs.Graphs(lambda x: total.add_(x.sum()), recorder, CPU, most=2)
    for _ in range(cuda_graphs.WARM_UP + 2):
        for length in (1, 2, 3):
            step(torch.full((length,), 2.0))
    assert total == (cuda_graphs.WARM_UP + 2) * (2 + 4 + 6)
    assert (recorder.captures, recorder.launches) == (2, 4)
    assert capsys.readouterr().err.count("2 shapes are, this batch has another") == 1


@pytest.mark.parametrize(
    "reading",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().__setitem__(x > 0, torch.ones(3)),
        lambda x: torch.bincount(x.long()),
        lambda x: x.unique(),
    ],
)
def test_a_step_that_needs_the_host_runs_as_it_is(
    reading: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder, done = Recorder(), []
    step = cuda_graphs.Graphs(lambda x: done.append(reading(x)), recorder, CPU)
    for _ in range(5):
        step(torch.tensor([1.0, 2.0, 3.0]))
    assert (len(done), recorder.captures) == (5, 0)
    err = capsys.readouterr().err
    assert err.startswith(
        "note: this training step is not captured as a CUDA graph: it needs the host (aten."
    )
    assert len(err.splitlines()) == 1


def test_a_batch_on_the_host_is_not_captured(capsys: pytest.CaptureFixture[str]) -> None:
    recorder, done = Recorder(), []
    step = cuda_graphs.Graphs(lambda x: done.append(x.shape), recorder, torch.device("meta"))
    for _ in range(5):
        step(torch.ones(3))
    assert (len(done), recorder.captures) == (5, 0)
    assert "a batch that is there" in capsys.readouterr().err


def test_copies_between_devices_are_noted() -> None:
    with cuda_graphs.HostReads() as reads:
        torch.ones(2).to("meta")
        torch.empty(2, device="meta").copy_(torch.ones(2))
    assert reads.operations == ["aten._to_copy.default", "aten.copy_.default"]


def test_a_loss_that_is_not_finite_is_found_in_captured_steps(
    tmp_path: Path, recorder: Recorder
) -> None:
    def bad(step: int, rows: slice) -> tuple[Tensor, Tensor]:
        x, y = batch(step, rows)
        return x * (torch.inf if step == 6 else 1), y

    with pytest.raises(InputError, match="the loss is not finite at step 7"):
        train(tmp_path, True, batch=bad, log_every=10)
    assert recorder.launches > 3


def test_a_capture_that_fails_is_one_line() -> None:
    class Refusing(Recorder):
        def capture(self, work: Callable[[], object]) -> Callable[[], None]:
            raise RuntimeError("CUDA error: operation not permitted\nand more")

    step = cuda_graphs.Graphs(lambda x: x + 1, Refusing(), CPU)
    for _ in range(cuda_graphs.WARM_UP):
        step(torch.ones(3))
    with pytest.raises(
        InputError, match=r"\(CUDA error: operation not permitted\): leave out --graph$"
    ):
        step(torch.ones(3))


def test_there_are_no_graphs_on_a_cpu() -> None:
    assert cuda_graphs.backend(CPU) is None
