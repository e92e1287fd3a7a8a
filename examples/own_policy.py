"""A glimpse policy of one's own: scan the image in rows instead of learning where to look.

    uv run python examples/own_policy.py    # a minute; 20 % error, looking at the centre 74 %

A policy is a function of the glimpse's number t and of the mean that the location network proposes;
it returns (x, y) in [-1, 1]. The network is trained with it by cross-entropy alone: places that
do not depend on the network need no REINFORCE. The digits lie anywhere on a 20 x 20 canvas.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from glimpse.data import TrainingBatches, load
from glimpse.evaluate import accuracy, probabilities
from glimpse.model import RecurrentAttention, center
from glimpse.presets import PRESETS

GRID = [(x, y) for y in (-0.45, 0.45) for x in (-0.6, 0.0, 0.6)]


def scanner(t: int, mean: Tensor) -> Tensor:
    """Return the place of glimpse t [batch, 2]: two rows of three, from the top left."""
    return mean.new_tensor(GRID[t % len(GRID)]).expand_as(mean)


def main(steps: int = 2000) -> dict[str, float]:
    """Train with the scanner; return the validation error in % under several policies."""
    torch.manual_seed(0)
    config = PRESETS["digits"]
    config = replace(config, loop=replace(config.loop, steps=steps))
    splits = load(config, torch.device("cpu"))
    model = RecurrentAttention(config, channels=1, classes=10)
    batches = TrainingBatches(splits.train, config)
    adam = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(steps):
        images, labels, *_ = batches(step, slice(config.loop.batch))
        logits = model.rollout(images, len(GRID), scanner).logits  # [glimpses, batch, classes]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(GRID)))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 500 == 499:
            print(f"step {step + 1}  loss {loss.item():.3f}")
    errors = {}
    for policy in (scanner, center):
        p = probabilities(model.eval(), splits.validation, len(GRID), policy)
        errors[policy.__name__] = 100 * (1 - accuracy(p, splits.validation.labels)[-1])
        print(f"{policy.__name__:8}{errors[policy.__name__]:5.1f} % error")
    return errors


if __name__ == "__main__":
    main()
