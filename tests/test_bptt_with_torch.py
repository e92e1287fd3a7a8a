"""The C engine beside other features of torch: precisions, devices, transforms, exports."""

import copy
import pickle
from typing import Any

import pytest
import torch
from compared import FAST_CELLS
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.nn.utils.prune import random_unstructured
from torch.utils.flop_counter import FlopCounterMode

from core.engines.c import build
from core.recurrent import Recurrent

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler here")


def agree(net: Recurrent, x: Tensor, state: Any = None) -> None:
    """Outputs and weight gradients are those of the reference in double precision."""
    reference = copy.deepcopy(net).double()
    reference.engine = "reference"
    doubled = None if state is None else tuple(part.double() for part in state)
    outputs, expected = net(x, state)[0], reference(x.double(), doubled)[0]
    with torch.no_grad():
        bare = net(x, state)[0]
    leaves, others = list(net.parameters()), list(reference.parameters())
    for ours, theirs in zip(
        [outputs, bare, *torch.autograd.grad(outputs.sum(), leaves)],
        [expected, expected, *torch.autograd.grad(expected.sum(), others)],
        strict=True,
    ):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("cell", FAST_CELLS)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_net_can_train_after_inference_mode(cell, batch):
    net, x = Recurrent(cell, 8, 16), torch.randn(80, batch, 8)
    with torch.inference_mode():
        inferred = net(x)[0]
    outputs = net(x)[0]
    torch.testing.assert_close(outputs, inferred.clone())
    outputs.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_matter(dtype):
    net, x = Recurrent("lstm", 8, 16), torch.randn(5, 3, 8)
    torch.set_default_dtype(dtype)
    try:
        agree(net, x)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_device_does_not_matter():
    net, x = Recurrent("gru", 8, 16), torch.randn(5, 3, 8)
    expected = net(x)[0]
    with torch.device("meta"):
        assert torch.equal(net(x)[0], expected)


def test_tensors_with_the_negative_bit():
    net = Recurrent("lstm", 8, 16)
    turned = torch._neg_view  # pyright: ignore[reportPrivateImportUsage]
    agree(net, turned(torch.randn(5, 3, 8)))
    agree(net, torch.randn(5, 3, 8), tuple(turned(part.normal_()) for part in net.initial_state(3)))


def test_fake_tensors_run_on_another_engine():
    with FakeTensorMode():
        outputs, _ = Recurrent("lstm", 8, 16)(torch.randn(5, 3, 8))
    assert isinstance(outputs, FakeTensor)
    assert outputs.shape == (5, 3, 16)


@pytest.mark.parametrize("cell", FAST_CELLS)
def test_an_exported_net_takes_any_batch(cell):
    net, batch = Recurrent(cell, 8, 16, layers=2).eval(), torch.export.Dim("batch")
    with torch.no_grad():
        program = torch.export.export(net, (torch.randn(5, 3, 8),), dynamic_shapes=({1: batch},))
        x = torch.randn(5, 7, 8)
        torch.testing.assert_close(program.module()(x)[0], net(x)[0])


def test_saved_tensor_hooks_may_return_other_strides():
    net, x = Recurrent("lstm", 8, 16), torch.randn(70, 3, 8)
    leaves = list(net.parameters())
    expected = torch.autograd.grad(net(x)[0].sum(), leaves)

    def every_second(tensor: Tensor) -> Tensor:
        return torch.stack([tensor, tensor], -1)[..., 0]

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, every_second):
        outputs = net(x)[0]
    torch.testing.assert_close(torch.autograd.grad(outputs.sum(), leaves), expected)


def test_the_backward_pass_is_in_single_precision_under_autocast():
    net, x = Recurrent("lstm", 8, 16), torch.randn(70, 3, 8)
    leaves = list(net.parameters())
    expected = torch.autograd.grad(net(x)[0].sum(), leaves)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(torch.autograd.grad(net(x)[0].sum(), leaves), expected)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated"
)  # torch.func.jvp itself calls it
@pytest.mark.parametrize("cell", FAST_CELLS)
def test_transforms_of_torch_func_and_derivatives_in_forward_mode(cell):
    net, x = Recurrent(cell, 8, 16), torch.randn(5, 3, 8)
    expected = copy.deepcopy(net)
    expected.engine = "reference"

    def outputs(z: Tensor) -> Tensor:
        return net(z)[0]

    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            theirs = torch.func.jvp(lambda z: expected(z)[0], (x,), (x,))
            torch.testing.assert_close(torch.func.jvp(outputs, (x,), (x,)), theirs)
            several = torch.func.vmap(outputs)(torch.stack([x, 2 * x]))
            torch.testing.assert_close(several[1], outputs(2 * x))
            with forward_ad.dual_level():
                assert (
                    forward_ad.unpack_dual(outputs(forward_ad.make_dual(x, x))).tangent is not None
                )
    jacobian: Any = torch.autograd.functional.jacobian
    with pytest.raises(RuntimeError, match="vectorised ones"):
        jacobian(lambda z: outputs(z).sum((0, 2)), x, vectorize=True)
    agree(net, x)  # nothing of it is left


def test_hooks_of_cells_are_run():
    net, x = Recurrent("gru", 8, 16), torch.randn(5, 3, 8)
    random_unstructured(net.layers[0][0], "W", 0.5)
    before = after = net(x)[0]
    with torch.no_grad():
        net.layers[0][0].get_parameter("W_orig").mul_(3)
    for _ in range(2):
        after = net(x)[0]
        after.sum().backward()
    assert not torch.allclose(after, before)


def test_inputs_are_cast_to_the_precision_of_the_weights():
    net, x = Recurrent("lstm", 16, 128), torch.randn(20, 32, 16, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(net(x)[0], net(x.float())[0])


@pytest.mark.filterwarnings("ignore")  # `torch.jit` is deprecated, but people have it
@pytest.mark.parametrize("cell", FAST_CELLS)
def test_a_trace_computes_the_same(cell):
    net, x = Recurrent(cell, 8, 16, layers=2), torch.randn(5, 3, 8)
    traced: Any = torch.jit.trace(net, (torch.randn(5, 3, 8),), check_trace=False)
    torch.testing.assert_close(traced(x)[0], net(x)[0])


def test_flop_counters_see_the_operations():
    net, x = Recurrent("gru", 8, 16), torch.randn(5, 3, 8)
    with FlopCounterMode(display=False) as counter:
        net(x)
    assert counter.get_total_flops() == 5 * 3 * 2 * 48 * (8 + 16)


def test_a_net_can_be_pickled_and_copied():
    net, x = Recurrent("lstm", 3, 4), torch.randn(5, 2, 3)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other.layers[0][0].sigma_g is net.layers[0][0].sigma_g
        assert torch.equal(other(x)[0], net(x)[0])
