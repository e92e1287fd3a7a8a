"""Drawn circuit boards: one defect, in its box, of the kind that is said."""

import csv

import cv2
import numpy as np
import pytest
import torch

from core.errors import InputError
from datasets.images import boards, folders
from datasets.images.board_defects import DEFECTS


def components(mask):
    return cv2.connectedComponents(mask.astype(np.uint8))[0]


def test_a_board_is_a_function_of_seed_and_number():
    first, again = boards.draw(3, 5), boards.draw(3, 5)
    assert torch.equal(first.image, again.image)
    assert (first.kind, first.box) == (again.kind, again.box)
    assert first.kind == boards.KINDS[5]
    assert first.image.shape == (1, 256, 256)
    assert set(first.image.unique().tolist()) == {0, 255}
    assert not torch.equal(first.image, boards.draw(3, 11).image)
    assert boards.draw(0, 0, (120, 300), "short").image.shape == (1, 120, 300)


@pytest.mark.parametrize("kind", boards.KINDS)
def test_defects_are_what_they_are_called(kind, monkeypatch):
    before = {}

    def noted(copper, site, random):
        before["copper"] = copper
        return defect(copper, site, random)

    defect = DEFECTS[kind]
    monkeypatch.setitem(DEFECTS, kind, noted)
    rightly = 0
    for number in range(12):
        board = boards.draw(0, number, kind=kind)
        copper, damaged = before["copper"], (board.image[0] == 0).numpy()
        changed = copper != damaged
        x1, y1, x2, y2 = board.box
        assert changed[y1:y2, x1:x2].sum() == changed.sum() > 0
        assert max(x2 - x1, y2 - y1) < 80
        added = kind in ("short", "spur", "spurious_copper")
        assert (damaged[changed] == added).all()
        pieces = components(damaged) - components(copper)
        holes = components(~damaged) - components(~copper)
        rightly += {
            "mousebite": pieces == 0 and holes == 0,
            "open": pieces > 0 or holes < 0,  # a ring may be opened, and is one piece still
            "pinhole": pieces == 0 and holes == 1,
            "short": pieces < 0 or holes > 0,
            "spur": pieces == 0 and holes == 0,
            "spurious_copper": pieces == 1 and holes == 0,
        }[kind]
    assert rightly >= 9


def test_a_folder_of_boards_is_a_data_set_with_boxes(tmp_path):
    boards.write_folder(tmp_path / "boards", count=60, size=(100, 130))
    splits = folders.load(tmp_path / "boards")
    assert splits.train.classes == boards.KINDS
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [42, 9, 9]
    with (tmp_path / "boards" / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} >= {origin.name for origin in splits.train.origins}
    row = next(row for row in rows if row["file"] == splits.train.origins[0].name)
    board = boards.draw(0, int(row["file"][-10:-4]), (100, 130))
    assert torch.equal(splits.train.fetch(torch.tensor([0]))[0], board.image)
    assert [int(row[edge]) for edge in ("x1", "y1", "x2", "y2")] == list(board.box)


def test_what_cannot_be_drawn_is_one_line():
    with pytest.raises(InputError, match="96 x 96 pixels or more, not 50x300"):
        boards.draw(0, 0, (50, 300))
    with pytest.raises(InputError, match="no defect 'crack'"):
        boards.draw(0, 0, kind="crack")
