"""Names in scripts that the font of matplotlib lacks."""

from types import SimpleNamespace

import pytest
from matplotlib import font_manager

from datasets.images import fonts
from glimpse.pictures import page


def draw(name: str) -> bytes:
    sheet = page.Page(2, 1, dpi=50)
    sheet.write(0.1, 0.5, name)
    return sheet.png()


def test_letters_that_no_font_has_are_told_once(capsys: pytest.CaptureFixture[str]):
    fonts.tell_lacking_glyphs.cache_clear()
    draw("řezání, ανάμειξη, ○")
    assert capsys.readouterr().err == ""
    for _ in range(2):
        draw("\U000f1234")  # for private use: no font has it
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: no font here has all letters")


def test_installed_fonts_of_other_scripts_come_after_the_own(monkeypatch: pytest.MonkeyPatch):
    installed = [SimpleNamespace(name=name) for name in ("Comic", "Yu Gothic", "Noto Sans CJK JP")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", installed)
    assert fonts.font_families() == ["DejaVu Sans", "Noto Sans CJK JP", "Yu Gothic"]


def test_a_letter_is_taken_from_the_font_that_has_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fonts, "OTHER_SCRIPTS", ("STIXSizeOneSym", "STIXNonUnicode"))
    fonts.tell_lacking_glyphs.cache_clear()
    with_font = draw("\ue000")
    monkeypatch.setattr(fonts, "OTHER_SCRIPTS", ())
    assert draw("\ue000") != with_font
