"""The ways to wire sequences to a recurrent network (slides 17-18).

Each is a `Recurrent` and an output layer V.

one to one      a vector in, a vector out      an ordinary network of one hidden layer
one to many     a vector in, a sequence out    image captioning
many to one     a sequence in, a vector out    sentiment of a sentence
synced          a sequence in, as long a one out    a label for every frame of a video
encoder-decoder a sequence in, another out     translation

Sequences are time-first. Outputs are V h, before any softmax: the error function has it.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.cell import State
from core.recurrent import Recurrent


class Pattern(nn.Module):
    """What all have: `recurrent` and the output layer `V`; `options` are those of `Recurrent`."""

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, output_size: int, **options: Any
    ):
        super().__init__()
        self.recurrent = Recurrent(cell, input_size, hidden_size, **options)
        shared = {name: options[name] for name in ("bias", "device", "dtype") if name in options}
        self.V = nn.Linear(self.recurrent.output_size, output_size, **{"bias": False, **shared})


class OneToOne(Pattern):
    """y = V sigma(U x): a single step from h_0 = 0, so W has no part in it."""

    def forward(self, x: Float[Tensor, "batch input"]) -> Float[Tensor, "batch output"]:
        """The output of the one step."""
        return self.V(self.recurrent(x[None])[0][0])


class OneToMany(Pattern):
    """The first step reads x; the later ones have only the state to go on."""

    def forward(
        self, x: Float[Tensor, "batch input"], steps: int
    ) -> Float[Tensor, "{steps} batch output"]:
        """The outputs of `steps` steps."""
        inputs = F.pad(x[None], (0, 0, 0, 0, 0, steps - 1))
        return self.V(self.recurrent(inputs)[0])


class ManyToOne(Pattern):
    """One output, from the last layer's h at the sequence's end (in reverse: at its start)."""

    def forward(
        self, x: Float[Tensor, "time batch input"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch output"]:
        """The output for each sequence."""
        _, (h, *_) = self.recurrent(x, lengths=lengths)
        return self.V(h[-self.recurrent.directions :].movedim(0, 1).flatten(1))


class ManyToManySynced(Pattern):
    """An output for every step."""

    def forward(
        self,
        x: Float[Tensor, "time batch input"],
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch output"], State]:
        """The outputs and the final state, to go on from."""
        outputs, final = self.recurrent(x, state, lengths)
        return self.V(outputs), final


class EncoderDecoder(nn.Module):
    """The decoder starts from the encoder's final state (Cho et al., Sutskever et al. 2014).

    Args:
        cell: as for `Recurrent`.
        input_size: width of what is read.
        hidden_size: of both networks.
        output_size: width of what is written, and of the decoder's own inputs.
        options: of `Recurrent`, for both; the decoder only goes forward, so `bidirectional` cannot
            be one.
    """

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, output_size: int, **options: Any
    ):
        super().__init__()
        if options.get("bidirectional"):
            raise ValueError(
                "a decoder writes in one direction: bidirectional is not for EncoderDecoder"
            )
        self.encoder = Recurrent(cell, input_size, hidden_size, **options)
        self.decoder = ManyToManySynced(cell, output_size, hidden_size, output_size, **options)

    def forward(
        self,
        x: Float[Tensor, "time batch input"],
        previous: Float[Tensor, "steps batch output"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "steps batch output"]:
        """The outputs, given what should have been written before each of them (teacher forcing).

        `lengths` are those of x. To write freely, call `decoder(previous, state)` step by step,
        starting from the state of `encoder(x)`.
        """
        return self.decoder(previous, self.encoder(x, lengths=lengths)[1])[0]
