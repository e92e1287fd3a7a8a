"""Sizes, states and indices that the C engine refuses, because it reads memory by them."""

import re

import pytest
import torch
from compared import FAST_CELLS

from core.cells import CELLS
from core.engines import bptt
from core.engines.c import binding, build
from core.recurrent import Recurrent

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")


def test_inputs_on_another_device_are_refused():
    net, x = Recurrent("lstm", 8, 16, engine="bptt"), torch.randn(5, 3, 8, device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        net(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sequence_must_fit_and_starts_from_zeros(dtype):
    cell = CELLS["lstm"](3, 5, dtype=dtype)
    x = torch.randn(4, 3, dtype=dtype)
    ours, zeros = (
        bptt.sequence(cell, [2, 2], x)[0],
        bptt.sequence(cell, [2, 2], x, cell.initial_state(2))[0],
    )
    torch.testing.assert_close(ours, zeros)
    for sizes, wrong in (
        ([2, 2, 2], x),
        ([2, 2], torch.randn(4, 7, dtype=dtype)),
        ([2, 2], torch.zeros(3).long()),
    ):
        with pytest.raises(ValueError, match="rows, as all steps have, of 3"):
            bptt.sequence(cell, sizes, wrong)


@pytest.mark.parametrize("sizes", [[2, 0], [1, 1, -1], [1, 2], []])
def test_a_batch_may_shrink_but_neither_grow_nor_vanish(sizes):
    cell = CELLS["gru"](3, 128)
    with pytest.raises(ValueError, match="must be at least 1, and none larger than the one before"):
        bptt.sequence(cell, sizes, torch.randn(sum(sizes), 3))


@pytest.mark.parametrize("cell", FAST_CELLS)
def test_states_and_inputs_of_another_shape_are_refused(cell):
    made, two, narrow = CELLS[cell](8, 16), torch.zeros(2, 16), torch.zeros(3, 4)
    parts = len(made.state_parts)
    other = (torch.zeros(3, 16),) * (3 - parts)
    for state in ((two,) * parts, (narrow,) * parts, other):
        with pytest.raises(ValueError, match="the state is"):
            bptt.sequence(made, [3, 2, 1], torch.randn(6, 8), state)
    with pytest.raises(ValueError, match="the state is"):
        bptt.record(made, 3, 1, (two,) * parts)
    with pytest.raises(ValueError, match="the state is"):
        bptt.record(made, 1, 1, (two,) * parts)
    tape = bptt.record(made, 2, 3)
    for rows in (1, 500):
        with pytest.raises(ValueError, match=f"{rows} rows for step 0, which has 2"):
            tape.step(torch.randn(rows, 8))
    for _ in range(3):
        tape.step(torch.randn(2, 8))
    with pytest.raises(ValueError, match="for a tape of 6 rows in all"):
        bptt.replay(made, torch.randn(3, 1, 8), tape)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_integers_of_a_sequence_must_be_within_the_width(wrong):
    cell, steps = CELLS["gru"](4, 16), 9  # more steps than columns: the C code looks rows of U up
    x = torch.zeros(steps, dtype=torch.long)
    x[3] = wrong
    with pytest.raises(ValueError, match=r"outside the range 0\.\.3"):
        bptt.sequence(cell, [1] * steps, x)


def test_fields_of_a_layer_stand_in_one_order_in_python_and_c():
    source = (binding.SOURCE.parent / "layer.h").read_text()
    fields = re.sub(
        r"/\*.*?\*/",
        "",
        source[source.index("enum cell") : source.index("} layer;")],
        flags=re.DOTALL,
    )
    fields = fields.partition("typedef struct {")[2].replace(
        "(void (*)(void *), void *, unsigned, unsigned)", ""
    )
    names = re.findall(r"(\w+)\)?(?:\(void\))?(?=[,;])", fields)
    assert names == list(binding.Layer._fields)
