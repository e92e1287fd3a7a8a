"""The only training loop.

A model is a module whose `forward(*batch)` gives `(loss, metrics)`: the mean loss of a batch and
other means to watch. `fit` trains it, `evaluate` measures it. Nothing is read from the device
between rows of the log. All that is random follows from (seed, step): on the CPU, a run that was
killed and resumed ends with the same bits as an unbroken one.
"""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from core.errors import InputError
from core.rng import reseed
from core.training import checkpoint, distributed
from core.training.config import LoopConfig
from core.training.cuda_graphs import Graphs, backend
from core.training.optim import learning_rate, optimiser, restore, set_learning_rate
from core.training.run import Run
from core.training.signals import noted_signals
from core.training.sums import Sums


class MakeBatch(Protocol):
    """Makes the rows `rows` of the global batch of step `step`: the arguments of the model."""

    def __call__(self, step: int, rows: slice) -> tuple[Any, ...]:
        """Return the arguments of `model.forward` for these rows."""
        ...


def fit(
    model: nn.Module,
    batch: MakeBatch,
    validate: Callable[[], Mapping[str, float]],
    run: Run,
    config: LoopConfig,
    *,
    monitor: str = "accuracy",
    mode: Literal["max", "min"] = "max",
    extras: Mapping[str, Any] | None = None,
    rate_factors: Mapping[str, float] | None = None,
    graph: bool = False,
    after: Callable[[int], None] | None = None,
) -> None:
    """Train `model`, or go on from the run's last.pt. It ends with its last weights, not its best.

    Args:
        model: on its device; `forward(*batch)` gives the mean loss and a dict of means, all
            0-dimensional.
        batch: makes the batch of a step: all rows for a single process, its share under
            `torchrun`.
        validate: measures the model as it is now.
        run: where checkpoints and metrics go.
        config: how to train.
        monitor: the result of `validate` that decides which checkpoint is best.pt.
        mode: whether more or less of it is better.
        extras: what else each checkpoint is to hold, e.g. class names.
        rate_factors: of the learning rate, for parts of the model by name.
        graph: capture the steps, where the device can do that and a single process trains (see
            `core.training.cuda_graphs`). Off by default: it has not yet run on a GPU.
        after: called after each step with the number of steps done, e.g. to show now and then
            what the model can do.

    Raises:
        InputError: the loss or the weights are not finite any more, or a file cannot be written.
            The checkpoints from before stay.
        SystemExit: code 130 or 143, after SIGINT or SIGTERM: the step was finished and last.pt
            written.
    """
    state = _Training(model, run, config, dict(extras or {}), rate_factors, graph)
    shown = "train/loss", f"validation/{monitor}"
    with run.open(state.step, config.steps, shown), noted_signals() as received:
        stop = False
        while state.step < config.steps and not stop:
            state.update(batch)
            logs = state.is_due(config.log_every)
            validates = state.is_due(config.validate_every)
            saves = state.is_due(config.save_every or config.validate_every)
            if logs or validates:
                state.require_finite()
            if logs:
                state.log()
            if validates and run.writes:
                reseed(state.device, config.seed, state.step, "validate")
                state.keep_if_best(validate(), monitor, mode)
            if logs or distributed.world_size() == 1:  # all processes must reduce at the same step
                stop = distributed.any_process(bool(received), state.device)
            if saves or stop:
                state.save()
            if after and run.writes:
                after(state.step)
            run.tick(state.step)
    distributed.finish()
    if stop:
        if run.writes:
            progress = f"stopped after step {state.step} of {config.steps}"
            print(f"{progress}; go on with: {run.resume_command}")
        raise SystemExit(128 + (received[0] if received else signal.SIGTERM))


