"""Captions of your own pictures.

    uv run captioning caption photo.jpg                        # photo.jpg: a dog runs through the grass
    uv run captioning caption holiday/ --html holiday.html     # a page of all pictures in a folder
    find . -name "*.jpg" | uv run captioning caption - --json  # one JSON object a line

Exit codes: 0 all pictures are captioned; 1 some could not be, told in a line each; 2 none, or bad arguments.
"""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from captioning import page
from captioning.arguments import Caption as Arguments
from captioning.describe import Caption, attention, describe
from captioning.trained import DEFAULT, Trained, open_model
from core.errors import InputError
from core.files import replace, to_json, writing
from core.training import cli, devices
from core.training.config import WIDEST_BEAM, require_within
from datasets.pictures import encode, find_pictures, name_outputs, open_picture

BATCH = 16  # pictures written about together
KEPT = 640  # longer side of a picture as it is kept until it is drawn


class Viewed(NamedTuple):
    """A picture that the encoder has seen."""

    file: Path
    picture: Image.Image  # small
    features: Float[Tensor, "cells channels"]


class Captioned(NamedTuple):
    """A picture and what was written about it."""

    viewed: Viewed
    captions: list[Caption]  # the best first


def main(arguments: Arguments) -> None:
    """Caption every picture, and print each as soon as its batch is done."""
    device = devices.select(arguments.device, arguments.threads)
    _check(arguments)
    failed = []

    def complain(error: InputError) -> None:
        failed.append(error)
        print(f"captioning caption: {error}", file=sys.stderr, flush=True)

    trained = _open_captioner(arguments.run, device)
    files = find(arguments.paths, complain)
    if not files and not failed:
        raise InputError("no path on standard input: give one a line")
    targets = (
        dict(name_outputs(dict.fromkeys(files), arguments.overlay, "caption"))
        if arguments.overlay
        else {}
    )
    cards, count = [], 0
    for each in caption(trained, view(trained, files, complain), arguments.beam, arguments.n_best):
        count += 1
        target = targets.get(each.viewed.file)
        _tell(each, target, as_json=arguments.json)
        if target:
            try:
                _draw(trained, each, target)
            except InputError as error:
                complain(error)
        if arguments.html:
            captions = [(caption.text, _percent(caption)) for caption in each.captions]
            cards.append(page.card(each.viewed.picture, str(each.viewed.file), captions))
    if arguments.html and cards:
        about = f"{count} picture{'s' * (count > 1)}, described by {arguments.run or 'the default model'}"
        about += (
            "; in percent, how probable the words were on average" if arguments.n_best > 1 else ""
        )
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


def view(
    trained: Trained, files: Iterable[Path], complain: Callable[[InputError], None]
) -> Iterator[Viewed]:
    """Open pictures and let the encoder see them; those that cannot be opened are complained of and left out.

    One by one: on a CPU the encoder is no faster with several at a time, which its cache has no room for.
    """
    for file in files:
        try:
            picture = open_picture(file).convert("RGB")
        except InputError as error:
            complain(error)
            continue
        features = trained.look(trained.encoder.preprocessing(picture)[None])[0]
        picture.thumbnail((KEPT, KEPT))  # shrinks what is larger, in place
        yield Viewed(file, picture, features)


def caption(
    trained: Trained, pictures: Iterable[Viewed], beam: int, best: int
) -> Iterator[Captioned]:
    """Write about pictures in batches, of which one at a time is in memory."""
    pictures = iter(pictures)
    while batch := list(islice(pictures, BATCH)):
        found = describe(trained, torch.stack([each.features for each in batch]), beam, best)
        yield from map(Captioned, batch, found)


def tell(captioned: Captioned) -> dict[str, Any]:
    """Return the captions of a picture as JSON values."""
    captions = [
        {"text": each.text, "log_probability": each.log_probability} for each in captioned.captions
    ]
    return {
        "file": str(captioned.viewed.file),
        "caption": captioned.captions[0].text,
        "captions": captions,
    }


def _check(arguments: Arguments) -> None:
    """Complain of what is wrong before work begins, and make the folders to write to."""
    if not arguments.paths:
        raise InputError("no picture to caption: name files or folders, or - to read their paths")
    require_within(1, WIDEST_BEAM, arguments, "beam", "n_best")
    if arguments.html and arguments.html.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"--html takes the name of a page to write, such as captions.html, not {arguments.html}"
        )
    for folder in (arguments.overlay, arguments.html and arguments.html.parent):
        if folder:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)


def _open_captioner(run: Path | None, device: torch.device) -> Trained:
    if run is None and not DEFAULT.exists():
        raise InputError(
            "no model comes with this package yet: train one, and name its directory with --run"
        )
    return open_model(run or DEFAULT, device)[0]


def _listed() -> Iterator[Path]:
    """The paths on standard input, one a line; a file name need not be text."""
    listed = cli.standard_input().read()
    if b"\0" in listed:
        raise InputError(
            "standard input holds no paths, one a line: to caption a picture give its name"
        )
    for line in listed.split(b"\n"):
        if line.strip():
            yield Path(os.fsdecode(line.rstrip(b"\r")))


def _tell(captioned: Captioned, target: Path | None, *, as_json: bool) -> None:
    if as_json:
        print(to_json(tell(captioned) | ({"overlay": str(target)} if target else {})), flush=True)
        return
    best, *others = captioned.captions
    lines = [f"{captioned.viewed.file}: {best.text}" + (f" ({_percent(best)})" if others else "")]
    lines += [f"    {each.text} ({_percent(each)})" for each in others]
    encoding = (
        sys.stdout.encoding
    )  # a terminal may lack letters of a sentence, and a file name need not be text
    print("\n".join(lines).encode(encoding, "replace").decode(encoding), flush=True)


def _percent(caption: Caption) -> str:
    """How probable each word was on average (geometric mean), the end counted as one."""
    return f"{100 * math.exp(caption.log_probability / (len(caption.words) + 1)):.1f} %"


def _draw(trained: Trained, captioned: Captioned, target: Path) -> None:
    from captioning import overlay  # matplotlib, which has the font, takes long to import

    seen, best = captioned.viewed, captioned.captions[0]
    alphas = (
        attention(trained, seen.features[None], best.tokens) if trained.config.attention else None
    )
    replace(target, encode(overlay.draw(seen.picture, best.text, best.words, alphas), "PNG"))


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning caption"))
