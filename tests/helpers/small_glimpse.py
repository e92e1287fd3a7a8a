"""A small recurrent attention model in double precision, and what it looks at."""

from dataclasses import replace

import torch
from torch import nn

from glimpse.config import Config
from glimpse.model import RecurrentAttention

SMALL = Config(
    patch=3,
    scales=2,
    what_units=6,
    where_units=5,
    glimpse_units=7,
    hidden=8,
    glimpses=4,
    input_scale=0.5,
)
CLASSES, BATCH = 3, 5


def make(cell="rnn", **changes):
    torch.manual_seed(0)
    model = RecurrentAttention(replace(SMALL, cell=cell, **changes), 2, CLASSES).double()
    nn.init.normal_(model.location.bias)
    images = torch.rand(BATCH, 2, 9, 13, dtype=torch.float64)
    labels = torch.arange(BATCH) % CLASSES
    noise = torch.randn(SMALL.glimpses, BATCH, 2, dtype=torch.float64)
    return model, images, labels, noise


def gradients(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))
