"""Translate the lines of standard input, each as soon as it is read.

    echo "Today Eva saw two red apples in the garden." | uv run sequences translate lines runs/translate/counting
    uv run sequences translate lines runs/translate/attention --batch 64 < text.en > text.cs
    echo "A man sleeps." | uv run sequences translate lines runs/translate/attention --attention seen.png

The first prints `Eva dnes viděla na zahradě dvě červená jablka.`
"""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from core.errors import InputError
from core.files import replace, writing
from core.training import cli, devices
from core.training.config import WIDEST_BEAM, require_at_least, require_within
from sequences.translate.arguments import Lines
from sequences.translate.trained import Trained, open_model
from sequences.translate.write import MOST, Translation, attention, translate


def main(arguments: Lines) -> None:
    """Open a run; translate until the input ends."""
    require_at_least(1, arguments, "batch")
    require_within(1, WIDEST_BEAM, arguments, "beam", "n_best")
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    if arguments.attention:
        _check(trained, arguments)
    read = cli.text_lines()
    number = 0
    while lines := list(islice(read, arguments.batch)):
        found = translate(trained, lines, arguments.beam or trained.config.beam, arguments.n_best)
        for line, translations in zip(lines, found, strict=True):
            number += 1
            _warn(trained, number, line)
            _print(number, translations, arguments.n_best)
            if arguments.attention and translations[0].tokens:
                _draw(trained, line, translations[0], _numbered(arguments.attention, number))


def _check(trained: Trained, arguments: Lines) -> None:
    """Complain of a picture that cannot be drawn before work begins, and make its folder."""
    assert arguments.attention
    if not trained.config.attention:
        raise InputError(f"{arguments.run} was trained without attention: there is nothing to draw")
    if arguments.attention.suffix.lower() != ".png":
        raise InputError(
            f"--attention takes the name of a picture to write, such as seen.png, not {arguments.attention}"
        )
    with writing(arguments.attention.parent):
        arguments.attention.parent.mkdir(parents=True, exist_ok=True)


def _warn(trained: Trained, number: int, line: str) -> None:
    count = len(trained.pieces.source.encode(line))
    if count > MOST:
        print(
            f"sequences translate lines: line {number} has {count} pieces: only the first {MOST} were read",
            file=sys.stderr,
            flush=True,
        )


def _print(number: int, translations: Sequence[Translation], n_best: int) -> None:
    lines = [each.text for each in translations]
    if n_best > 1:
        lines = [f"{number}\t{each.log_probability:.3f}\t{each.text}" for each in translations]
    cli.say("\n".join(lines))


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def _draw(trained: Trained, line: str, translation: Translation, path: Path) -> None:
    from sequences.translate import matrix  # matplotlib takes long to import

    seen = attention(trained, line, translation.tokens)
    words = trained.pieces.source.surfaces(line)[: seen.shape[1] - 1]
    replace(path, matrix.draw(words, translation.pieces, seen[: len(translation.pieces)]))


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate lines"))
