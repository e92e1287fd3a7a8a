"""The recurrent attention model (Mnih et al. 2014, "Recurrent Models of Visual Attention"; slide 19).

At every step the core's state says where to look, the glimpse network says what was there and where that was, and
the core takes it in:

    m_t = tanh(s V_l h_{t-1})                 location network: the mean of the policy
    l_t ~ N(m_t, std^2), cut to [-1, 1]^2     or l_t = m_t when greedy
    rho_t = retina(image, l_t)
    g_t = relu(W_g [relu(W_what rho_t), relu(W_where l_t)])
    h_t = core(g_t, h_{t-1})                  relu RNN as in the paper, or LSTM
    p_t = softmax(V_a h_t)                    action network: the class, asked for at every step
    b_t = V_b h_{t-1}                         baseline: what else to expect before looking, for every class

The first location comes from h_0 = 0: where to begin is learned like everything else, and every location that is
chosen is looked at. The factor s slows down the location network alone. Adam moves all weights at the same pace,
however noisy their gradients, and REINFORCE's are the noisiest: at full pace locations run into the corners before
they learn anything.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from core.activations import ACTIVATIONS
from core.cells import LSTMCell, RNNCell
from core.engines.choose import bptt
from core.engines.tape import Tape
from core.training import checkpoint
from core.training.config import from_dict
from glimpse import compiled, replay
from glimpse.config import Config
from glimpse.sensor import Prepared, make_sensor

Policy = Callable[[int, Float[Tensor, "batch 2"]], Float[Tensor, "batch 2"]]
"""Chooses the location of glimpse t, counted from 0, given the location network's mean."""


