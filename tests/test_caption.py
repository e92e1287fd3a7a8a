"""The command that captions pictures, on real files from end to end."""

import base64
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning import caption, page, trained
from captioning.config import Config
from captioning.describe import describe
from captioning.model import Captioner
from captioning.trained import Trained, open_model
from core import checkpoint, cli
from core.config import to_dict
from datasets.text import Vocabulary
from vision.opening import encoder_of

CONFIG = Config(min_count=1, longest=6, embedding=16, hidden=16, visual=16, scores=8, beam=2)
SENTENCES = ["a red circle is left of a blue square .", "žluťoučký kůň <b>skáče</b> & pes běží 🐶 ."]


def make_trained(config: Config) -> Trained:
    """An untrained captioner that says something else about most pictures: large weights on what tells them apart."""
    torch.manual_seed(1)
    encoder, vocabulary = encoder_of(config), Vocabulary.train(SENTENCES, punctuation=True)
    made = Trained(config, encoder, Captioner(config, encoder.channels, len(vocabulary)).eval(), vocabulary)
    visual = made.decoder.visual
    seen = made.look(torch.stack([encoder.preprocessing(noise(seed)) for seed in range(20)])).flatten(0, 1)
    with torch.no_grad():
        for weight in made.decoder.parameters():
            weight.normal_(std=3 * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0)
        visual.weight /= seen.std(0) + 0.1
        visual.bias.copy_(-visual.weight @ seen.mean(0))
        made.decoder.words.weight.normal_(std=0.3)
        made.decoder.output.weight *= 3
    return made


