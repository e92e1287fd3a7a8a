"""Every command of docs/video.md, run as it stands there but at toy size."""

import shlex
from pathlib import Path

import pytest
from labeller import call, rows, write
from PIL import Image

TEXT = (Path(__file__).parent.parent / "docs" / "video.md").read_text()
COMMANDS = [shlex.split(line)[3:] for line in TEXT.splitlines() if line.startswith("uv run video ")]
TOY = ["--encoder", "micro", "--frame-size", "16", "--hidden", "8", "--frame", "8"]
HEADING = (
    "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s)"
)


def test_there_are_ten_commands_at_most():
    assert 6 <= len(COMMANDS) <= 10


def test_each_command_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    events = [HEADING]
    for folder, names in (("scored", "abcd"), ("new", ("film1", "film2"))):
        Path(folder).mkdir()
        for name in names:
            write(f"{folder}/{name}.mp4", 60)
    for name in "abcd":
        events += [
            f"{name},{name}.mp4,6.0,10,x,walk,STATE,0.5,2.0",
            f"{name},{name}.mp4,6.0,10,x,groom,STATE,1.0,3.0",
        ]
    Path("scored/events.csv").write_text("\n".join(events))
    Path("new/film1.labels.csv").write_text(
        "clip,start_seconds,end_seconds,label\nfilm1.mp4,0.5,2,walk\nfilm1.mp4,1,3,groom\n"
    )
    for verb, *flags in COMMANDS:
        if verb == "train":
            flags += ["--steps", "2", "--batch", "2", "--quiet"]
            flags += TOY if "--preset" in flags else []
        assert call(*flags, command=f"video {verb}") == 0, (verb, flags)
    out = capsys.readouterr().out
    assert "average precision" in out
    assert "half of the expected errors are in" in out
    assert "Cohen's kappa" in out
    assert Path("runs/video/second/best.pt").exists()
    assert sorted(path.name for path in Path("next").iterdir()) == [
        "film1.next.eaf", "film2.next.eaf", "next.boris.csv", "next.csv",
    ]  # fmt: skip
    assert rows("next/next.csv")
    assert {row["film"] for row in rows("bouts.csv")} == {"film1", "film2"}
    with Image.open("ethogram.png") as picture:
        assert picture.format == "PNG"
