"""Batches as functions of (seed, step), whoever asks for which rows."""

import torch

from core.training.config import LoopConfig
from datasets.images.splits import Images
from glimpse.config import Config
from glimpse.data import TrainingBatches, load

SOURCE = Images(
    torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8),
    torch.arange(50) % 10,
    tuple("0123456789"),
)
KINDS = {
    "plain": Config(),
    "moved": Config(shift=2),
    "extra glimpses": Config(extra=4),
    "canvas": Config(canvas=(20, 24)),
    "clutter": Config(canvas=(20, 24), clutter=3, clutter_size=4),
    "distorted": Config(shift=1, augment=("elastic",)),
    "distorted on a canvas": Config(canvas=(20, 24), augment=("elastic",)),
    "distorted in a sequence": Config(canvas=(10, 20), sequence=(1, 2), augment=("elastic",)),
}


def test_rows_of_a_batch_are_the_same_whoever_asks():
    for name, config in KINDS.items():
        make = TrainingBatches(SOURCE, config)
        whole = make(3, slice(0, config.loop.batch))
        parts = [make(3, slice(start, start + 32)) for start in range(0, config.loop.batch, 32)]
        # The std of the policy is that of the step.
        assert all(torch.equal(part[3], whole[3]) for part in parts)
        for tensor, *pieces in zip(whole[:3], *(part[:3] for part in parts), strict=True):
            batch_dimension = 1 if tensor.dim() == 3 else 0  # the noise is [glimpses, batch, 2]
            assert torch.equal(tensor, torch.cat(pieces, batch_dimension)), name


def test_steps_take_up_to_so_many_glimpses_more():
    make = TrainingBatches(SOURCE, Config(glimpses=3, extra=2, loop=LoopConfig(batch=4)))
    assert {len(make(step, slice(0, 4))[2]) for step in range(20)} == {3, 4, 5}


def test_batches_depend_on_seed_and_step_alone():
    config = KINDS["clutter"]
    again = Config(**{**vars(config), "loop": LoopConfig(seed=1)})
    first, other_step, other_seed = (
        TrainingBatches(SOURCE, c)(step, slice(0, 128))
        for c, step in ((config, 5), (config, 6), (again, 5))
    )
    repeated = TrainingBatches(SOURCE, config)(5, slice(0, 128))
    for a, b in zip(first, repeated, strict=True):
        assert torch.equal(a, b)
    for other in (other_step, other_seed):
        assert not torch.equal(first[0], other[0])
        assert not torch.equal(first[2], other[2])


def test_every_image_once_an_epoch_and_labels_belong():
    images = Images(
        torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1),
        torch.arange(50),
        tuple(map(str, range(50))),
    )
    make = TrainingBatches(images, Config(loop=LoopConfig(batch=10)))
    seen = [make(step, slice(0, 10))[:2] for step in range(5)]
    pixels, labels = torch.cat([s[0].flatten() for s in seen]), torch.cat([s[1] for s in seen])
    assert torch.equal(pixels.long(), labels)
    assert labels.sort().values.tolist() == list(range(50))


def test_validation_and_test_canvases_do_not_depend_on_the_training_seed():
    a, b = (
        load(Config(canvas=(16, 16), clutter=2, clutter_size=4, loop=LoopConfig(seed=s)), "cpu")
        for s in (0, 1)
    )
    assert a.validation.images.shape[1:] == (1, 16, 16)
    assert torch.equal(a.validation.images, b.validation.images)
    assert torch.equal(a.test.images, b.test.images)
    assert not torch.equal(a.test.images[:100], a.validation.images[:100])
    assert a.train.images.shape[1:] == (1, 8, 8)  # painted batch by batch


def test_the_policy_narrows_geometrically():
    config = Config(std_decay=0.25, loop=LoopConfig(steps=100))
    make = TrainingBatches(SOURCE, config)
    left = [make(step, slice(0, 1))[3].item() for step in (0, 50, 100, 150)]
    torch.testing.assert_close(left, [1.0, 0.5, 0.25, 0.25])
