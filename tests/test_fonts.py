"""Letters of the scripts that labels are written in, and text that fits."""

import pytest
from PIL import Image, ImageDraw

from video.pictures.fonts import cut, font


def drawn(letter, weight):
    picture = Image.new("L", (40, 40))
    ImageDraw.Draw(picture).text((5, 5), letter, 255, font(20, weight))
    return picture.tobytes()


@pytest.mark.parametrize("weight", ["", "Bold"])
@pytest.mark.parametrize("text", ["řezání žluťoučké", "Übergang", "ανάμειξη", "перемешать", "…·"])
def test_no_letter_is_a_box(text, weight):
    for letter in set(text) - {" "}:
        assert drawn(letter, weight) != drawn("\U0010fffd", weight), letter


def test_what_fits_stays_and_what_does_not_is_cut():
    letters = font(16)
    assert cut("mix dressing", letters, 500) == "mix dressing"
    assert cut("two\nlines\t here", letters, 500) == "two lines here"
    for width in (0, 5, 20, 40, 80):
        short = cut("mix dressing", letters, width)
        assert letters.getlength(short) <= width
        assert short == "" or (short[-1] == "…" and "mix dressing".startswith(short[:-1]))
    assert cut("mix dressing", letters, 5) == ""
