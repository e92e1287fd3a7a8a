"""What a training of the character model holds: the model, its state, the averaged weights."""

import copy

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from core.losses import cross_entropy
from core.training.tbptt import CarriedState
from sequences.charlm.config import Config
from sequences.charlm.model import CharacterModel


class Learner(nn.Module):
    """The model together with the state that one window hands to the next.

    Args:
        config: the configuration.
        model: the model to train.

    Attributes:
        average: the model with averaged weights, None without `config.averaging`.
    """

    def __init__(self, config: Config, model: CharacterModel):
        super().__init__()
        self.model = model
        self.carried = CarriedState(model.initial_state, config.loop.batch)
        self.decay = config.averaging
        self.average = None
        if config.averaging:
            self.average = copy.deepcopy(model).requires_grad_(False)
            self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))

    @property
    def best(self) -> CharacterModel:
        """The model that validates and writes: the averaged one if there is one."""
        return self.average or self.model

    def forward(
        self,
        x: Int[Tensor, "time batch"],
        y: Int[Tensor, "time batch"],
        reset: Bool[Tensor, " batch"],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Learn from a window; return the mean loss in nats and what to log."""
        if self.average is not None:
            self._update(self.average)
        logits, state = self.model(x, self.carried.before(reset))
        self.carried.keep(state)
        return cross_entropy(logits, y), {}

    @torch.no_grad()
    def _update(self, average: CharacterModel) -> None:
        """Bring the weights before this step into the average.

        The first are all of it, and of the first 1 / (1 - decay) steps it is the plain mean:
        w_mean <- d w_mean + (1 - d) w, d = min(decay, t / (t + 1)).
        """
        steps = self.get_buffer("averaged")
        share = torch.clamp(1 / (steps + 1.0), min=1 - self.decay)
        for mean, weight in zip(average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(weight, share.to(mean.dtype))
        steps += 1
