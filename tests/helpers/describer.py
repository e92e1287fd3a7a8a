"""A toy captioner, the run it is kept in, and pictures for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioning.config import Config
from captioning.generation.search import generate
from captioning.metrics.confidence import Confidence
from captioning.model import Captioner
from captioning.trained import Trained, open_model
from core.training import checkpoint, cli
from core.training.config import to_dict
from datasets.text.vocabulary import Vocabulary
from vision.encoder import encoder_of

CONFIG = Config(min_count=1, longest=6, embedding=16, hidden=16, visual=16, scores=8, beam=2)
CONFIDENCE = Confidence(2.0, 9.0)
SENTENCES = [
    "a red circle is left of a blue square .",
    "žluťoučký kůň <b>skáče</b> & pes běží 🐶 .",
]


def make_trained(config: Config) -> Trained:
    """An untrained captioner whose weights are large, so that it tells most pictures apart."""
    torch.manual_seed(1)
    encoder, vocabulary = encoder_of(config), Vocabulary.train(SENTENCES, punctuation=True)
    made = Trained(
        config,
        encoder,
        Captioner(config, encoder.channels, len(vocabulary)).eval(),
        vocabulary,
        CONFIDENCE,
    )
    visual = made.decoder.visual
    seen = made.encode(
        torch.stack([encoder.preprocessing(noise(seed)) for seed in range(20)])
    ).flatten(0, 1)
    with torch.no_grad():
        for weight in made.decoder.parameters():
            weight.normal_(std=3 * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0)
        visual.weight /= seen.std(0) + 0.1
        visual.bias.copy_(-visual.weight @ seen.mean(0))
        made.decoder.words.weight.normal_(std=0.3)
        made.decoder.output.weight *= 3
    return made


def save_run(folder: Path, config: Config = CONFIG) -> Path:
    folder.mkdir()
    made = make_trained(config)
    parts = (("decoder", made.decoder), ("encoder", made.encoder))
    weights = {
        f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()
    }
    preprocessing = to_dict(made.encoder.preprocessing)
    extras = {
        "vocabulary": made.vocabulary.to_json(),
        "preprocessing": preprocessing,
        "fingerprint": "",
        "confidence": list(CONFIDENCE),
    }
    payload = {
        "config": to_dict(config),
        "step": 1,
        "seconds": 1.0,
        "metrics": {},
        "weights": weights,
    }
    checkpoint.save(folder / "best.pt", "captioning", payload | {"extras": extras})
    return folder


def call(*arguments: object) -> int:
    """The exit code of `captioning caption ARGUMENTS`."""
    try:
        return cli.script("captioning caption", [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def noise(seed: int = 0, width: int = 24, height: int = 20) -> Image.Image:
    """Blots of colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def expected(run: Path, file: Path | str, beam: int, best: int = 1):
    made, _ = open_model(run, "cpu")
    with Image.open(file) as picture:
        pixels = made.encoder.preprocessing(picture.convert("RGB"))
        return generate(made, made.encode(pixels[None]), beam, best)[0]
