"""How well a trained model knows what comes next, beside models that count; and how well its marks close.

uv run sequences charlm evaluate runs/charlm/hello                    # nats and bits a character, on the held-out tail
uv run sequences charlm evaluate runs/charlm/pages --structure xml    # tags and brackets that close, in its samples
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Integer
from rich.table import Table

from core.tables import scores_table
from datasets.corpora import Corpus
from sequences.charlm.trained import Trained

ROWS, WINDOW, WARM = 64, 200, 256  # read side by side; at a time; before the first that counts
STRETCH = 1000  # characters a row has at least


@torch.no_grad()
def measure(trained: Trained, numbers: Integer[np.ndarray, " length"], start: int) -> dict[str, float]:
    """Return nats and bits a character, the mean of -log p over all from number `start` (1 or more) on.

    The text is read by several rows at once, each from its place to that of the next with the state carried on.
    Each has read what stands before its place, up to 256 characters and nothing before `start` = 1, which does not
    count.
    """
    if not 1 <= start < len(numbers):
        raise ValueError(f"start={start} is not within 1..{len(numbers) - 1}")
    count = len(numbers) - start
    rows = min(ROWS, max(1, count // STRETCH))
    stretch, warm = -(-count // rows), min(WARM, start - 1)
    begins = start + np.arange(rows) * stretch
    model, training = trained.model, trained.model.training
    model.eval()
    state, total = model.initial_state(rows), torch.zeros((), dtype=torch.float64, device=trained.device)
    for time in range(-warm, stretch, WINDOW):
        offsets = np.arange(time, min(time + WINDOW, stretch))[:, None]
        places = offsets + begins
        counts = torch.from_numpy((offsets >= 0) & (places < len(numbers))).to(trained.device)
        places = np.minimum(places, len(numbers) - 1)
        x, y = (torch.from_numpy(numbers[p].astype(np.int64)).to(trained.device) for p in (places - 1, places))
        logits, state = model(x, state)
        log_p = logits.float().log_softmax(-1).gather(-1, y[..., None]).squeeze(-1)
        total -= log_p.double()[counts].sum()
    model.train(training)
    return in_units(total.item() / count)


def in_units(nats: float) -> dict[str, float]:
    """Return a number of nats in all units: a bit is log 2 of them."""
    return {"nats": nats, "bits": nats / math.log(2)}


def compare(trained: Trained, corpus: Corpus, start: int) -> dict[str, dict[str, float]]:
    return {"this": measure(trained, corpus.numbers, start)}

def table(results, corpus, start) -> Table:
    return scores_table(results, "", "", decimals=3)
