"""Drawings of captions: the picture whole, the text legible, the heat where the attention was."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from captioning.pictures import overlay
from captioning.pictures.overlay import SIDE
from datasets.images import fonts
from datasets.images.fonts import font_for

CELLS = 49


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def one_cell(row: int, column: int) -> torch.Tensor:
    alpha = torch.zeros(1, CELLS)
    alpha[0, row * 7 + column] = 1
    return alpha


def test_the_picture_stands_whole_above_its_caption():
    picture = noise(SIDE, 400)
    drawing = overlay.draw(picture, "a dog .")
    assert drawing.mode == "RGB"
    assert drawing.width == SIDE
    assert 430 < drawing.height < 480
    assert np.array_equal(np.asarray(drawing)[:400], np.asarray(picture))
    written = np.asarray(drawing.crop((0, 400, *drawing.size))).max(-1) > 200
    columns = np.flatnonzero(written.any(0))
    assert columns[0] + columns[-1] == pytest.approx(SIDE, abs=4), "it is centred"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1280, 640), (640, 320)),
        ((320, 320), (640, 640)),
        ((1, 1), (640, 640)),
        ((1, 900), (1, 640)),
        ((900, 1), (640, 1)),
    ],
)
def test_pictures_of_any_size_fit(size: tuple[int, int], shown: tuple[int, int]):
    assert overlay.fit(noise(*size), SIDE, SIDE).size == shown
    drawing = overlay.draw(
        noise(*size, mode="L"), "a word", ["a", "word"], torch.full((2, CELLS), 1 / CELLS)
    )
    assert drawing.width == SIDE
    assert drawing.height > shown[1] + 60


def test_there_is_a_thumbnail_for_each_word():
    picture = noise(SIDE, SIDE // 2)
    words = ["two", "dogs", "run", "on", "the", "wet", "sand"]
    heights = [
        overlay.draw(picture, "", words[:count], torch.full((count, CELLS), 1 / CELLS)).height
        for count in range(len(words) + 1)
    ]
    bare = overlay.draw(picture, "").height
    assert heights[0] == bare, "no word, no strip"
    assert overlay.draw(picture, "", words).height == bare, "no attention, no strip"
    assert bare < heights[1]
    assert len(set(heights[1:4])) == 1, "three words have room beside one another"
    assert heights[6] > heights[5], "the sixth begins a row"


@pytest.mark.parametrize(("row", "column"), [(0, 6), (6, 0), (3, 2)])
def test_it_glows_where_attention_was(row: int, column: int):
    thumbnail = Image.new("RGB", (140, 70), (90, 90, 90))
    cells = one_cell(row, column).numpy().reshape(7, 7)
    pixels = np.asarray(overlay.heat(thumbnail, cells)).astype(int)
    warmth = pixels[..., 0] - pixels[..., 2]  # a grey pixel has none
    y, x = np.unravel_index(warmth.argmax(), warmth.shape)
    assert (y // 10, x // 20) == (row, column)
    assert warmth.max() > 60
    far = np.ones((7, 7), dtype=bool)
    far[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = False
    assert np.abs(warmth[far.repeat(10, 0).repeat(20, 1)]).max() < 20


def test_words_are_drawn_on_one_scale():
    picture = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    sharp, even = one_cell(3, 3), torch.full((1, CELLS), 1 / CELLS)
    alphas = torch.cat((sharp, 0.5 * sharp + 0.5 * even, even))
    drawing = overlay.draw(picture, "", ["dog", "runs", "a"], alphas)
    strip = np.asarray(drawing).astype(int)[SIDE:]
    warmth = [part.max() for part in np.array_split(strip[..., 0] - strip[..., 2], 3, axis=1)]
    assert warmth[0] > warmth[1] + 30 > warmth[2] + 60
    assert warmth[2] < 5, "where attention is even nothing glows"


def test_lines_are_not_wider_than_their_place():
    width = 300
    text = "a žluťoučký kůň runs through " + "w" * 100 + " and two dogs 🐶 look on"
    font = font_for(text, 22)
    lines = overlay.wrap(text, font, width)
    assert all(font.getlength(line) <= width for line in lines)
    assert [word for word in " ".join(lines).split() if "…" not in word] == [
        word for word in text.split() if "www" not in word
    ]
    assert overlay.wrap("", font, width) == []
    assert overlay.wrap("word " * 200, font, width)[0] == "word word word word word"


def test_the_font_has_the_letters_of_europe():
    def written(letter: str) -> bytes:
        page = Image.new("L", (40, 40))
        ImageDraw.Draw(page).text((5, 5), letter, 255, font_for(letter, 22))
        return page.tobytes()

    for letter in "ěščřžýáíéúůďťňąłßøñξд":
        assert written(letter) != written("\uffff"), letter


@pytest.mark.parametrize("text", ["🐶🐕‍🦺", "一只狗", "كلب", "a\nb\tc", " "])
def test_other_scripts_do_no_harm(text: str):
    overlay.draw(noise(50, 40), text, [text], torch.full((1, CELLS), 1 / CELLS))


@pytest.mark.parametrize("words", [(), ("\ue000",)])
def test_letters_come_from_an_installed_font_that_has_them(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def drawn() -> bytes:
        fonts.tell_lacking_glyphs.cache_clear()
        alphas = torch.full((len(words), CELLS), 1 / CELLS)
        caption = "" if words else "\ue000 \ue001"  # for private use: DejaVu Sans lacks them
        return overlay.draw(noise(50, 40), caption, words, alphas).tobytes()

    monkeypatch.setattr(fonts, "OTHER_SCRIPTS", ())
    boxes = drawn()
    assert capsys.readouterr().err.startswith("warning: no font here has all letters")
    monkeypatch.setattr(fonts, "OTHER_SCRIPTS", ("STIXSizeOneSym", "STIXNonUnicode"))
    assert drawn() != boxes
    assert capsys.readouterr().err == ""


def test_what_is_invisible_needs_no_letter(capsys: pytest.CaptureFixture[str]):
    fonts.tell_lacking_glyphs.cache_clear()
    font_for("a\nb\tc\u200d \u2028\ufe0f", 22)
    font_for("كلب", 22)
    font_for("", 22)
    assert capsys.readouterr().err == ""