class _Training:
    """The state of a training between two steps, and what a step does with it."""

    def __init__(
        self,
        model: nn.Module,
        run: Run,
        config: LoopConfig,
        extras: dict[str, Any],
        rate_factors: Mapping[str, float] | None,
        graph: bool,
    ) -> None:
        self.model = model
        self.run = run
        self.config = config
        self.extras = extras
        self.device = next(model.parameters()).device
        self.rows = distributed.rows(config.batch)
        capture = None
        if graph and distributed.world_size() == 1:
            capture = backend(self.device)
        self.optimiser = optimiser(model, config, rate_factors, captured=capture is not None)
        self.work: Callable[..., Any] = self.learn
        if capture is not None:
            self.work = Graphs(self.learn, capture, self.device)
        self.step = 0  # steps done
        self.sums = Sums()  # of training metrics since the last row of the log
        self.unlogged = 0  # steps since that row
        # Of these, on the device, the steps before the first loss that was not finite.
        self.finite = torch.zeros((), dtype=torch.int64, device=self.device)
        self.best: float | None = None
        self.metrics: dict[str, float] = {}  # of the last validation
        # Without the cache: a weight cast under no_grad, as in closed loops, has no gradient.
        self.precision = torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=config.precision == "bf16",
            cache_enabled=False,
        )
        self.start = time.monotonic()
        if last := run.last():
            self.restore(last)
        self.replica = distributed.replicate(model)
        model.train()

    def restore(self, last: Mapping[str, Any]) -> None:
        """Go on from the checkpoint last.pt."""
        file = self.run.directory / "last.pt"
        if changed := checkpoint.changes(last["extras"], self.extras):
            raise InputError(
                f"the data of {self.run.directory} have changed ({changed}): put them back as they "
                "were, or begin a new run"
            )
        checkpoint.restore(self.model, last["weights"], file)
        with checkpoint.telling_alterations(file):
            restore(self.optimiser, last["training"]["optimiser"])
            sums = last["training"]["sums"]
            self.sums.add({name: value.to(self.device) for name, value in sums.items()})
            self.best = last["training"]["best"]
            self.step = last["step"]
            self.metrics = last["metrics"]
            self.start -= last["seconds"]
        self.unlogged = self.step % self.config.log_every
        self.finite += self.unlogged

    def update(self, batch: MakeBatch) -> None:
        """One step of training; never waits for the device."""
        reseed(self.device, self.config.seed, self.step, distributed.rank(), "step")
        set_learning_rate(self.optimiser, learning_rate(self.config, self.step))
        self.work(*batch(self.step, self.rows))
        self.step += 1
        self.unlogged += 1

    def learn(self, *batch: Tensor) -> None:
        """The work of a step on the device: on tensors that stay, so that it can be captured."""
        self.optimiser.zero_grad()
        with self.precision:
            loss, metrics = self.replica(*batch)
        loss.backward()
        if self.config.clip:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
            metrics = {**metrics, "gradient_norm": norm}
        self.optimiser.step()
        self.sums.add({**metrics, "loss": loss})
        # A sum that is not finite stays so.
        self.finite += torch.isfinite(self.sums.values["loss"])

    def is_due(self, every: int) -> bool:
        """Whether this is the last step or a multiple of `every` (0: the last only)."""
        return self.step == self.config.steps or (every > 0 and self.step % every == 0)

    def log(self) -> None:
        """Write the means since the last row."""
        means = {
            f"train/{name}": value
            for name, value in self.sums.shared().divided(self.unlogged).items()
        }
        self.run.log(
            self.step, {**means, "learning_rate": learning_rate(self.config, self.step - 1)}
        )
        self.sums.clear()
        self.finite.zero_()
        self.unlogged = 0

    def keep_if_best(self, metrics: Mapping[str, float], monitor: str, mode: str) -> None:
        """Log the results of a validation; keep the weights if none before were as good."""
        self.metrics = {name: float(value) for name, value in metrics.items()}
        self.run.log(
            self.step, {f"validation/{name}": value for name, value in self.metrics.items()}
        )
        value = self.metrics[monitor]
        if self.best is None:
            better = not math.isnan(value)
        elif mode == "max":
            better = value > self.best
        else:
            better = value < self.best
        if better:
            self.best = value
            self.run.save("best.pt", self.payload())

    def save(self) -> None:
        """Write last.pt: all that the steps to come depend on."""
        self.require_finite()
        sums = self.sums.shared().values
        training = {"optimiser": self.optimiser.state_dict(), "sums": sums, "best": self.best}
        self.run.save("last.pt", {**self.payload(), "training": training})

    def payload(self) -> dict[str, Any]:
        """What every checkpoint holds."""
        return {
            "step": self.step,
            "seconds": time.monotonic() - self.start,
            "metrics": self.metrics,
            "weights": self.model.state_dict(),
            "extras": self.extras,
        }

    def require_finite(self) -> None:
        """InputError unless all losses since the last row, weights and their state are finite."""
        good = int(distributed.all_reduce_min(self.finite).item())
        states = [v for state in self.optimiser.state.values() for v in state.values()]
        tensors = [v for v in (*self.model.parameters(), *states) if isinstance(v, Tensor)]
        if good < self.unlogged:
            what = f"loss is not finite at step {self.step - self.unlogged + good + 1}"
        elif not torch.stack([v.isfinite().all().to(self.device) for v in tensors]).all():
            what = f"weights are not finite after step {self.step}"
        else:
            return
        hint = "try a lower --learning-rate or --clip 1"
        raise InputError(
            f"the {what}: {hint}; checkpoints in {self.run.directory} are from before that"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode, without gradients; afterwards it is in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def evaluate(
    model: nn.Module, sums: Callable[..., Mapping[str, Tensor]], batches: Iterable[tuple[Any, ...]]
) -> dict[str, float]:
    """Means over all batches, with `model` in evaluation mode and without gradients.

    Args:
        model: the module that `sums` makes use of.
        sums: `sums(*batch)` gives sums over the batch, and the number of their summands as "count".
        batches: the arguments of `sums`, batch by batch; KeyError if there are none.
    """
    whole = Sums()
    with evaluating(model):
        for batch in batches:
            whole.add(sums(*batch))
    return whole.divided(whole.values.pop("count").item())
