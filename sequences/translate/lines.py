"""Translate the lines of standard input, each as soon as it is read.

    echo "Today Eva saw two red apples in the garden." |
        uv run sequences translate lines runs/translate/counting
    uv run sequences translate lines runs/translate/attention --batch 64 < text.en > text.cs
    echo "A man sleeps." | uv run sequences translate lines RUN --attention attention.png

The first prints `Eva dnes viděla na zahradě dvě červená jablka.`
"""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from core.errors import InputError
from core.files import make_folder, replace, require_free
from core.training import cli, devices
from sequences.translate.arguments import Lines
from sequences.translate.trained import Trained, open_model
from sequences.translate.write import MOST, Translation, attention, translate


def main(arguments: Lines) -> None:
    """Open a run; translate until the input ends."""
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    if arguments.attention:
        _check(trained, arguments, arguments.attention)
    beam = arguments.beam or trained.config.beam
    read = cli.text_lines()
    number = 0
    while lines := list(islice(read, arguments.batch)):
        translated = translate(trained, lines, beam, arguments.n_best)
        for line, translations in zip(lines, translated, strict=True):
            number += 1
            _warn(trained, number, line)
            _print(number, translations, arguments.n_best)
            if arguments.attention and translations[0].tokens:
                path = _numbered(arguments.attention, number)
                require_free(path, arguments.overwrite)
                _draw(trained, line, translations[0], path)


def _check(trained: Trained, arguments: Lines, path: Path) -> None:
    """Complain of a picture that cannot be drawn before work begins, and make its folder."""
    if not trained.config.attention:
        raise InputError(f"{arguments.run} was trained without attention: there is nothing to draw")
    if path.suffix.lower() != ".png":
        raise InputError(f"--attention takes a file to write, such as attention.png, not {path}")
    require_free(path, arguments.overwrite)
    make_folder(path.parent)


def _warn(trained: Trained, number: int, line: str) -> None:
    """Warn of a line that is longer than the translator reads."""
    count = len(trained.subwords.source.encode(line))
    if count > MOST:
        warning = f"line {number} has {count} subwords: only the first {MOST} were read"
        print(f"sequences translate lines: {warning}", file=sys.stderr, flush=True)


def _print(number: int, translations: Sequence[Translation], n_best: int) -> None:
    lines = [translation.text for translation in translations]
    if n_best > 1:
        lines = [f"{number}\t{best.log_probability:.3f}\t{best.text}" for best in translations]
    cli.say("\n".join(lines))


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def _draw(trained: Trained, line: str, translation: Translation, path: Path) -> None:
    from sequences.translate import matrix  # matplotlib takes long to import

    weights = attention(trained, line, translation.tokens)
    words = trained.subwords.source.surfaces(line)[: weights.shape[1] - 1]
    replace(path, matrix.draw(words, translation.subwords, weights[: len(translation.subwords)]))


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences translate lines"))
