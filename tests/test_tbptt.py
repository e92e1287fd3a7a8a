"""The state that one window hands to the next."""

import torch
from torch import nn

from core.base_cell import State
from core.cells import RNNCell
from core.recurrent import Recurrent
from core.training.tbptt import CarriedState


def test_state_goes_on_row_by_row_and_survives_a_checkpoint():
    torch.manual_seed(0)
    recurrent = Recurrent("lstm", 3, 4, layers=2)
    carried = CarriedState(recurrent.initial_state, 2)
    x = torch.randn(6, 2, 3)
    whole, _ = recurrent(x)
    begun, state = recurrent(x[:3], carried.before(torch.tensor(True)))
    carried.keep(state)
    other = CarriedState(recurrent.initial_state, 2)
    other.load_state_dict(carried.state_dict())
    for first, expected in (
        (torch.tensor(False), whole[3:]),
        (torch.tensor([False, True]), torch.stack([whole[3:, 0], recurrent(x[3:])[0][:, 1]], 1)),
    ):
        gone_on, _ = recurrent(x[3:], other.before(first))
        torch.testing.assert_close(gone_on, expected)
    assert all(not part.requires_grad for part in other.before(torch.tensor(False)))
    assert begun.requires_grad


def test_cells_with_one_part_of_state():
    recurrent = Recurrent("gru", 3, 4)
    carried = CarriedState(recurrent.initial_state, 2)
    carried.keep((torch.ones(1, 2, 4),))
    (before,) = carried.before(torch.tensor([True, False]))
    assert before[0, :, 0].tolist() == [0, 1]


class LearnedStart(RNNCell):
    """A cell whose first state is a parameter."""

    def __init__(self, input_size: int, hidden_size: int, **options):
        super().__init__(input_size, hidden_size, **options)
        self.h0 = nn.Parameter(torch.ones(hidden_size))

    def initial_state(self, batch: int) -> State:
        return (self.h0.expand(batch, -1),)


def test_a_first_state_that_is_learned_is_where_windows_begin():
    recurrent = Recurrent(LearnedStart, 3, 4)
    carried = CarriedState(recurrent.initial_state, 2)
    carried.keep((torch.full((1, 2, 4), 5.0),))
    (before,) = carried.before(torch.tensor([True, False]))
    assert before[0, :, 0].tolist() == [1, 5]
    x = torch.randn(3, 2, 3)
    outputs, _ = recurrent(x, carried.before(torch.tensor(True)))
    assert torch.equal(outputs, recurrent(x)[0])
    outputs.sum().backward()
    gradient = recurrent.get_parameter("cells.0.0.h0").grad
    assert gradient is not None
    assert gradient.any()
