"""How fast the lecture's character model (3 x 512, slide 36) learns and writes, beside torch.nn.

    uv run python -m benchmarks.charlm            # table, about three minutes
    uv run python -m benchmarks.charlm --check    # exit code 1 if learning is not 1.2 times as fast

One process, one thread, everything interleaved, CPU time. Every figure is the median over rounds,
every ratio the median of the ratios within a round. Both models take characters one-hot, have the
same weights and dropout, and train with the same optimiser; the peer, on torch.nn.LSTM, makes
one-hot vectors in its step, as it needs them.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.entry import script
from benchmarks.glimpse_step import measure
from core.base_cell import State
from core.engines.bptt import detach
from core.losses import cross_entropy
from core.torch_weights import to_torch
from core.training.optim import optimiser
from sequences.charlm.config import SHAKESPEARE
from sequences.charlm.model import CharacterModel

CHARACTERS, BATCH, TIME = 65, 50, 100
WRITTEN = 50  # characters a round
BAR = 1.2


class Peer(nn.Module):
    """The same model as a user of torch.nn would write it."""

    def __init__(self, ours: CharacterModel):
        super().__init__()
        config = SHAKESPEARE
        self.dropout = ours.dropout
        self.lstm = nn.LSTM(CHARACTERS, config.hidden, config.layers, dropout=config.dropout)
        self.lstm.load_state_dict(to_torch(ours.recurrent.state_dict()))
        self.V = nn.Linear(config.hidden, CHARACTERS)
        self.V.load_state_dict(ours.V.state_dict())

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Scores of the next characters, and the state to go on from."""
        h, final = self.lstm(F.one_hot(x, CHARACTERS).float(), state)
        return self.V(F.dropout(h, self.dropout, self.training)), final


def training(model: nn.Module) -> Callable[[], None]:
    """Return a function that takes one whole step of training, with carried state."""
    loop = replace(SHAKESPEARE.loop, batch=BATCH)
    steps: torch.optim.Optimizer = optimiser(model, loop)
    text = torch.randint(CHARACTERS, (TIME + 1, BATCH), generator=torch.Generator().manual_seed(0))
    carried: list[State | None] = [None]

    def step() -> None:
        model.train()
        steps.zero_grad()
        logits, state = model(text[:-1], carried[0])
        carried[0] = detach(state)
        cross_entropy(logits, text[1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
        steps.step()

    return step


def writing(model: nn.Module) -> Callable[[], None]:
    """Return a function that writes some characters, each drawn at random given all before."""

    @torch.no_grad()
    def write() -> None:
        model.eval()
        last, state = torch.zeros(1, 1, dtype=torch.int64), None
        for _ in range(WRITTEN):
            logits, state = model(last, state)
            last = torch.multinomial(logits[-1].softmax(-1), 1)

    return write


def main(rounds: int = 9, check: bool = False) -> int:
    """Time both models and print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = CharacterModel(SHAKESPEARE, CHARACTERS)
    peer = Peer(ours)
    _require_same(ours, peer)
    jobs: dict[str, Callable[[], object]] = {
        "ours learns": training(ours),
        "peer learns": training(peer),
        "ours writes": writing(ours),
        "peer writes": writing(peer),
    }
    times = measure(jobs, rounds)
    table = Table(
        "characters a second", title=f"3 x 512 LSTM, one thread, torch {torch.__version__}"
    )
    for heading in ("this project", "torch.nn.LSTM", "times as fast"):
        table.add_column(heading, justify="right")
    gains = {}
    for verb, count, how in (
        ("learns", BATCH * TIME, f"batch {BATCH} x {TIME}"),
        ("writes", WRITTEN, "one text"),
    ):
        own = times[f"ours {verb}"]
        other = times[f"peer {verb}"]
        gains[verb] = median(b / a for a, b in zip(own, other, strict=True))
        rates = (f"{1e3 * count / median(times):,.0f}" for times in (own, other))
        table.add_row(f"{verb}, {how}", *rates, f"{gains[verb]:.2f}")
    Console().print(table)
    return int(check and gains["learns"] < BAR)


def _require_same(ours: CharacterModel, peer: Peer) -> None:
    """Both must compute the same, else a comparison of times says nothing."""
    text = torch.randint(CHARACTERS, (TIME, 2))
    ours.eval()
    peer.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(text)[0], peer(text)[0], rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    script(main)