def greedy(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Look where the location network says."""
    return mean


def sampled(noise: Float[Tensor, "glimpses batch 2"], std: Float[Tensor, ""] | float) -> Policy:
    """Return the policy N(mean, std^2) of training; `noise` are its standard normal draws."""
    offsets = (std * noise).unbind()
    return lambda t, mean: mean + offsets[t]


def scattered(random: torch.Generator) -> Policy:
    """Return a policy that looks anywhere, whatever the location network says: a baseline."""
    return lambda t, mean: (
        torch.rand(mean.shape, generator=random, device=mean.device, dtype=mean.dtype) * 2 - 1
    )


def centred(t: int, mean: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Look at the centre, whatever the location network says: a baseline."""
    return torch.zeros_like(mean)


class Episode(NamedTuple):
    """What happened while looking."""

    locations: Float[Tensor, "glimpses batch 2"]  # looked at, within [-1, 1]
    chosen: Float[Tensor, "glimpses batch 2"]  # by the policy, before they were cut to the image
    means: Float[Tensor, "glimpses batch 2"]  # of the policy
    baselines: Float[Tensor, "glimpses batch classes"]  # log-odds, see glimpse/objective.py
    logits: Float[Tensor, "glimpses batch classes"]
    patches: Float[Tensor, "glimpses batch channels scales size size"]  # what the retina saw


def layer(
    activation: str,
    x: Float[Tensor, "batch in"],
    linear: nn.Linear,
    out: Float[Tensor, "batch out"],
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Float[Tensor, "batch out"]:
    """Write sigma(alpha W x + beta b) to `out`; under autocast the product is one of half precision."""
    z = torch.addmm(linear.bias, x, linear.weight.t(), alpha=alpha, beta=beta)
    return ACTIVATIONS[activation].into(z.to(out.dtype), out)


class GlimpseNetwork(nn.Module):
    """What was seen and where that was, in one vector (Mnih et al. 2014, fig. 1B)."""

    def __init__(self, pixels: int, what: int, where: int, size: int, input_scale: float):
        super().__init__()
        self.input_scale = input_scale
        self.what = nn.Linear(pixels, what)
        self.where = nn.Linear(2, where)
        nn.init.uniform_(
            self.where.weight, -3, 3
        )  # sharp from the start: it takes pixels to tell places apart
        self.combine = nn.Linear(what + where, size)

    @property
    def layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """W_what, W_where and W_g."""
        return self.what, self.where, self.combine

    def forward(
        self,
        pixels: Float[Tensor, "batch pixels"],
        location: Float[Tensor, "batch 2"],
        parts: Float[Tensor, "batch parts"],
        seen: Float[Tensor, "batch size"],
    ) -> Float[Tensor, "batch size"]:
        """Write [relu(W_what rho), relu(W_where l)] to `parts` and g = relu(W_g of it) to `seen`; return g."""
        what, where = parts.split((self.what.out_features, self.where.out_features), -1)
        layer("relu", pixels, self.what, what, alpha=1 / self.input_scale)
        layer("relu", location, self.where, where)
        return layer("relu", parts, self.combine, seen)


class RecurrentAttention(nn.Module):
    """Looks at an image as often as asked; the size of every part is its own."""

    def __init__(self, config: Config, channels: int, classes: int):
        super().__init__()
        self.config = config
        self.sensor = make_sensor(config.patch, config.scales, config.factor, config.method)
        pixels = channels * config.scales * config.patch**2
        self.glimpse = GlimpseNetwork(
            pixels, config.what, config.where, config.glimpse, config.input_scale
        )
        if config.cell == "lstm":
            self.recurrent = LSTMCell(config.glimpse, config.hidden, bias=True, forget_bias=1.0)
        else:
            self.recurrent = RNNCell(config.glimpse, config.hidden, bias=True, activation="relu")
            nn.init.eye_(
                self.recurrent.W
            )  # what was seen stays until it is unlearned (Le, Jaitly & Hinton 2015)
        self.location = nn.Linear(config.hidden, 2)
        self.action = nn.Linear(config.hidden, classes)
        self.baseline = nn.Linear(config.hidden, classes)
        nn.init.zeros_(
            self.location.bias
        )  # learning where to look first begins at the image's centre

    def aim(
        self, h: Float[Tensor, "batch hidden"], mean: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch 2"]:
        """Write the mean of the policy in state h to `mean` and return it."""
        s = self.config.location_scale
        return layer("tanh", h, self.location, mean, alpha=s, beta=s)

    def glance(
        self,
        tape: Tape,
        prepared: Prepared,
        chosen: Float[Tensor, "batch 2"],
        location: Float[Tensor, "batch 2"],
        patches: Float[Tensor, "batch channels scales size size"],
        parts: Float[Tensor, "batch parts"],
        seen: Float[Tensor, "batch size"],
    ) -> Float[Tensor, "batch hidden"]:
        """Look where was chosen to, cut to the image, and take it in: write what comes up and return h_t."""
        torch.clamp(chosen, -1, 1, out=location)
        self.sensor.write(prepared, location, patches)
        return tape.step(self.glimpse(patches.flatten(1), location, parts, seen))

    def look(
        self, images: Shaped[Tensor, "batch channels height width"], glimpses: int, policy: Policy
    ) -> Episode:
        """Look `glimpses` times where `policy` says, and classify after every glimpse.

        The loop runs without gradient, for each glimpse depends on the location before it. Its values are then
        attached to the graph of each part at once (`core.engines.bptt.replay`, `glimpse.replay`): a weight gradient is one
        product over all glimpses. No gradient runs through a location into the patch seen there.
        """
        config, tape = self.config, bptt.record(self.recurrent, len(images), glimpses)
        h, retina = tape.start[0], (images.shape[1], config.scales, config.patch, config.patch)
        shapes = (2,), (2,), retina, (config.what + config.where,), (config.glimpse,)
        values = means, locations, patches, parts, seen = [
            h.new_empty(glimpses, len(images), *n) for n in shapes
        ]
        choices = []
        with torch.no_grad():
            prepared = self.sensor.prepare(images)
            steps = (
                compiled.Steps(self, prepared) if compiled.serves(self, prepared, tape) else self
            )
            for t, (mean, *rest) in enumerate(
                zip(*(each.unbind() for each in values), strict=True)
            ):
                choices.append(policy(t, steps.aim(h, mean)))
                h = steps.glance(tape, prepared, choices[t], *rest)
        seen = replay.glimpse_network(
            self.glimpse.layers, config.input_scale, patches.flatten(2), locations, parts, seen
        )
        h = bptt.replay(self.recurrent, seen, tape)
        layers = self.location, self.baseline, self.action
        means, baselines, logits = replay.heads(layers, config.location_scale, h, means)
        return Episode(locations, torch.stack(choices), means, baselines, logits, patches)


def open_model(
    path: str | Path, device: torch.device | str
) -> tuple[RecurrentAttention, dict[str, Any]]:
    """Return a trained model, ready to look, and the checkpoint it came in (a run's best, or a .pt file).

    `checkpoint["extras"]` holds the image shape (channels, height, width) it was trained on and the class names.
    Raises `InputError` for a file that is no checkpoint of this application.
    """
    saved = checkpoint.open_run(path, "glimpse")
    config = from_dict(Config, saved["config"], str(path))
    channels = saved["extras"]["image_shape"][0]
    model = RecurrentAttention(config, channels, len(saved["extras"]["classes"]))
    checkpoint.restore(model, saved["weights"], path)
    return model.to(device).eval(), saved