def save_run(folder: Path, config: Config = CONFIG) -> Path:
    folder.mkdir()
    made = make_trained(config)
    parts = (("decoder", made.decoder), ("encoder", made.encoder))
    weights = {f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()}
    preprocessing = to_dict(made.encoder.preprocessing)
    extras = {"vocabulary": made.vocabulary.to_json(), "preprocessing": preprocessing, "fingerprint": ""}
    payload = {"config": to_dict(config), "step": 1, "seconds": 1.0, "metrics": {}, "weights": weights}
    checkpoint.save(folder / "best.pt", "captioning", payload | {"extras": extras})
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def call(*arguments: object) -> int:
    """The exit code of `captioning caption ARGUMENTS`."""
    try:
        return cli.guard("captioning caption", caption.main, [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def noise(seed: int = 0, width: int = 24, height: int = 20) -> Image.Image:
    """Blots of colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def expected(run: Path, file: Path | str, beam: int, best: int = 1):
    made, _ = open_model(run, "cpu")
    with Image.open(file) as picture:
        return describe(made, made.look(made.encoder.preprocessing(picture.convert("RGB"))[None]), beam, best)[0]


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_a_line_for_each_picture(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("inside/deeper").mkdir(parents=True)
    files = ["one.png", "inside/deeper/three.png", "inside/two.png"]
    for seed, file in enumerate(files):
        noise(seed).save(file)
    assert call("one.png", "inside", "--run", run) == 0
    out, err = capsys.readouterr()
    assert err == ""
    sentences = [expected(run, file, 3)[0].text for file in files]
    assert out.splitlines() == [f"{Path(file)}: {text}" for file, text in zip(files, sentences, strict=True)]
    assert len(set(sentences)) == 3, "the captioner sees the pictures"


def test_n_best(run: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("one.png")
    assert call("one.png", "--run", run, "--n-best", 3, "--beam", 2) == 0
    best, *others = capsys.readouterr().out.splitlines()
    captions = expected(run, "one.png", 2, 3)
    assert len(captions) == 3
    assert best.startswith(f"one.png: {captions[0].text} (")
    for line, each in zip(others, captions[1:], strict=True):
        assert line.startswith(f"    {each.text} (")
        percent = float(line.rpartition("(")[2].removesuffix(" %)"))
        assert percent == pytest.approx(100 * math.exp(each.log_probability / (len(each.words) + 1)), abs=0.06)


def test_json_lines(run: Path, capsys: pytest.CaptureFixture[str]):
    for seed in (0, 1):
        noise(seed).save(f"{seed}.png")
    assert call("1.png", "0.png", "--run", run, "--json", "--n-best", 2) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["file"] for each in told] == ["1.png", "0.png"]
    for each in told:
        assert each.keys() == {"file", "caption", "captions"}
        captions = expected(run, each["file"], 3, 2)
        assert each["caption"] == each["captions"][0]["text"]
        assert [c["text"] for c in each["captions"]] == [c.text for c in captions]
        probabilities = [c["log_probability"] for c in each["captions"]]
        assert probabilities == pytest.approx([c.log_probability for c in captions], abs=1e-4)


def test_a_list_on_standard_input(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    Path("in side").mkdir()
    for file in ("one.png", "in side/two.png", "three.png"):
        noise().save(file)
    feed(monkeypatch, b"one.png\n\n  \r\nin side\r\nnowhere.png\nthree.png")
    assert call("-", "--run", run) == 1
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "one.png",
        str(Path("in side", "two.png")),
        "three.png",
    ]
    assert err == "captioning caption: nowhere.png: no such file\n"
    feed(monkeypatch, b"\n")
    assert call("-", "--run", run) == 2
    assert "standard input" in capsys.readouterr().err


def test_one_broken_photo_of_a_hundred(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("holiday").mkdir()
    for n in range(100):
        noise(n, 8, 8).save(f"holiday/{n:02}.png")
    broken = Path("holiday/41.png")
    broken.write_bytes(broken.read_bytes()[:60])
    assert call("holiday", "--run", run, "--beam", 1, "--html", "out.html") == 1
    out, err = capsys.readouterr()
    assert [int(Path(line.partition(":")[0]).stem) for line in out.splitlines()] == [*range(41), *range(42, 100)]
    assert err.count("\n") == 1
    assert err.startswith(f"captioning caption: {broken}: ")
    assert Path("out.html").read_text().count("<figure>") == 99


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    noise(0, 60, 60).save(path)
    path.write_bytes(path.read_bytes()[:400])


def text(path: Path) -> None:
    path.write_text("a picture is worth a thousand words")


def missing(path: Path) -> None:
    pass


def empty_folder(path: Path) -> None:
    path.mkdir()


def unreadable(path: Path) -> None:
    noise().save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


@pytest.mark.parametrize("spoil", [empty, truncated, text, missing, empty_folder, unreadable])
def test_bad_input_is_one_line(spoil: Callable[[Path], None], run: Path, capsys: pytest.CaptureFixture[str]):
    bad = Path("odd one.jpg")
    spoil(bad)
    assert call(bad, "--run", run, "--html", "out.html", "--overlay", "drawn") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("captioning caption: odd one.jpg: ")
    assert not Path("out.html").exists()
    assert not list(Path("drawn").iterdir())
    noise().save("good.png")
    assert call(bad, "good.png", "--run", run) == 1
    assert capsys.readouterr().out.startswith("good.png: ")


def test_pictures_of_every_kind(run: Path, capsys: pytest.CaptureFixture[str]):
    colours, grey = noise(), noise().convert("L")
    Image.fromarray(np.array(grey).astype(np.uint16) * 257).save("deep.png")
    grey.save("grey.png")
    colours.convert("CMYK").save("cmyk.jpg")
    transparent = colours.convert("RGBA")
    transparent.putalpha(90)
    transparent.save("transparent.png")
    colours.save("animated.gif", save_all=True, append_images=[noise(1)])
    noise(0, 1, 1).save("dot.png")
    noise(0, 1, 700).save("hair.png")
    noise(0, 2000, 1500).save("large.jpg")
    names = [
        "deep.png",
        "grey.png",
        "cmyk.jpg",
        "transparent.png",
        "animated.gif",
        "dot.png",
        "hair.png",
        "large.jpg",
    ]
    assert call(*names, "--run", run, "--html", "out.html", "--overlay", "drawn") == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == names
    assert err == ""
    sentences = [line.partition(": ")[2] for line in out.splitlines()]
    assert sentences[0] == sentences[1], "16 bits are scaled, not clipped"
    assert len(list(Path("drawn").iterdir())) == len(names)


def test_batches_are_told_as_they_are_done(run: Path):
    made, _ = open_model(run, "cpu")
    read = 0

    def pictures() -> Iterable[caption.Viewed]:
        nonlocal read
        for seed in range(40):
            read += 1
            noise(seed).save(f"{seed}.png")
            yield from caption.view(made, [Path(f"{seed}.png")], lambda error: pytest.fail(str(error)))

    for n, each in enumerate(caption.caption(made, pictures(), 2, 1)):
        assert each.viewed.file.stem == str(n)
        assert read <= n // caption.BATCH * caption.BATCH + caption.BATCH, "no more than a batch is in memory"
        assert each.captions[0].text == expected(run, f"{n}.png", 2)[0].text


def test_overlays(run: Path, capsys: pytest.CaptureFixture[str]):
    for folder in ("a", "b"):
        Path(folder).mkdir()
    noise(0, 300, 200).save("a/x.png")
    noise(1, 200, 300).save("b/X.jpg")
    noise(2, 300, 200).save("x.caption.png")
    mine = Path("x.caption.png").read_bytes()
    assert call("a", "b", "x.caption.png", "--run", run, "--overlay", ".", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["overlay"] for each in told] == ["x-2.caption.png", "X-3.caption.png", "x.caption.caption.png"]
    assert Path("x.caption.png").read_bytes() == mine
    for each, height in zip(told, (427, 640, 427), strict=True):
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
        self.links += [str(given[name]) for name in ("src", "href", "srcset", "action") if name in given]
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
    assert call(name, "two.png", "--run", run, "--n-best", 2, "--html", "new/folder/my page.html", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert os.listdir("new/folder") == ["my page.html"]
    read = Reader("new/folder/my page.html")
    assert read.said["title"] == ["my page"]
    assert all(link.startswith("data:") for link in read.links)
    source = Path("new/folder/my page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", source))
    assert "script" not in read.tags
    assert "b" not in read.tags, "names and words are escaped"
    assert [image["alt"] for image in read.images] == [each["caption"] for each in told]
    assert read.said["caption"] == [each["caption"] for each in told]
    assert [each.strip() for each in read.said["file"]] == [name, "two.png"]
    assert [each.strip() for each in read.said["li"]] == [each["captions"][1]["text"] for each in told]
    for image, size in zip(read.images, ((400, 267), (24, 20)), strict=True):
        content = base64.b64decode(str(image["src"]).removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("JPEG", size)


def test_a_card_escapes_what_is_said():
    html = page.card(noise(), 'x" onload="y', [('<script>"quoted" & kůň', "1 %"), ("<i>other", "0.5 %")])
    assert "<script>" not in html
    assert "<i>" not in html
    assert 'alt="&lt;script&gt;&quot;quoted&quot; &amp; kůň"' in html
    assert "x&quot; onload=&quot;y" in html


def test_bad_arguments(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("photo.jpg")
    mine = Path("photo.jpg").read_bytes()
    Path("taken").write_text("")
    for arguments, word in (
        (("--run", run), "no picture"),
        (("photo.jpg", "--run", run, "--beam", 0), "--beam"),
        (("photo.jpg", "--run", run, "--n-best", 0), "--n-best"),
        (("photo.jpg", "--run", run, "--overlay", "taken"), "taken"),
        (("photo.jpg", "--run", run, "--html", "taken/x.html"), "taken"),
        (("photo.jpg", "--run", run, "--html", "photo.jpg"), "--html"),
        (("photo.jpg", "--run", tmp_path / "none"), "none"),
        (("photo.jpg", "--run", run, "--threads", 0), "threads"),
    ):
        assert call(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert word in err
    assert Path("photo.jpg").read_bytes() == mine


def test_the_default_model(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    noise().save("photo.jpg")
    monkeypatch.setattr(caption, "DEFAULT", run / "best.pt")
    assert call("photo.jpg") == 0
    assert capsys.readouterr().out.startswith("photo.jpg: ")
    monkeypatch.setattr(caption, "DEFAULT", run / "none.pt")
    assert call("photo.jpg") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--run" in err
    assert trained.DEFAULT.parent == Path(caption.__file__).parent


def test_as_a_process_with_names_that_are_no_text(run: Path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        noise().save(name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    command = [sys.executable, "-m", "captioning", "caption", "-", "--run", str(run), "--json", "--html", "out.html"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    given = b"nowhere.png\ncaf\xe9.png\n"
    done = subprocess.run(command, env=environment, input=given, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, b"captioning caption: nowhere.png: no such file\n")
    assert json.loads(done.stdout)["file"] == name
    assert "caf?.png" in Path("out.html").read_text(encoding="utf-8")
