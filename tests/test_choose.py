"""The engine that auto chooses."""

import pytest
import torch
from torch import Tensor

from core.cells import CELLS
from core.engines import choose


@pytest.mark.parametrize(
    ("cell", "sizes", "inference", "by_kernel", "without"),
    [
        ("lstm", (1, 2, 4), "bptt", "bptt", "fused"),
        ("lstm", (1, 2, 512), "reference", "bptt", "fused"),
        ("lstm", (1, 1, 512), "bptt", "bptt", "fused"),
        ("lstm", (20, 32, 128), "fused", "bptt", "fused"),
        ("lstm", (20, 31, 128), "bptt", "bptt", "fused"),
        ("gru", (20, 32, 128), "bptt", "bptt", "bptt"),
        ("gru", (2, 2, 512), "bptt", "bptt", "bptt"),
        ("rnn", (9, 8, 4), "bptt", "bptt", "bptt"),
    ],
)
def test_auto_chooses_by_the_table(cell, sizes, inference, by_kernel, without, monkeypatch):
    time, batch, hidden = sizes
    layer, x = CELLS[cell](3, hidden), torch.zeros(time, batch, 3)
    lengths = torch.full((batch,), time)

    def chosen(lengths: Tensor | None = None) -> str:
        return choose.choose("auto", layer, x, layer.initial_state(batch), lengths).engine

    for compiled_serves in (True, False):
        monkeypatch.setattr(choose, "kernel_serves", lambda *_, yes=compiled_serves: yes)
        assert chosen() == (by_kernel if compiled_serves else without)
        assert chosen(lengths) == "bptt"
        with torch.no_grad():
            assert chosen() == (
                inference if compiled_serves else "reference" if time == 1 else "fused"
            )
            assert chosen(lengths) == ("bptt" if compiled_serves else "fused")
    layer.double()
    assert chosen() == "bptt"
