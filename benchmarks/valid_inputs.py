"""Small valid data, and valid lines of all commands on them.

`write_files` makes the data, `copy_runs` copies of trained runs; `training_lines` and `valid_lines`
name the commands.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

TOY_SIZES = {
    "glimpse": "--hidden 8 --glimpses 2 --what-units 4 --where-units 4 --glimpse-units 8",
    "captioning": "--encoder tiny --min-count 1 --hidden 8 --embedding 8 --visual 8 --scores 8",
    "video": "--encoder micro --frame-size 16 --frame 8 --hidden 8 --window 4",
    "charlm": "--hidden 8 --window 8",
    "sentiment": "--embedding 6 --hidden 5",
    "translate": "--embedding 6 --hidden 6",
}
REWRITTEN = "rewritten"
"""The folder of the copies of runs that commands write into."""
TOY_ADDITION = "--pairs 100 --candidates 2 --feedforward 8 --lengths 9 10"
TOY_DATA = {
    "glimpse": "--data images --image-size 16 16",
    "captioning": "--data captions.csv",
    "video": "--data clips",
    "charlm": "text.txt",
    "sentiment": "--data reviews.tsv",
    "translate": "--data pairs",
}


@dataclass(frozen=True)
class Input:
    """One run of a command."""

    prog: str
    words: tuple[str, ...]
    stdin: bytes = b""


def write_files(folder: Path) -> None:
    """Write small valid data of every kind that a command reads."""
    numbers = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    rows = ["image,caption"]
    for n in range(8):
        pixels = numbers.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"pictures/{n}.png")
        rows.append(f"pictures/{n}.png,a picture of number {n}")
        label = folder / "images" / ("even", "odd")[n % 2]
        label.mkdir(parents=True, exist_ok=True)
        for copy in range(4):
            Image.fromarray(np.roll(pixels, copy, 0)).save(label / f"{n}{copy}.png")
    (folder / "gallery").mkdir()
    for n in range(2):  # drawing a page takes a quarter of a second
        shutil.copy(folder / f"pictures/{n}.png", folder / "gallery")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    for label in ("dark", "light"):
        for n in range(4):
            _write_film(folder / f"clips/{label}/{n}.avi", 40 + 120 * (label == "light") + n)
    _write_film(folder / "film.avi", 60)
    (folder / "second").mkdir()
    shutil.copy(folder / "film.avi", folder / "second")
    for path, changes in (("labels.csv", (0.1, 0.5)), ("second/labels.csv", (0.2, 0.5))):
        (folder / path).write_text(_bouts(*changes))
    lines = [f"line {n}: {'ab' * (n % 7)} <b>{n * n}</b>" for n in range(120)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    reviews = [f"{('bad', 'good')[n % 2]} film {n}\t{n % 2}" for n in range(60)]
    (folder / "reviews.tsv").write_text("\n".join(["text\tlabel", *reviews]) + "\n")
    for name, count in (("pairs", 40), ("pairs.val", 8)):
        for language, word in (("en", "number"), ("cs", "číslo")):
            (folder / f"{name}.{language}").write_text(
                "".join(f"{word} {n} .\n" for n in range(count))
            )


def _bouts(start: float, end: float) -> str:
    """Return a table of two bouts of film.avi, the first from `start` to `end` seconds."""
    rows = ["clip,start,end,label", f"film.avi,{start},{end},walk", "film.avi,0.6,0.8,run"]
    return "\n".join(rows) + "\n"


def copy_runs(folder: Path) -> None:
    """Copy the toy runs for commands that write into a run."""
    for app in TOY_SIZES:
        shutil.copytree(folder / f"runs/{app}/toy", folder / REWRITTEN / app)


def _write_film(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 16))
    for n in range(8):
        writer.write(np.full((16, 32, 3), level + n, dtype=np.uint8))
    writer.release()


def training_lines(folder: Path) -> dict[str, Input]:
    """Return the training of each application, by its name; runs go to the folder `runs`."""
    lines = {}
    for app, sizes in TOY_SIZES.items():
        data = [str(folder / word) if _is_data(word) else word for word in TOY_DATA[app].split()]
        flags = [*sizes.split(), "--steps", "1", "--batch", "2", "--quiet"]
        if app == "captioning":
            flags += ["--beam", "1", "--cache", str(folder / "features")]
        prog = f"{app} train"
        if app in ("charlm", "sentiment", "translate"):
            prog = f"sequences {prog}"
        lines[app] = Input(prog, (*data, *flags))
    return lines


def _is_data(word: str) -> bool:
    return not word.startswith("--") and not word.isdigit()


def valid_lines(folder: Path) -> list[Input]:
    """Return at least one valid line of each command.

    Commands that write into a run are given the copies that `copy_runs` makes.
    """
    runs = {app: str(folder / f"runs/{app}/toy") for app in TOY_SIZES}
    picture = str(folder / "pictures/0.png")
    film = str(folder / "film.avi")
    labels = str(folder / "labels.csv")
    second = str(folder / "second/labels.csv")
    text = str(folder / "text.txt")
    copies = {app: str(folder / REWRITTEN / app) for app in TOY_SIZES}
    teacher = f"--data {folder / 'images'} --image-size 16 16 --context 8 --filters 4"
    flags = ["--steps", "1", "--batch", "2", "--quiet"]
    sentences = b"good film 1\nbad film\n\n"
    lines = [
        ("glimpse evaluate", [runs["glimpse"]]),
        ("glimpse teacher train", [*teacher.split(), *flags]),
        ("glimpse stop", [copies["glimpse"], "--glimpses", "1.5"]),
        ("glimpse sample", ["board.png", "--size", "96", "96"]),
        ("glimpse sample", ["boards", "--size", "96", "96", "--count", "12"]),
        ("glimpse pack", [runs["glimpse"], "small.pt"]),
        ("glimpse export", [runs["glimpse"], "program.pt2"]),
        ("glimpse show", [runs["glimpse"], picture, "--out", "drawn"]),
        ("glimpse show", [runs["glimpse"], str(folder / "gallery"), "--gif", "--json"]),
        ("captioning caption", [picture, "--run", runs["captioning"]]),
        ("captioning caption", [picture, "--run", runs["captioning"], "--html", "page.html"]),
        ("captioning caption", [str(folder / "pictures"), "--overlay", "drawn", "--json"]),
        ("captioning evaluate", [runs["captioning"], "--json"]),
        ("captioning calibrate", [copies["captioning"]]),
        ("captioning export", [runs["captioning"], "programs"]),
        ("captioning pack", [runs["captioning"], "small.pt"]),
        ("video label", [film, "--run", runs["video"], "--csv", "--srt"]),
        ("video label", [film, "--run", runs["video"], "--overlay", "o.webm", "--eaf"]),
        ("video evaluate", [runs["video"], "--json"]),
        ("video next", [runs["video"], film, "--minutes", "0.01", "--stretch", "0.2"]),
        ("video bouts", [labels, "--csv", "bouts.csv", "--ethogram", "bouts.png"]),
        ("video bouts", [labels, "--against", second, "--transitions", "next.csv"]),
        ("video export", [runs["video"], "program.pt2"]),
        ("video pack", [runs["video"], "small.pt"]),
        ("video sample", ["sample.mp4"]),
        ("sequences charlm sample", [runs["charlm"], "--length", "20", "--prompt", "line"]),
        ("sequences charlm pack", [runs["charlm"], "small.pt"]),
        ("sequences charlm evaluate", [runs["charlm"], text, "--json"]),
        ("sequences sentiment evaluate", [runs["sentiment"], "--json"]),
        ("sequences sentiment classify", [runs["sentiment"]]),
        ("sequences translate evaluate", [runs["translate"], "--json"]),
        ("sequences translate lines", [runs["translate"], "--beam", "2"]),
        ("sequences addition", [*TOY_ADDITION.split(), "--steps", "1", "--batch", "2", "--quiet"]),
    ]
    return [Input(prog, tuple(words), sentences) for prog, words in lines]
