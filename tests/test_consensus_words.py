"""Images with one caption, where there are no words that people agree on."""

import json
import math
from pathlib import Path

import pytest

from captioning import evaluate
from core.training import cli
from datasets.captions import scenes

SIZES = "--embedding 8 --hidden 8 --visual 8 --scores 4 --batch 4 --captions 1 --min-count 1"
STEPS = "--steps 2 --log-every 1 --validate-every 1 --beam 1 --quiet"
REASON = "consensus words: - where no two captions of an image have a content word in common"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, scene in enumerate(scenes.splits()["train"][:12]):
        scene.open().save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(scene.captions[0], encoding="utf8")
    return folder


def test_they_are_left_out_of_the_progress_and_the_tables_say_why(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = [*SIZES.split(), *STEPS.split(), "--runs", str(tmp_path), "--name", "one"]
    assert cli.script("captioning train", ["--data", str(photos), *flags]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("step ")]
    assert any("CIDEr" in line for line in lines)
    assert not any("consensus words" in line for line in lines)
    assert REASON in printed
    run = str(tmp_path / "captioning/one")
    assert cli.script("captioning evaluate", [run]) == 0
    assert REASON in capsys.readouterr().out
    assert cli.script("captioning evaluate", [run, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["this captioner"]["consensus words"] is None


def test_there_is_no_reason_where_they_are_there(capsys: pytest.CaptureFixture[str]):
    evaluate.print_metrics({"this captioner": {"CIDEr": 0.5, "consensus words": 0.25}}, "test")
    assert "consensus words: -" not in capsys.readouterr().out


def test_they_are_kept_where_there_are_some(monkeypatch: pytest.MonkeyPatch):
    scores = {"CIDEr": 0.5, "consensus words": 0.25}
    monkeypatch.setattr(evaluate, "measure", lambda *_: dict(scores))
    assert evaluate.validate(None, None, 1) == scores  # pyright: ignore[reportArgumentType]
    scores["consensus words"] = math.nan
    assert evaluate.validate(None, None, 1) == {"CIDEr": 0.5}  # pyright: ignore[reportArgumentType]
