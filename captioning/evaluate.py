"""How well a captioner writes, beside captions taken over from the nearest training images.

    uv run captioning evaluate runs/captioning/scenes    # BLEU, ROUGE-L and CIDEr on the test images

The captioner runs freely, with a beam; nothing of the references is shown to it. Words are compared in lower case and
without punctuation.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from captioning.data import Part, load
from captioning.describe import describe_all
from captioning.java_metrics import java_scores
from captioning.metrics import scores
from captioning.neighbours import consensus, nearest, pooled
from captioning.trained import Trained, open_model
from core import cli
from core.beam import WIDEST
from core.config import require_within
from core.errors import InputError
from core.tables import scores_table

NEIGHBOURS = 30  # whose captions are compared for a consensus (Devlin et al. 2015)


Words = Sequence[str]


def judge(candidates: Sequence[Words], truth: Sequence[Sequence[Words]], *, java: bool = False) -> dict[str, float]:
    """Return the scores of captions; with `java` METEOR and SPICE too, or a line on why not."""
    figures = scores(candidates, truth)
    if java:
        more, left_out = java_scores(candidates, truth)
        figures |= more
        for line in left_out:
            print(line, file=sys.stderr)
    return figures


def measure(trained: Trained, part: Part, beam: int, *, java: bool = False) -> dict[str, float]:
    """Return the scores of a captioner on a part of its data."""
    written = [caption.words for caption in describe_all(trained, part.source, beam)]
    return judge(written, references(trained, part), java=java)


def references(trained: Trained, part: Part) -> list[list[tuple[str, ...]]]:
    """Return all captions of each image of a part, as words."""
    return [[tuple(trained.vocabulary.words(caption)) for caption in image.captions] for image in part.images]


def baselines(trained: Trained, train: Part, part: Part, *, java: bool = False) -> dict[str, dict[str, float]]:
    """Return the scores of captions taken over from training images that look alike to the encoder."""
    known, asked = pooled(trained.look, train.source), pooled(trained.look, part.source)
    captions, truth = references(trained, train), references(trained, part)
    return {
        "nearest neighbour": judge(nearest(known, captions, asked), truth, java=java),
        f"consensus of {NEIGHBOURS}": judge(consensus(known, captions, asked, NEIGHBOURS), truth, java=java),
    }


@dataclass(frozen=True)
class Arguments:
    """Measure a trained captioner on its own data, or on other captions."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory or checkpoint."""
    split: Literal["test", "validation"] | None = None
    """Part of the data; by default test where there is one."""
    data: str | None = None
    """Other data than in training: a caption file or a folder."""
    images: str | None = None
    """Folder of the pictures, if it is not found beside the captions."""
    cache: str | None = None
    """Folder of the encoder's features; by default in the user's cache."""
    beam: int | None = None
    """Beam width; by default as in training."""
    baselines: bool = True
    """Measure captions taken over from the nearest training images, too."""
    java: bool = False
    """Measure METEOR and SPICE too, with pycocoevalcap's Java programs; SPICE needs its models there."""
    json: bool = False
    """Print the scores as JSON instead of a table."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    threads: int = 1
    """CPU threads."""


def main(argv: Sequence[str] | None = None) -> None:
    """Open a run, measure it, print the table."""
    arguments = tyro.cli(Arguments, args=argv, prog="captioning evaluate")
    require_within(1, WIDEST, arguments, "beam")
    trained, _ = open_model(arguments.run, cli.device(arguments.device, arguments.threads))
    given = {name: getattr(arguments, name) for name in ("data", "images", "cache") if getattr(arguments, name)}
    parts = load(replace(trained.config, **given, mirror=False), trained.encoder, ("train", "validation", "test"))
    split = arguments.split or ("test" if "test" in parts else "validation")
    if split not in parts:
        raise InputError(f"{given.get('data', trained.config.data)} has no {split} images")
    beam = arguments.beam or trained.config.beam
    results = {"this captioner": measure(trained, parts[split], beam, java=arguments.java)}
    if arguments.baselines:
        results |= baselines(trained, parts["train"], parts[split], java=arguments.java)
    if arguments.json:
        print(json.dumps({"split": split, "images": len(parts[split].images), "scores": results}))
    else:
        Console().print(
            scores_table(results, f"{split}: {len(parts[split].images)} images, scores x 100", "captions by", 100)
        )


if __name__ == "__main__":
    raise SystemExit(cli.guard("captioning evaluate", main))
