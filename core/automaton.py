"""The automaton inside a trained net, from clusters of its hidden states (slide 15).

A net that has learned what a finite transducer does has few distinct patterns of activity, one or
more for each state of the machine. `extract` finds them; `Automaton.minimal` is the machine they
amount to. Two machines that do the same have equal minimal ones, so `==` is the comparison.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

STARTS: Any = 10  # of k-means, the best of which counts (Any: scikit-learn's own types want a str)


@dataclass(frozen=True)
class Automaton:
    """A Moore machine: each step reads a symbol, enters a state, and prints that state's output.

    Before the first symbol it has printed nothing, so the start is no state but a row of its own.

    Attributes:
        first: the state that each symbol leads to from the start.
        step: the state that each symbol leads to from each state: step[state][symbol].
        output: what each state prints.

    Raises:
        ValueError: the rows are not of one length, or lead to states that there are not.
    """

    first: tuple[int, ...]
    step: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]

    def __post_init__(self) -> None:
        rows = (self.first, *self.step)
        if len(self.step) != len(self.output) or {len(row) for row in rows} != {len(self.first)}:
            raise ValueError(
                "an automaton has an output and a row of transitions, one a symbol, for each state"
            )
        if not {state for row in rows for state in row} <= set(range(len(self.output))):
            raise ValueError(
                f"a transition leads to a state that is not one of 0..{len(self.output) - 1}"
            )

    def states(self, symbols: Int[Tensor, "time batch"]) -> Int[Tensor, "time batch"]:
        """The state after every symbol."""
        rows = torch.tensor((*self.step, self.first), device=symbols.device)
        state, visited = torch.full_like(symbols[0], len(self.step)), []
        for symbol in symbols:
            state = rows[state, symbol]
            visited.append(state)
        return torch.stack(visited)

    def print(self, symbols: Int[Tensor, "time batch"]) -> Int[Tensor, "time batch"]:
        """What it prints on reading `symbols`."""
        return torch.tensor(self.output, device=symbols.device)[self.states(symbols)]

    def minimal(self) -> "Automaton":
        """The machine of the fewest states that prints the same.

        Its states are numbered in the order in which inputs reach them.

        The numbering makes it unique: two machines print the same on all inputs if and only if
        their minimal ones are equal.
        """
        block = self._blocks()
        order = self._reached(block)
        number = {block[state]: n for n, state in enumerate(order)}
        return Automaton(
            tuple(number[block[state]] for state in self.first),
            tuple(tuple(number[block[after]] for after in self.step[state]) for state in order),
            tuple(self.output[state] for state in order),
        )

    def roles(self) -> tuple[int | None, ...]:
        """Each state's state in the minimal machine; None for those that no input reaches."""
        block = self._blocks()
        number = {block[state]: n for n, state in enumerate(self._reached(block))}
        return tuple(number.get(block[state]) for state in range(len(self.output)))

    def _blocks(self) -> list[int]:
        """Classes of equivalent states, by splitting until nothing splits (Moore 1956).

        The first split is by output, the others by the classes that the inputs lead to.
        """
        block, count = list(self.output), len(set(self.output))
        while True:
            signs = [
                (block[state], *(block[after] for after in row))
                for state, row in enumerate(self.step)
            ]
            number = {sign: n for n, sign in enumerate(dict.fromkeys(signs))}
            block = [number[sign] for sign in signs]
            if len(number) == count:
                return block
            count = len(number)

    def _reached(self, block: list[int]) -> list[int]:
        """One state of each block that inputs lead to, the nearest to the start first."""
        found: dict[int, int] = {}
        waiting = list(self.first)
        while waiting:
            state = waiting.pop(0)
            if block[state] not in found:
                found[block[state]] = state
                waiting += self.step[state]
        return list(found.values())


class Extraction(NamedTuple):
    """What was found in a net.

    Attributes:
        automaton: its state n is cluster n; not minimised.
        centres: the mean activity of each cluster.
        states: the cluster of the net's state at every step.
    """

    automaton: Automaton
    centres: Float[Tensor, "states hidden"]
    states: Int[Tensor, "time batch"]


def extract(
    hidden: Float[Tensor, "time batch hidden"],
    symbols: Int[Tensor, "time batch"],
    outputs: Int[Tensor, "time batch"],
    alphabet: int,
    *,
    most: int = 32,
    seed: int = 0,
) -> Extraction | None:
    """Find the automaton that a net acts as, from a record of what it did.

    The hidden states are clustered by k-means for k = 1, 2, ... The first k is taken at which the
    clusters are the states of a machine: each symbol leads from each cluster always to the same
    one, and all of a cluster prints the same. The machine then prints on the whole record what the
    net printed.

    Args:
        hidden: the net's state after each symbol; of an LSTM h and c side by side.
        symbols: what it read, within 0..alphabet-1; each must occur in each state.
        outputs: what it printed.
        alphabet: how many symbols there are.
        most: the largest number of clusters to try.
        seed: of the k-means starts.

    Returns:
        The automaton and its clusters, or None if there is none of at most `most` states.
    """
    # Importing it takes seconds, which an automaton can do without.
    from sklearn.cluster import KMeans

    points = hidden.detach().flatten(0, 1).cpu().double().numpy()
    for k in range(1, min(most, len(np.unique(points, axis=0))) + 1):
        clusters = KMeans(k, n_init=STARTS, random_state=seed).fit(points)
        states = torch.from_numpy(clusters.labels_).long().view(symbols.shape)
        automaton = read_off(states, symbols.cpu(), outputs.cpu(), k, alphabet)
        if automaton is not None:
            return Extraction(automaton, torch.from_numpy(clusters.cluster_centers_), states)
    return None


def read_off(
    states: Int[Tensor, "time batch"],
    symbols: Int[Tensor, "time batch"],
    outputs: Int[Tensor, "time batch"],
    count: int,
    alphabet: int,
) -> Automaton | None:
    """The machine of the recorded `states`; None if it is not deterministic or incomplete."""
    before = torch.cat([torch.full_like(states[:1], count), states[:-1]])
    leads = torch.zeros(count + 1, alphabet, count, dtype=torch.bool)
    prints = torch.zeros(count, int(outputs.max()) + 1, dtype=torch.bool)
    leads[before, symbols, states] = True
    prints[states, outputs] = True
    if (leads.sum(-1) != 1).any() or (prints.sum(-1) != 1).any():
        return None
    *step, first = (tuple(row) for row in leads.int().argmax(-1).tolist())
    return Automaton(first, tuple(step), tuple(prints.int().argmax(-1).tolist()))
