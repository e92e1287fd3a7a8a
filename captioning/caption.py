"""Captions of your own pictures.

    uv run captioning caption photo.jpg                        # photo.jpg: a dog runs (83 %)
    uv run captioning caption holiday/ --html holiday.html     # a page of all pictures in a folder
    uv run captioning caption holiday/ --txt                   # NAME.txt beside each picture
    find . -name "*.jpg" | uv run captioning caption - --json  # one JSON object a line

In brackets stands the confidence: how probable it is that the sentence is right, as calibrated on
validation images. A sentence that is more probably wrong begins with "unsure:".

Exit codes: 0 all pictures are captioned; 1 some could not be, told in a line each; 2 none, or bad
arguments.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from captioning.arguments import Caption
from captioning.generation.search import Sentence, generate
from captioning.metrics.confidence import UNSURE
from captioning.pictures import page
from captioning.pictures.outputs import Progress, Texts, require_own_page
from captioning.prefetch import prefetched
from captioning.trained import DEFAULT, Trained, open_model
from core.errors import InputError
from core.files import make_folder, replace
from core.training import cli, devices
from core.training.config import WIDEST_BEAM, require_within
from datasets.images.files import encode, find_pictures, name_outputs, open_picture
from vision.encoder import Preprocessing

BATCH = 16  # pictures written about together
READERS = 2  # threads that open them
SIDE_KEPT = 640  # longer side of a picture as it is kept until it is drawn
FLAT = 8  # largest difference of values, 0..255, in a picture of one colour
Complain = Callable[[InputError], None]


class Opened(NamedTuple):
    """A picture, small, and its pixels as the encoder takes them."""

    file: Path
    picture: Image.Image
    pixels: UInt8[Tensor, "3 size size"]


class Encoded(NamedTuple):
    """A picture and the encoder's features."""

    file: Path
    picture: Image.Image
    features: Float[Tensor, "cells channels"]


class Captioned(NamedTuple):
    """A picture and the sentences about it, the best first."""

    file: Path
    picture: Image.Image
    features: Float[Tensor, "cells channels"]
    sentences: list[Sentence]


def main(arguments: Caption) -> None:
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
    texts = Texts(overwrite=arguments.overwrite) if arguments.txt else None
    if texts:
        files = texts.missing(files)
    drawings = {}
    if arguments.overlay:
        drawings = dict(name_outputs(dict.fromkeys(files), arguments.overlay, "caption"))
    cards = []
    count = 0
    progress = Progress(len(files))
    opened = open_all(files, trained.encoder.preprocessing, complain)
    encoded = encode_all(trained, opened, arguments.threads if len(files) > 1 else 0)
    for captioned in caption(trained, encoded, arguments.beam, arguments.n_best):
        count += 1
        drawing = drawings.get(captioned.file)
        _print(captioned, drawing, as_json=arguments.json)
        try:
            if texts:
                texts.write(captioned.file, captioned.sentences[0].text)
            if drawing:
                _draw(trained, captioned, drawing)
        except InputError as error:
            complain(error)
        if arguments.html:
            notes = [(marked(one), _percent(one)) for one in captioned.sentences]
            cards.append(page.card(captioned.picture, str(captioned.file), notes))
        progress.tell(count)
    if arguments.html and cards:
        _write_page(arguments.html, cards, arguments.run or "the default model")
    if failed:
        raise SystemExit(1 if count else 2)


def find(paths: Iterable[str], complain: Complain) -> list[Path]:
    """Return all pictures in files and folders; - stands for the paths on standard input."""
    files: list[Path] = []
    for path in paths:
        for name in _listed() if path == "-" else [path]:
            try:
                if not name:
                    raise InputError("a path is empty: name a file or a folder")
                files += find_pictures([name])
            except InputError as error:
                complain(error)
    return files


def open_all(
    files: Iterable[Path], preprocessing: Preprocessing, complain: Complain
) -> Iterator[Opened]:
    """Open pictures in threads and yield them in order."""

    def read(file: Path) -> Opened:
        picture = open_picture(file).convert("RGB")
        pixels = preprocessing(picture)
        picture.thumbnail((SIDE_KEPT, SIDE_KEPT))  # shrinks what is larger, in place
        return Opened(file, picture, pixels)

    for _, opened in prefetched(ThreadPoolExecutor(READERS), read, files):
        try:
            yield opened.result()
        except InputError as error:
            complain(error)


