"""What layers refuse: shapes, dtypes and weights that are not theirs, each in a sentence."""

import pytest
import torch
from compared import FUSED_CELLS
from torch import nn

from core.cells import RNNCell
from core.engines import bptt
from core.recurrent import Recurrent
from core.torch_weights import from_torch


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown name 'elman'; choose one of rnn, lstm, gru"):
        Recurrent("elman", 3, 4)
    with pytest.raises(ValueError, match="unknown name 'fast'; choose one of auto"):
        Recurrent("rnn", 3, 4, engine="fast")
    with pytest.raises(ValueError, match="layers=0"):
        Recurrent("rnn", 3, 4, layers=0)
    recurrent, x = Recurrent("rnn", 3, 4), torch.zeros(5, 2, 3)
    with pytest.raises(ValueError, match=r"x is torch.float32 \[5, 3\]"):
        recurrent(x[:, 0])
    with pytest.raises(ValueError, match=r"x is torch.int64 \[5, 2, 3\]"):
        recurrent(x.long())
    with pytest.raises(ValueError, match=r"the state is \[\[2, 2, 4\]\]"):
        recurrent(x, (torch.zeros(2, 2, 4),))
    with pytest.raises(ValueError, match="not one integer a sequence"):
        recurrent(x, lengths=torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="lengths from 1 to 6"):
        recurrent(x, lengths=torch.tensor([1, 6]))
    with pytest.raises(ValueError, match="lengths are a list, not a tensor of integers"):
        recurrent(x, lengths=[5, 1])  # type: ignore[arg-type]
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 1]))
    with pytest.raises(
        ValueError, match=r"x is a PackedSequence, not a tensor; .* `lengths` given"
    ):
        recurrent(packed)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["auto", "reference", "bptt", "fused"])
@pytest.mark.parametrize("cell", FUSED_CELLS)
def test_a_state_of_another_dtype_is_refused(cell, engine):
    recurrent, x = Recurrent(cell, 3, 4, engine=engine), torch.zeros(5, 2, 3)
    state = tuple(part.double() for part in recurrent.initial_state(2))
    with pytest.raises(ValueError, match=r"the state is torch.float64.* must be torch.float32"):
        recurrent(x, state)
    only = recurrent.layers[0][0]
    first = tuple(part[0] for part in state)
    for run in (
        lambda: bptt.record(only, 2, 5, first),
        lambda: bptt.sequence(only, [2] * 5, x.flatten(0, 1), first),
    ):
        with pytest.raises(ValueError, match=r"the state is torch.float64.* must be torch.float32"):
            run()


def test_a_state_may_be_more_precise_than_the_weights_if_the_cell_says_so():
    class Precise(RNNCell):
        def initial_state(self, batch):
            return (super().initial_state(batch)[0].double(),)

        def forward(self, x, state):
            h, _ = super().forward(x.float(), (state[0].float(),))
            return h, (h.double(),)

    recurrent, x = Recurrent(Precise, 3, 4), torch.randn(5, 2, 3)
    outputs, state = recurrent(x)
    assert state[0].dtype == torch.float64
    first, between = recurrent(x[:2])
    second, _ = recurrent(x[2:], between)
    torch.testing.assert_close(torch.cat([first, second]), outputs)


@pytest.mark.parametrize("theirs", [nn.LSTM(3, 4, proj_size=2), nn.LSTMCell(3, 4), nn.Linear(3, 4)])
def test_weights_that_are_no_layers_of_torch_nn_are_refused(theirs):
    with pytest.raises(ValueError, match="have no weight weight"):
        from_torch(theirs.state_dict())
