import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rng
from core.training import batches, devices


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 5),
    size=st.integers(1, 30),
    batch=st.integers(1, 70),
    epochs=st.integers(1, 4),
)
def test_each_sample_occurs_once_an_epoch(seed: int, size: int, batch: int, epochs: int) -> None:
    steps = -(-epochs * size // batch)
    drawn = [batches.indices(seed, step, size, batch) for step in range(steps)]
    assert {tuple(each.shape) for each in drawn} == {(batch,)}
    stream = torch.cat(drawn)[: epochs * size].view(epochs, size)
    assert torch.equal(stream.sort(1).values, torch.arange(size).expand(epochs, size))


def test_a_batch_does_not_depend_on_what_was_drawn_before() -> None:
    forwards = [batches.indices(3, step, 100, 32) for step in range(20)]
    batches.permutation.cache_clear()
    backwards = [batches.indices(3, step, 100, 32) for step in reversed(range(20))]
    assert torch.equal(torch.stack(forwards), torch.stack(backwards[::-1]))


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(batches.indices(seed, epoch, 50, 50).tolist())
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_a_batch_may_be_written_to() -> None:
    first = batches.indices(0, 0, 10, 5)
    expected = first.clone()
    first.zero_()
    assert torch.equal(batches.indices(0, 0, 10, 5), expected)


def test_seeds_are_the_same_in_every_process_and_differ_between_keys() -> None:
    # A change here breaks the resuming of old runs.
    assert rng.fold(0, 1, "noise") == 5921487384644017451
    keys = [
        (seed, step, name)
        for seed in range(10)
        for step in range(1000)
        for name in ("noise", "batch")
    ]
    seeds = {rng.fold(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert 0 <= min(seeds) < max(seeds) < 2**63


def test_generators_follow_from_their_key() -> None:
    def draw(*key: int | str) -> torch.Tensor:
        return torch.randn(1000, generator=rng.generator("cpu", *key))

    assert torch.equal(draw(0, 7, "noise"), draw(0, 7, "noise"))
    assert abs(torch.corrcoef(torch.stack([draw(0, 7, "noise"), draw(0, 8, "noise")]))[0, 1]) < 0.1
    rng.reseed(torch.device("cpu"), 0, 7, "noise")
    assert torch.equal(torch.randn(1000), draw(0, 7, "noise"))


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (9, 3), (2, 5), (0, 4)])
def test_in_order_covers_everything_once(size: int, batch: int) -> None:
    slices = batches.in_order(size, batch)
    assert [i for part in slices for i in range(size)[part]] == list(range(size))
    assert all(part.stop - part.start <= batch for part in slices)


def test_without_a_gpu_nothing_is_kept_on_one_and_sending_is_moving() -> None:
    device = torch.device("cpu")
    assert not devices.fits(1, device)
    assert torch.equal(devices.send(torch.arange(3), device), torch.arange(3))
