"""Fit what a trained captioner needs to choose among its sentences, and to know how sure it is.

    uv run captioning calibrate captioner.pt
    uv run captioning calibrate captioner.pt --data FLICKR8K PHOTOS

On the training images a detector learns which words people use (`captioning.concepts.detector`); on
the validation images the confidence is calibrated (`captioning.metrics.confidence`). The file is
replaced. `train` calibrates the confidence alone; after `pack --average` both are of another model.
"""

from dataclasses import replace
from pathlib import Path

import torch

from captioning.arguments import Calibrate
from captioning.concepts.detector import WordDetector, fit
from captioning.data import Part, load
from captioning.evaluate import calibration, configured, references
from captioning.metrics.neighbours import pooled
from captioning.trained import open_model
from core.training import checkpoint, cli, devices


def main(arguments: Calibrate) -> None:
    """Read a checkpoint, fit both on its data, and write it back."""
    device = devices.select(arguments.device, arguments.threads)
    path = Path(arguments.run)
    path = path / "best.pt" if path.is_dir() else path
    trained, saved = open_model(path, device)
    config = configured(trained, arguments)
    parts = load(config, trained.encoder, ("train", "validation"))
    train = parts["train"]
    means = pooled(trained.features, train.source).float().cpu()
    detector = fit(means, references(trained, train), trained.vocabulary)
    stored = detector.saved() if detector else None
    # What is calibrated chooses by the weights as they will be read.
    read = WordDetector.from_saved(stored).to(device) if stored else None
    confidence = calibration(
        replace(trained, detector=read), parts["validation"], trained.config.beam
    )
    saved["extras"] |= {"detector": stored, "confidence": list(confidence)}
    checkpoint.save(path, "captioning", saved)
    words = len(detector.words) if detector else 0
    print(f"{path}: detects {words} words, and is calibrated")


def calibrate_confidence(path: Path, validation: Part, device: torch.device) -> None:
    """Calibrate the confidence of the captioner in a checkpoint, and add it there."""
    trained, saved = open_model(path, device)
    confidence = calibration(trained, validation, trained.config.beam)
    saved["extras"]["confidence"] = list(confidence)
    checkpoint.save(path, "captioning", saved)


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning calibrate"))
