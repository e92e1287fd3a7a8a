"""Captions of your own pictures.

    uv run captioning caption photo.jpg                        # photo.jpg: a dog runs through the grass .
    uv run captioning caption holiday/ --html holiday.html     # a page of all pictures in a folder
    find . -name "*.jpg" | uv run captioning caption - --json  # one JSON object a line

Exit codes: 0 all pictures are captioned; 1 some could not be, told in a line each; 2 none, or bad arguments.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
import tyro
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from captioning import page
from captioning.describe import Caption, attention, describe
from captioning.trained import DEFAULT, Trained, open_model
from core import cli
from core.checkpoint import replace, writing
from core.errors import InputError
from datasets.pictures import encode, find_pictures, name_outputs, open_picture

BATCH = 16  # pictures captioned together
KEPT = 640  # longer side of a picture as it is kept until it is drawn


@dataclass(frozen=True)
class Arguments:
    """Write sentences about pictures."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH...")]
    """Pictures of any format Pillow reads, folders of them, or - for a list of paths on standard input."""
    run: Path | None = None
    """Run directory or checkpoint; by default the model that comes with this package."""
    beam: int = 3
    """Sentences followed at a time; 1 is greedy."""
    n_best: int = 1
    """Sentences to tell of each picture."""
    json: bool = False
    """Print a JSON object for each picture, on a line of its own."""
    overlay: Path | None = None
    """Folder for NAME.caption.png: each picture with its caption, and where the model looked for each word."""
    html: Path | None = None
    """File for one page with all pictures and their captions."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    threads: int = 1
    """CPU threads."""


class Opened(NamedTuple):
    """A picture that is to be captioned."""

    file: Path
    picture: Image.Image  # small
    pixels: UInt8[Tensor, "3 size size"]  # as the encoder wants it


class Captioned(NamedTuple):
    """A picture that is captioned."""

    file: Path
    picture: Image.Image
    features: Float[Tensor, "cells channels"]
    captions: list[Caption]  # the best first


def main(argv: Sequence[str] | None = None) -> None:
    """Caption every picture, and print each as soon as its batch is done."""
    arguments = tyro.cli(Arguments, args=argv, prog="captioning caption", config=(tyro.conf.FlagCreatePairsOff,))
    device = cli.device(arguments.device, arguments.threads)
    _check(arguments)
    failed = []

    def complain(error: InputError) -> None:
        failed.append(error)
        print(f"captioning caption: {error}", file=sys.stderr, flush=True)

    trained = _open_captioner(arguments.run, device)
    files = find(arguments.paths, complain)
    targets = dict(name_outputs(dict.fromkeys(files), arguments.overlay, "caption")) if arguments.overlay else {}
    cards, count = [], 0
    for each in caption(trained, open_all(trained, files, complain), arguments.beam, arguments.n_best):
        count += 1
        target = targets.get(each.file)
        _tell(each, target, as_json=arguments.json)
        if target:
            try:
                _draw(trained, each, target)
            except InputError as error:
                complain(error)
        if arguments.html:
            captions = [(caption.text, _percent(caption)) for caption in each.captions]
            cards.append(page.card(each.picture, str(each.file), captions))
    if arguments.html and cards:
        about = f"{count} picture{'s' * (count > 1)}, described by {arguments.run or 'the default model'}"
        replace(arguments.html, page.page(cards, arguments.html.stem, about))
    if failed:
        raise SystemExit(1 if count else 2)


def find(paths: Iterable[Path], complain: Callable[[InputError], None]) -> list[Path]:
    """All pictures in paths, of which - stands for those listed on standard input; the others are complained of."""
    found: list[Path] = []
    for path in paths:
        for each in _listed() if str(path) == "-" else [path]:
            try:
                found += find_pictures([each])
            except InputError as error:
                complain(error)
    return found


def open_all(trained: Trained, files: Iterable[Path], complain: Callable[[InputError], None]) -> Iterator[Opened]:
    """Open pictures one by one; those that cannot be opened are complained of and left out."""
    for file in files:
        try:
            picture = open_picture(file).convert("RGB")
        except InputError as error:
            complain(error)
            continue
        pixels = trained.encoder.preprocessing(picture)
        picture.thumbnail((KEPT, KEPT))  # shrinks what is larger, in place
        yield Opened(file, picture, pixels)


def caption(trained: Trained, pictures: Iterable[Opened], beam: int, best: int) -> Iterator[Captioned]:
    """Caption pictures in batches, of which one at a time is in memory."""
    pictures = iter(pictures)
    while batch := list(islice(pictures, BATCH)):
        features = trained.look(torch.stack([each.pixels for each in batch]))
        for each, seen, captions in zip(batch, features, describe(trained, features, beam, best), strict=True):
            yield Captioned(each.file, each.picture, seen, captions)


def tell(captioned: Captioned) -> dict[str, Any]:
    """Return the captions of a picture as JSON values."""
    captions = [{"text": each.text, "log_probability": each.log_probability} for each in captioned.captions]
    return {"file": str(captioned.file), "caption": captioned.captions[0].text, "captions": captions}


def _check(arguments: Arguments) -> None:
    """Complain of what is wrong before work begins, and make the folders to write to."""
    if not arguments.paths:
        raise InputError("no picture to caption: name files or folders, or - to read their paths")
    if min(arguments.beam, arguments.n_best) < 1:
        raise InputError("--beam and --n-best must be at least 1")
    if arguments.html and arguments.html.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--html takes the name of a page to write, such as captions.html, not {arguments.html}")
    for folder in (arguments.overlay, arguments.html and arguments.html.parent):
        if folder:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)


def _open_captioner(run: Path | None, device: torch.device) -> Trained:
    if run is None and not DEFAULT.exists():
        raise InputError("no model comes with this package yet: train one, and name its directory with --run")
    return open_model(run or DEFAULT, device)[0]


def _listed() -> Iterator[Path]:
    """The paths on standard input, one a line; a file name need not be text."""
    for line in sys.stdin.buffer:
        if line.strip():
            yield Path(os.fsdecode(line.rstrip(b"\r\n")))


def _tell(captioned: Captioned, target: Path | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(tell(captioned) | ({"overlay": str(target)} if target else {})), flush=True)
        return
    best, *others = captioned.captions
    lines = [f"{captioned.file}: {best.text}" + (f" ({_percent(best)})" if others else "")]
    lines += [f"    {each.text} ({_percent(each)})" for each in others]
    print("\n".join(lines).encode("utf-8", "replace").decode(), flush=True)


def _percent(caption: Caption) -> str:
    return f"{100 * math.exp(caption.log_probability):.2g} %"


def _draw(trained: Trained, captioned: Captioned, target: Path) -> None:
    from captioning import overlay  # matplotlib, which has the font, takes long to import

    best = captioned.captions[0]
    alphas = attention(trained, captioned.features[None], best.tokens) if trained.config.attention else None
    replace(target, encode(overlay.draw(captioned.picture, best.text, best.words, alphas), "PNG"))


if __name__ == "__main__":
    raise SystemExit(cli.guard("captioning caption", main))
