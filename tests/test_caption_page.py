"""What the command that captions pictures draws: where it looked, and a page of pictures."""

import base64
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from describer import CONFIG, call, noise, save_run
from PIL import Image

from captioning.pictures import page


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def test_overlays(run: Path, capsys: pytest.CaptureFixture[str]):
    for folder in ("a", "b"):
        Path(folder).mkdir()
    noise(0, 300, 200).save("a/x.png")
    noise(1, 200, 300).save("b/X.jpg")
    noise(2, 300, 200).save("x.caption.png")
    mine = Path("x.caption.png").read_bytes()
    assert call("a", "b", "x.caption.png", "--run", run, "--overlay", ".", "--json") == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["overlay"] for each in printed] == [
        "x-2.caption.png",
        "X-3.caption.png",
        "x.caption.caption.png",
    ]
    assert Path("x.caption.png").read_bytes() == mine
    for each, height in zip(printed, (427, 640, 427), strict=True):
        with Image.open(each["overlay"]) as drawing:
            assert drawing.format == "PNG"
            assert drawing.width == 640
            assert drawing.height > height + 100, "picture, caption, heat-maps"


def test_without_attention_there_are_no_heat_maps(tmp_path: Path, run: Path):
    pooled = save_run(tmp_path / "pooled", replace(CONFIG, attention=False))
    noise(0, 300, 200).save("x.png")
    assert call("x.png", "--run", pooled, "--overlay", "drawn") == 0
    with Image.open("drawn/x.caption.png") as drawing:
        assert drawing.height < 427 + 100


class Reader(HTMLParser):
    """What is on a page."""

    def __init__(self, file: str):
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.said: dict[str, list[str]] = {"caption": [], "file": [], "li": [], "title": []}
        self.tags: list[str] = []
        self.feed(Path(file).read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [
            str(given[name]) for name in ("src", "href", "srcset", "action") if name in given
        ]
        if tag == "img":
            self.images.append(given)
        if tag in ("p", "li", "title", "span"):
            self.open.append(given.get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "li", "title", "span"):
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.said:
            self.said[self.open[-1]].append(data)


def test_the_page_is_self_contained(run: Path, capsys: pytest.CaptureFixture[str]):
    name = "a <b> & 'c' \u017e.png"
    try:
        noise(0, 900, 600).save(name)
    except OSError:
        pytest.skip("this file system takes no such name")
    noise(1).save("two.png")
    assert (
        call(
            name,
            "two.png",
            "--run",
            run,
            "--n-best",
            2,
            "--html",
            "new/folder/my page.html",
            "--json",
        )
        == 0
    )
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert os.listdir("new/folder") == ["my page.html"]
    read = Reader("new/folder/my page.html")
    assert read.said["title"] == ["my page"]
    assert all(link.startswith("data:") for link in read.links)
    source = Path("new/folder/my page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", source))
    assert "script" not in read.tags
    assert "b" not in read.tags, "names and words are escaped"
    assert [image["alt"] for image in read.images] == [
        "unsure: " * each["unsure"] + each["caption"] for each in printed
    ]
    shown = ["unsure: " * each["unsure"] + each["caption"] for each in printed]
    assert read.said["caption"] == shown
    assert [each.strip() for each in read.said["file"]] == [name, "two.png"]
    others = [each["captions"][1] for each in printed]
    assert [each.strip() for each in read.said["li"]] == [
        "unsure: " * (each["confidence"] < 0.5) + each["text"] for each in others
    ]
    for image, size in zip(read.images, ((400, 267), (24, 20)), strict=True):
        content = base64.b64decode(str(image["src"]).removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("JPEG", size)


def test_a_card_escapes_what_is_said():
    html = page.card(
        noise(), 'x" onload="y', [('<script>"quoted" & kůň', "1 %"), ("<i>other", "0.5 %")]
    )
    assert "<script>" not in html
    assert "<i>" not in html
    assert 'alt="&lt;script&gt;&quot;quoted&quot; &amp; kůň"' in html
    assert "x&quot; onload=&quot;y" in html
