"""Training batches of captions: functions of the seed and the step, with shares of several sets."""

from collections.abc import Sequence

import pytest
import torch

from captioning import sources
from captioning.config import Config
from captioning.data import TrainingBatches, encode, pad
from captioning.sources import Pixels
from core.errors import InputError
from core.training.config import LoopConfig
from datasets.captions import scenes
from datasets.text.vocabulary import Vocabulary
from vision.encoder import make_encoder


def test_batches_are_functions_of_the_step_and_share_rows():
    images = scenes.splits()["train"][:10]
    vocabulary = Vocabulary.train(caption for image in images for caption in image.captions)
    config = Config(captions=3, loop=LoopConfig(batch=4))
    pixels = Pixels(images, make_encoder("tiny").preprocessing)
    mirror = Pixels(images, make_encoder("tiny").preprocessing, mirrored=True)
    sentences = encode(images, vocabulary, config.longest)
    batches = TrainingBatches(
        [pixels, mirror], sentences, config, torch.device("cpu"), vocabulary.pad
    )
    shown, tokens, chosen = batches(5, slice(0, 4))
    assert shown.shape == (4, 3, 64, 64)
    assert len(tokens) == 12
    for again, first in zip(
        batches(5, slice(2, 4)), (shown[2:], tokens[6:], chosen[2:]), strict=True
    ):
        assert torch.equal(again, first)
    for row, image in enumerate(chosen.tolist()):
        assert any(torch.equal(shown[row], source([image])[0]) for source in (pixels, mirror))
        own = {tuple(sentence) for sentence in sentences[image]}
        read = {
            tuple(t for t in line if t != vocabulary.pad)
            for line in tokens[3 * row : 3 * row + 3].tolist()
        }
        assert len(read) == 3, "each caption before any a second time"
        assert read <= own


def test_a_batch_has_of_each_set_its_share():
    class Numbers:
        def __len__(self) -> int:
            return 30

        def __call__(self, rows: Sequence[int]) -> torch.Tensor:
            return torch.tensor(rows).view(-1, 1, 1)

    sets = [0] * 18 + [1] * 12
    config = Config(data=("a", "b"), shares=(0.75, 0.25), captions=1, loop=LoopConfig(batch=8))
    batches = TrainingBatches([Numbers()], [[[2, 5, 3]]] * 30, config, torch.device("cpu"), 0, sets)
    drawn = [batches(step, slice(0, 8))[2] for step in range(6)]
    assert [int((images >= 18).sum()) for images in drawn] == [2] * 6
    assert sorted(torch.cat(drawn)[torch.cat(drawn) >= 18].tolist()) == list(range(18, 30))
    assert torch.equal(batches(3, slice(2, 6))[2], drawn[3][2:6])
    with pytest.raises(InputError, match="one number for each of the 2 sets"):
        Config(data=("a", "b"), shares=(1.0,))


def test_what_is_made_of_features_is_kept_while_it_fits(monkeypatch: pytest.MonkeyPatch):
    class Numbers:
        def __len__(self) -> int:
            return 9

        def __call__(self, rows: Sequence[int]) -> torch.Tensor:
            return torch.tensor(rows, dtype=torch.float32)[:, None]

    made: list[int] = []

    def change(images: torch.Tensor) -> torch.Tensor:
        made.extend(images[:, 0].int().tolist())
        return 2 * images

    monkeypatch.setattr(sources, "CHANGED_IN_MEMORY", 3 * 2)  # three numbers of two bytes
    changed = sources.Changed(Numbers(), change)
    assert changed([4, 1, 4])[:, 0].tolist() == [8, 2, 8]
    assert changed([1, 7, 8])[:, 0].tolist() == [2, 14, 16]
    assert changed([8, 7, 1])[:, 0].tolist() == [16, 14, 2]
    assert made == [4, 1, 7, 8, 8]
    assert changed.kept.keys() == {4, 1, 7}


def test_long_captions_are_cut_without_an_end():
    class Image:
        captions = ("one two three", "one")

    vocabulary = Vocabulary.train(["one two three"])
    (sentences,) = encode([Image()], vocabulary, 3)  # type: ignore[list-item]
    assert vocabulary.end not in sentences[0]
    assert len(sentences[0]) == 4
    assert sentences[1] == [vocabulary.start, *vocabulary.encode("one"), vocabulary.end]
    assert pad(sentences, 0).tolist()[1][3:] == [0]
