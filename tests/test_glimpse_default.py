"""The model of the package finds the defect of a drawn board, with no training and no network."""

from pathlib import Path

import torch
from glimpse_command import glimpse

from datasets.images import boards
from glimpse.hints import on_box
from glimpse.model import DEFAULT, greedy, open_model


def test_the_default_model_finds_and_names_defects():
    model, saved = open_model(DEFAULT, "cpu")
    assert saved["extras"]["classes"] == list(boards.KINDS)
    assert DEFAULT.stat().st_size < 6e6
    drawn = [boards.draw(seed=7, number=number) for number in range(24)]
    images = torch.stack([board.image for board in drawn])
    boxes = torch.tensor([board.box for board in drawn])[:, None] / 128 - 1
    with torch.no_grad():
        episode = model.rollout(images, model.config.glimpses, greedy)
    predicted = episode.logits[-1].argmax(-1).tolist()
    rightly = sum(boards.KINDS[n] == board.kind for n, board in zip(predicted, drawn, strict=True))
    assert on_box(episode.locations, boxes).amax(0).sum() >= 21
    assert rightly >= 19


def test_a_sample_is_shown_without_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert glimpse("sample", "board.png", "--size", "200", "260") == 0
    assert capsys.readouterr().out.startswith("board.png: mousebite at x ")
    assert glimpse("show", "board.png") == 0
    out, err = capsys.readouterr()
    assert out.startswith("board.png: ")
    assert err == ""  # the board keeps its size
    assert Path("scanpaths/board.scanpath.png").stat().st_size > 1000
    assert glimpse("sample", "boards") == 2
    assert "a folder needs --count NUMBER" in capsys.readouterr().err
