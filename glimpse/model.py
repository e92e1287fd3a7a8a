"""The recurrent attention model (Mnih et al. 2014, Recurrent Models of Visual Attention; slide 19).

At every step the recurrent state says where to look, the glimpse network encodes what is there and
where that is, and the recurrent cell takes it in (biases are left out):

    m_t = tanh(s V_l h_{t-1})                 location network: the mean of the policy
    a_t ~ N(m_t, std^2)                       the action, sampled; a_t = m_t when greedy
    l_t = clamp(a_t, -1, 1)                   the location looked at
    rho_t = retina(image, l_t)
    g_t = relu(W_g [relu(W_what rho_t), relu(W_where l_t)])
    h_t = cell(g_t, h_{t-1})                  relu RNN as in the paper, or LSTM
    p_t = softmax(V_a h_t)                    action network: the class, predicted at every step
    b_t = V_b h_{t-1}                         baseline: an offset to the log-odds of the expected
                                              return, for every class (glimpse/objective.py)

As h_0 = 0, the first location is learned through the bias of the location network. The factor s
slows down that network alone. Adam moves all weights at the same pace, however noisy their
gradients, and REINFORCE's are the noisiest: with s = 1 the locations saturate in the corners before
anything is learned.

Two things are written otherwise in the paper. Its state h_t emits l_t, at which the next glimpse
g_{t+1} looks, so it has l_{t-1} where l_t stands here. And its location network is linear,
m = V_l h, without tanh and s; here tanh keeps the mean within the image.

These are the paper's parts. In glimpse/networks stand the glimpse network, g_t, in
glimpse_network.py, and the location network, m_t, in locators.py. Others take their places by
configuration: nets that read the patches by convolutions (encoders.py, strided.py) or are
pretrained (patch_encoders.py), and a coarse view of the whole image or a map to search on
(locators.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.cells import CELLS
from core.training import checkpoint
from glimpse.config import Config
from glimpse.fast import rollout as fast
from glimpse.networks.encoders import ConvGlimpseNetwork
from glimpse.networks.glimpse_network import GlimpseNetwork
from glimpse.networks.locators import make_locator
from glimpse.networks.patch_encoders import EncoderGlimpseNetwork
from glimpse.networks.strided import StridedGlimpseNetwork
from glimpse.sensor import Batch, Prepared, Retina

DEFAULT = Path(__file__).parent / "default.pt"
"""The model of this package, which finds defects of circuit boards (glimpse/MODEL_CARD.md)."""

Policy = Callable[[int, Float[Tensor, "batch 2"]], Float[Tensor, "batch 2"]]
"""Samples the location of glimpse t, counted from 0 (l_{t+1} of the equations), given its mean."""


def greedy(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Look at the mean."""
    return mean


def stochastic(noise: Float[Tensor, "glimpses batch 2"], std: Float[Tensor, ""] | float) -> Policy:
    """Return the policy N(mean, std^2) of training; `noise` is standard normal."""
    offsets = (std * noise).unbind()
    return lambda t, mean: mean + offsets[t]


