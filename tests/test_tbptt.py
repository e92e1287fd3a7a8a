"""The state that one window hands to the next."""

import torch

from core.recurrent import Recurrent
from core.training.tbptt import CarriedState


def test_state_goes_on_row_by_row_and_survives_a_checkpoint():
    torch.manual_seed(0)
    recurrent = Recurrent("lstm", 3, 4, layers=2)
    carried = CarriedState(recurrent.initial_state(2))
    x = torch.randn(6, 2, 3)
    whole, _ = recurrent(x)
    begun, state = recurrent(x[:3], carried.before(torch.tensor(True)))
    carried.keep(state)
    other = CarriedState(recurrent.initial_state(2))
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
    carried = CarriedState(recurrent.initial_state(2))
    carried.keep((torch.ones(1, 2, 4),))
    (before,) = carried.before(torch.tensor([True, False]))
    assert before[0, :, 0].tolist() == [0, 1]
