"""How well a captioner writes, beside captions taken over from the nearest training images.

    uv run captioning evaluate runs/captioning/scenes    # BLEU, ROUGE-L and CIDEr on the test images

The captioner runs freely, with a beam; nothing of the references is shown to it. Words are compared in lower case and
without punctuation.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from captioning.arguments import Evaluate
from captioning.data import Part, load
from captioning.describe import describe_all
from captioning.java_metrics import java_scores
from captioning.metrics import scores
from captioning.neighbours import consensus, nearest, pooled
from captioning.trained import Trained, open_model
from core.errors import InputError
from core.files import to_json
from core.training import cli, devices
from core.training.config import WIDEST_BEAM, require_within
from core.training.tables import scores_table

NEIGHBOURS = 30  # whose captions are compared for a consensus (Devlin et al. 2015)


Words = Sequence[str]


def judge(
    candidates: Sequence[Words], truth: Sequence[Sequence[Words]], *, java: bool = False
) -> dict[str, float]:
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
    return [
        [tuple(trained.vocabulary.words(caption)) for caption in image.captions]
        for image in part.images
    ]


def baselines(
    trained: Trained, train: Part, part: Part, *, java: bool = False
) -> dict[str, dict[str, float]]:
    """Return the scores of captions taken over from training images that look alike to the encoder."""
    known, asked = pooled(trained.look, train.source), pooled(trained.look, part.source)
    captions, truth = references(trained, train), references(trained, part)
    return {
        "nearest neighbour": judge(nearest(known, captions, asked), truth, java=java),
        f"consensus of {NEIGHBOURS}": judge(
            consensus(known, captions, asked, NEIGHBOURS), truth, java=java
        ),
    }


def main(arguments: Evaluate) -> None:
    """Open a run, measure it, print the table."""
    require_within(1, WIDEST_BEAM, arguments, "beam")
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    given = {
        name: getattr(arguments, name)
        for name in ("data", "images", "cache")
        if getattr(arguments, name)
    }
    parts = load(
        replace(trained.config, **given, mirror=False),
        trained.encoder,
        ("train", "validation", "test"),
    )
    split = arguments.split or ("test" if "test" in parts else "validation")
    if split not in parts:
        raise InputError(f"{given.get('data', trained.config.data)} has no {split} images")
    beam = arguments.beam or trained.config.beam
    results = {"this captioner": measure(trained, parts[split], beam, java=arguments.java)}
    if arguments.baselines:
        results |= baselines(trained, parts["train"], parts[split], java=arguments.java)
    if arguments.json:
        print(to_json({"split": split, "images": len(parts[split].images), "scores": results}))
    else:
        Console().print(
            scores_table(
                results,
                f"{split}: {len(parts[split].images)} images, scores x 100",
                "captions by",
                100,
            )
        )


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning evaluate"))