def encode_all(trained: Trained, pictures: Iterable[Opened], threads: int = 1) -> Iterator[Encoded]:
    """Encode pictures in threads and yield them in order.

    With no thread, this one encodes: a thread has memory of its own, too much for one picture.
    """

    def encode(opened: Opened) -> Float[Tensor, "cells channels"]:
        return trained.encode(opened.pixels[None])[0]

    if not threads:
        for opened in pictures:
            yield Encoded(opened.file, opened.picture, encode(opened))
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    for opened, features in prefetched(pool, encode, pictures):
        yield Encoded(opened.file, opened.picture, features.result())


def caption(
    trained: Trained, pictures: Iterable[Encoded], beam: int, best: int
) -> Iterator[Captioned]:
    """Write about pictures in batches, of which one at a time is in memory."""
    pictures = iter(pictures)
    while batch := list(islice(pictures, BATCH)):
        captions = generate(trained, torch.stack([one.features for one in batch]), beam, best)
        for encoded, sentences in zip(batch, captions, strict=True):
            if is_flat(encoded.picture):
                sentences = [Sentence("a picture of one colour", (), (), 0.0, 1.0)]
            yield Captioned(*encoded, sentences)


def is_flat(picture: Image.Image) -> bool:
    """Whether an RGB picture has one colour alone, but for the noise of its compression."""
    return all(high - low <= FLAT for low, high in picture.getextrema())  # pyright: ignore


def marked(sentence: Sentence) -> str:
    """Return the text of a sentence, marked if it is more probably wrong than right."""
    return sentence.text if sentence.confidence >= UNSURE else f"unsure: {sentence.text}"


def to_json(captioned: Captioned) -> dict[str, Any]:
    """Return the sentences about a picture as JSON values."""
    best = captioned.sentences[0]
    sentences = []
    for one in captioned.sentences:
        sentences.append(
            {
                "text": one.text,
                "confidence": round(one.confidence, 4),
                "log_probability": one.log_probability,
            }
        )
    return {
        "file": str(captioned.file),
        "caption": best.text,
        "confidence": round(best.confidence, 4),
        "unsure": best.confidence < UNSURE,
        "captions": sentences,
    }


def _check(arguments: Caption) -> None:
    """Refuse bad arguments before work begins, and make the folders to write to."""
    if not arguments.paths:
        raise InputError("no picture to caption: name files or folders, or - to read their paths")
    cli.require_no_run(arguments.paths)
    require_within(1, WIDEST_BEAM, arguments, "beam", "n_best")
    html = arguments.html
    if html and html.suffix.lower() not in (".html", ".htm"):
        hint = "the name of a page to write, such as captions.html"
        raise InputError(f"--html takes {hint}, not {html}")
    if html and not arguments.overwrite:
        require_own_page(html)
    if arguments.overlay:
        make_folder(arguments.overlay, "--overlay")
    if html:
        make_folder(html.parent)


def _open_captioner(run: Path | None, device: torch.device) -> Trained:
    if run is None and not DEFAULT.exists():
        raise InputError(
            "no model comes with this package yet: train one, and name its directory with --run"
        )
    return open_model(run or DEFAULT, device)[0]


def _listed() -> Iterator[str]:
    """Yield the paths on standard input, one a line; a file name need not be text."""
    listed = cli.standard_input().read()
    if b"\0" in listed:
        raise InputError(
            "standard input holds no paths, one a line: to caption a picture give its name"
        )
    for line in listed.split(b"\n"):
        if line.strip():
            yield os.fsdecode(line.rstrip(b"\r"))


def _print(captioned: Captioned, drawing: Path | None, *, as_json: bool) -> None:
    if as_json:
        values = to_json(captioned)
        if drawing:
            values["overlay"] = str(drawing)
        print(json.dumps(values, allow_nan=False), flush=True)
        return
    best, *others = captioned.sentences
    lines = [f"{captioned.file}: {marked(best)} ({_percent(best)})"]
    lines += [f"    {one.text} ({_percent(one)})" for one in others]
    cli.say("\n".join(lines))


def _write_page(file: Path, cards: Sequence[str], model: Path | str) -> None:
    pictures = f"{len(cards)} picture{'s' * (len(cards) > 1)}"
    about = (
        f"{pictures}, described by {model}; in percent, the probability that a sentence is right"
    )
    replace(file, page.page(cards, file.stem, about))


def _percent(sentence: Sentence) -> str:
    return f"{100 * sentence.confidence:.0f} %"


def _draw(trained: Trained, captioned: Captioned, target: Path) -> None:
    from captioning.pictures import overlay

    best = captioned.sentences[0]
    words = trained.vocabulary.spoken(best.tokens)  # one a token; substituted ones may be several
    alphas = None
    if trained.config.attention and best.tokens:
        alphas = trained.attention(captioned.features[None], best.tokens)
    drawing = overlay.draw(captioned.picture, marked(best), words, alphas)
    replace(target, encode(drawing, "PNG"))


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning caption"))
