"""Command lines that a person, a script or an attacker might type.

`spoil` takes a valid one of `benchmarks.valid_inputs` and changes one thing or two, as the random
generator says.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch

from benchmarks.valid_inputs import Input
from core.training.arguments import Session, Training
from core.training.cli import Command, Commands

VALUES = (
    *("", " ", "nan", "inf", "-inf", "-1", "-0.5", "0", "1.5", "1e400", "1e-400", "9" * 5000),
    *("abc", "None", "-", "--", "true", "1 2", "[1]", "{}", "%s", "$HOME", "0x10", "٣", "'"),
    *("žluť", "\udcff", "a" * 300, "a/b/c", ".", "..", "/", "/dev/null", "/dev/zero", "-h-"),
)
UNTOUCHED = {"download", "java", "resume", "native"}
"""Flags that ask for the network, for Java, or for another run."""


def spoil(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Return the line with one thing or two changed; files that this needs are made in `place`."""
    for number in range(chance.choice((1, 1, 1, 2))):
        change = chance.choice((_flag, _flag, _flag, _words, _path, _content, _content, _run))
        made = place / f"odd{number}"
        made.mkdir(parents=True)
        line = change(line, folder, made, commands, chance)
    return line


def _flag(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Give a flag of the command an odd value."""
    flags = [name for name in _flags_of(line.prog, commands) if name not in UNTOUCHED]
    flag = f"--{chance.choice(flags).replace('_', '-')}"
    value = [] if chance.random() < 0.1 else [chance.choice(VALUES)]
    return Input(line.prog, (*line.words, flag, *value), line.stdin)


def _words(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Drop, repeat, exchange or add a word."""
    words = list(line.words)
    at = chance.randrange(len(words))
    change = chance.choice(("drop", "repeat", "replace", "insert", "unknown", "shuffle"))
    if change == "drop":
        del words[at]
    elif change == "repeat":
        words.insert(at, words[at])
    elif change == "replace":
        words[at] = chance.choice(VALUES)
    elif change == "insert":
        words.insert(at, chance.choice(VALUES))
    elif change == "unknown":
        words.append(chance.choice(("--frobnicate", "-x", "--stepz", "--=", "--runs=")))
    else:
        chance.shuffle(words)
    return Input(line.prog, tuple(words), line.stdin)


def _path(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Exchange a path of the line for an odd one."""
    path = place / chance.choice(("odd.png", "odd.pt", "odd.csv", "odd.avi", "odd.txt", "odd"))
    kind = chance.choice(("missing", "empty", "folder", "FIFO", "link", "text", "bytes", "device"))
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(path)
    elif kind == "text":
        path.write_text("a,b\n1,2\n" * 5)
    elif kind == "bytes":
        path.write_bytes(chance.randbytes(300))
    elif kind == "device":
        path.symlink_to(chance.choice(("/dev/null", "/dev/zero")))
    return _exchange(line, path, chance)


def _content(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Exchange a file of the line, or standard input, for a copy of which some bytes are others."""
    candidates = [word for word in line.words if os.path.isfile(word)]
    if not candidates:
        return Input(line.prog, line.words, _damage(line.stdin * 3 or b"x", chance))
    word = chance.choice(candidates)
    damaged = place / Path(word).name
    damaged.write_bytes(_damage(Path(word).read_bytes(), chance))
    return _exchanged(line, word, damaged)


def _run(
    line: Input, folder: Path, place: Path, commands: Commands, chance: random.Random
) -> Input:
    """Exchange the run of the line for one whose checkpoint or configuration was altered."""
    runs = [word for word in line.words if os.path.exists(os.path.join(word, "last.pt"))]
    if not runs:
        return _flag(line, folder, place, commands, chance)
    saved = torch.load(Path(runs[0]) / "best.pt", weights_only=True)
    altered = place / "run"
    altered.mkdir()
    settings = _altered(json.loads((Path(runs[0]) / "config.json").read_text()), chance)
    (altered / "config.json").write_text(json.dumps(settings))
    if chance.random() < 0.2:
        content = (Path(runs[0]) / "best.pt").read_bytes()
        (altered / "best.pt").write_bytes(_damage(content, chance))
    else:
        torch.save(_altered(saved, chance), altered / "best.pt")
    return _exchanged(line, runs[0], altered)


def _exchanged(line: Input, word: str, path: Path) -> Input:
    """The line with a path in place of each such word."""
    words = list(line.words)
    while word in words:
        words[words.index(word)] = str(path)
    return Input(line.prog, tuple(words), line.stdin)


def _altered(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return nested plain values of which one, at any depth, is missing or another."""
    value = dict(value)
    if not value:
        return {"odd": 1}
    name = chance.choice(list(value))
    if isinstance(value[name], dict) and chance.random() < 0.8:
        value[name] = _altered(value[name], chance)
    elif chance.random() < 0.3:
        del value[name]
    else:
        tensor = torch.full((2, 3), float("nan"))
        odd = [None, -1, 0, 10**6, 10**20, "", "odd", 0.5, float("nan"), [], [[1]], {}, True]
        if isinstance(value[name], torch.Tensor):
            odd = [tensor, value[name] * float("nan"), value[name][:1], None, 3]
        value[name] = chance.choice(odd)
    return value


def _damage(content: bytes, chance: random.Random) -> bytes:
    """Cut, insert, repeat or flip some bytes."""
    at = chance.randrange(len(content) + 1)
    size = chance.choice((1, 3, 50))
    change = chance.choice(("cut", "insert", "repeat", "flip", "utf-16", "empty lines"))
    if change == "cut":
        return content[:at]
    if change == "insert":
        return content[:at] + chance.randbytes(size) + content[at:]
    if change == "repeat":
        return content[:at] + content[max(0, at - size) :]
    if change == "flip":
        flipped = bytes(byte ^ 0x55 for byte in content[at : at + size])
        return content[:at] + flipped + content[at + size :]
    if change == "utf-16":
        return content.decode("latin-1").encode("utf-16")
    return content.replace(b"\n", chance.choice((b"\n\n\n", b"\r", b"\0")))


def _exchange(line: Input, path: Path, chance: random.Random) -> Input:
    """Return the line with one of its paths, or any word, exchanged for `path`."""
    words = list(line.words)
    places = [n for n, word in enumerate(words) if "/" in word or "." in word]
    words[chance.choice(places or range(len(words)))] = str(path)
    return Input(line.prog, tuple(words), line.stdin)


def _flags_of(prog: str, commands: Commands) -> list[str]:
    command: Any = commands
    for word in prog.split():
        command = command[word]
    assert isinstance(command, Command)
    if isinstance(command.arguments, Training):
        return [*_fields(command.arguments.config), *_fields(Session), "preset"]
    return list(_fields(command.arguments))


def _fields(cls: Any) -> Iterator[str]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        if is_dataclass(hints[field.name]):
            yield from _fields(hints[field.name])
        else:
            yield field.name