def random(generator: torch.Generator) -> Policy:
    """Return a policy that looks anywhere: a baseline."""

    def policy(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        uniform = torch.rand(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return uniform * 2 - 1

    return policy


def sampling(config: Config, generator: torch.Generator) -> Policy:
    """Return the policy N(mean, std^2) of the end of training."""
    std = config.std * config.std_decay

    def policy(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        return mean + std * torch.randn(mean.shape, generator=generator, device=mean.device)

    return policy


def center(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Look at the centre of the image: a baseline."""
    return torch.zeros_like(mean)


class Episode(NamedTuple):
    """The values of a rollout."""

    locations: Float[Tensor, "glimpses batch 2"]  # l_t, within [-1, 1]
    sampled: Float[Tensor, "glimpses batch 2"]  # a_t, by the policy, before clamping
    means: Float[Tensor, "glimpses batch 2"]  # of the policy
    baselines: Float[Tensor, "glimpses batch classes"]  # offsets to log-odds
    logits: Float[Tensor, "glimpses batch classes"]
    patches: Float[Tensor, "glimpses batch channels scales size size"]
    memories: Tensor | None = None  # of the locator before each glimpse, if it has any


GLIMPSE_NETWORKS = {
    "linear": GlimpseNetwork,
    "conv": ConvGlimpseNetwork,
    "strided": StridedGlimpseNetwork,
}
"""The glimpse network of each `what`; any other `what` is the name of a pretrained encoder."""


class RecurrentAttention(nn.Module):
    """Classifies images from a sequence of glimpses; each image may have a size of its own."""

    def __init__(self, config: Config, channels: int, classes: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.retina = Retina(config.patch, config.scales, config.factor, config.width)
        network = GLIMPSE_NETWORKS.get(config.what, EncoderGlimpseNetwork)
        self.glimpse = network(channels, config)
        options = {"rnn": {"activation": "relu"}, "lstm": {"forget_bias": 1.0}}
        self.recurrent = CELLS[config.cell](
            config.glimpse_units, config.hidden, bias=True, **options.get(config.cell, {})
        )
        if config.cell == "rnn":
            # The identity keeps what was seen until it is unlearned (Le, Jaitly & Hinton 2015).
            nn.init.eye_(self.recurrent.W)
        self.location: Any = make_locator(channels, classes, config, self.retina)
        self.action = nn.Linear(config.hidden, classes)
        self.baseline = nn.Linear(config.hidden, classes)

    def rollout(self, images: Batch, glimpses: int, policy: Policy) -> Episode:
        """Look `glimpses` times where `policy` says, and classify after every glimpse.

        No gradient runs through a location into the patch seen there. A model of the paper's parts
        is run on a CPU by glimpse/fast/rollout.py, which computes the same as `_step_by_step`.

        Raises `ValueError` for images with other channels than the model's.
        """
        check_channels(images, self.channels)
        prepared = self.retina.prepare(images)
        memory = self.location.start(images)
        if prepared.images is not None and fast.serves(self):
            memories = self.location.memories(memory, glimpses)
            values = fast.run(self, prepared.images, memories, glimpses, policy)
            return Episode(*values, memories=memories)
        return self._step_by_step(prepared, memory, glimpses, policy)

    def _step_by_step(
        self, prepared: Prepared, memory: Tensor | None, glimpses: int, policy: Policy
    ) -> Episode:
        """Return the rollout at prepared images, from the locator's first memory."""
        state = self.recurrent.initial_state(len(prepared.half_sizes))
        h = state[0]
        steps = []
        for t in range(glimpses):
            mean = self.location.mean(h, memory)
            sampled = policy(t, mean.detach())
            location = sampled.clamp(-1, 1)
            patches = self.retina(prepared, location)
            features = self.glimpse.features(patches)
            baseline = self.baseline(h.detach())
            h, state = self.recurrent(self.glimpse(features, location), state)
            after = self.location.update(memory, features, location, prepared.half_sizes)
            logits = self.action(h) + self.location.class_logits(after)
            steps.append(Episode(location, sampled, mean, baseline, logits, patches, memory))
            memory = after
        return Episode(*(_stack(values) for values in zip(*steps, strict=True)))


def _stack(values: Any) -> Any:
    return None if values[0] is None else torch.stack(values)


def check_channels(images: Batch, channels: int) -> None:
    """Raise `ValueError` for images with another number of channels."""
    given = {images.shape[1]} if isinstance(images, Tensor) else {len(image) for image in images}
    for number in given - {channels}:
        raise ValueError(f"images of {number} channels for a model of {channels}")


def open_model(
    path: str | Path, device: torch.device | str
) -> tuple[RecurrentAttention, dict[str, Any]]:
    """Return a trained model and its checkpoint, from a run directory (its best.pt) or a .pt file.

    `checkpoint["extras"]` holds `image_shape` (channels, height, width; the latter two None where
    the images differ in size) and the names of the `classes`.
    Raises `InputError` for a file that is no checkpoint of this application.
    """
    with checkpoint.opened(path, "glimpse", Config) as (config, saved):
        channels = saved["extras"]["image_shape"][0]
        classes = len(saved["extras"]["classes"])
        model = checkpoint.build(
            lambda: RecurrentAttention(config, channels, classes), saved["weights"], path
        )
    return model.to(device).eval(), saved
