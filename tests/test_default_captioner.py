"""What the model card says of the captioner of the package, as far as photographs are at hand."""

import importlib.util
from pathlib import Path

import matplotlib
import pytest

from captioning.generation.search import generate
from captioning.metrics.confidence import UNSURE
from captioning.trained import DEFAULT, Trained, open_model
from datasets.images.files import open_picture

MATPLOTLIB = Path(matplotlib.get_data_path()) / "sample_data"
MOST = 16e6  # bytes of the file, with the trained part of the encoder


@pytest.fixture(scope="module")
def trained() -> Trained:
    return open_model(DEFAULT, "cpu")[0]


def sample(name: str) -> Path:
    """A photograph that comes with scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets/images" / name


def test_its_parts(trained: Trained):
    assert DEFAULT.stat().st_size < MOST
    config = trained.config
    assert (config.encoder, config.tune_blocks, config.names) == ("lite2", 5, True)
    assert trained.encoder.cells == 81
    assert len(trained.vocabulary) == 3370
    assert trained.detector is not None
    assert len(trained.detector.words) == 2212
    card = (DEFAULT.parent / "MODEL_CARD.md").read_text()
    assert f"({DEFAULT.stat().st_size / 1e6:.1f} MB, float16)" in card


@pytest.mark.parametrize(
    ("file", "sentence", "sure"),
    [
        (sample("china.jpg"), "a clock is standing in front of a large building", True),
        (sample("flower.jpg"), "a group of flowers in a field of grass", False),
        (
            MATPLOTLIB / "grace_hopper.jpg",
            "a man wearing a hat and black cap is standing in front of a white wall",
            True,
        ),
    ],
)
def test_its_sentences_are_those_of_the_model_card(
    trained: Trained, file: Path, sentence: str, sure: bool
):
    pixels = trained.encoder.preprocessing(open_picture(file))[None]
    [[said]] = generate(trained, trained.encode(pixels), beam=5)
    assert said.text == sentence
    assert (said.confidence >= UNSURE) == sure
    line = f"{sentence} ({100 * said.confidence:.0f} %)"
    assert line in (DEFAULT.parent / "MODEL_CARD.md").read_text()
