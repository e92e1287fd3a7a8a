"""The command that captions pictures, on real files from end to end."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from describer import CONFIDENCE, call, expected, noise, save_run
from PIL import Image

from captioning import caption, trained
from captioning.generation.search import Sentence, generate
from captioning.trained import open_model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def said(sentence: Sentence) -> str:
    """The sentence as it is printed, with its confidence."""
    unsure = "unsure: " if sentence.confidence < 0.5 else ""
    return f"{unsure}{sentence.text} ({100 * sentence.confidence:.0f} %)"


def test_a_line_for_each_picture(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("inside/deeper").mkdir(parents=True)
    files = ["one.png", "inside/deeper/three.png", "inside/two.png"]
    for seed, file in enumerate(files):
        noise(seed).save(file)
    assert call("one.png", "inside", "--run", run) == 0
    out, err = capsys.readouterr()
    assert err == ""
    sentences = [expected(run, file, 5)[0] for file in files]
    assert out.splitlines() == [
        f"{Path(file)}: {said(one)}" for file, one in zip(files, sentences, strict=True)
    ]
    assert len({one.text for one in sentences}) == 3, "the captioner sees the pictures"


def test_n_best(run: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("one.png")
    assert call("one.png", "--run", run, "--n-best", 3, "--beam", 2) == 0
    best, *others = capsys.readouterr().out.splitlines()
    captions = expected(run, "one.png", 2, 3)
    assert len(captions) == 3
    assert best == f"one.png: {said(captions[0])}"
    for line, each in zip(others, captions[1:], strict=True):
        assert line == f"    {each.text} ({100 * each.confidence:.0f} %)"
        scale, offset, _ = CONFIDENCE
        assert scale is not None
        logit = scale * each.log_probability / (len(each.words) + 1) + offset
        assert each.confidence == pytest.approx(1 / (1 + math.exp(-logit)))


def test_json_lines(run: Path, capsys: pytest.CaptureFixture[str]):
    for seed in (0, 1):
        noise(seed).save(f"{seed}.png")
    assert call("1.png", "0.png", "--run", run, "--json", "--n-best", 2) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["file"] for each in printed] == ["1.png", "0.png"]
    for each in printed:
        assert each.keys() == {"file", "caption", "confidence", "unsure", "captions"}
        assert each["confidence"] == each["captions"][0]["confidence"]
        assert each["unsure"] == (each["confidence"] < 0.5)
        captions = expected(run, each["file"], 5, 2)
        assert each["caption"] == each["captions"][0]["text"]
        assert [c["text"] for c in each["captions"]] == [c.text for c in captions]
        confidences = [c["confidence"] for c in each["captions"]]
        assert confidences == pytest.approx([c.confidence for c in captions], abs=1e-3)
        probabilities = [c["log_probability"] for c in each["captions"]]
        assert probabilities == pytest.approx([c.log_probability for c in captions], abs=1e-4)


def test_captions_are_printed_batch_by_batch(run: Path):
    made, _ = open_model(run, "cpu")
    read = 0

    def pictures() -> Iterable[caption.Encoded]:
        nonlocal read
        for seed in range(40):
            read += 1
            noise(seed).save(f"{seed}.png")
            opened = caption.open_all(
                [Path(f"{seed}.png")],
                made.encoder.preprocessing,
                lambda error: pytest.fail(str(error)),
            )
            yield from caption.encode_all(made, opened)

    for n, each in enumerate(caption.caption(made, pictures(), 2, 1)):
        assert each.file.stem == str(n)
        assert read <= n // caption.BATCH * caption.BATCH + caption.BATCH, (
            "no more than a batch is in memory"
        )
        assert each.sentences[0].text == expected(run, f"{n}.png", 2)[0].text


def test_pictures_of_one_colour_are_reported(run: Path, capsys: pytest.CaptureFixture[str]):
    for colour in ("black", "white", "#808182"):
        Image.new("RGB", (40, 30), colour).save("flat.jpg")
        assert call("flat.jpg", "--run", run, "--overlay", "drawn", "--html", "a.html") == 0
        assert capsys.readouterr().out == "flat.jpg: a picture of one colour (100 %)\n"
    gradient = Image.linear_gradient("L")
    gradient.save("grey.png")
    assert call("grey.png", "--run", run) == 0
    assert "one colour" not in capsys.readouterr().out


def test_a_text_beside_each_picture(run: Path, capsys: pytest.CaptureFixture[str]):
    Path("in").mkdir()
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        noise(seed).save(f"in/{name}")
    Path("in/b.txt").write_text("mine")
    assert call("in", "--run", run, "--txt") == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == ["in/a.png", "in/c.png"]
    assert err.startswith("captioning caption: skipped 1 of 3 pictures that have a .txt file")
    assert Path("in/b.txt").read_text() == "mine"
    for name in ("a", "c"):
        text = expected(run, f"in/{name}.png", 5)[0].text
        assert Path(f"in/{name}.txt").read_text(encoding="utf-8") == f"{text}\n"
    assert call("in", "--run", run, "--txt", "--overwrite") == 0
    assert Path("in/b.txt").read_text(encoding="utf-8") != "mine"
    noise(5).save("in/a.jpg")
    Path("in/a.txt").unlink()
    capsys.readouterr()
    assert call("in", "--run", run, "--txt") == 1, "two pictures cannot have one text"
    assert "in/a.png: in/a.txt is that of in/a.jpg" in capsys.readouterr().err


def test_a_page_of_the_users_is_not_replaced(run: Path, capsys: pytest.CaptureFixture[str]):
    noise().save("a.png")
    Path("index.html").write_text("<h1>my home page</h1>")
    assert call("a.png", "--run", run, "--html", "index.html") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "index.html was not written by this command; --overwrite replaces it" in err
    assert Path("index.html").read_text() == "<h1>my home page</h1>"
    for flags in (["--overwrite"], []):  # the second time it is a page of ours
        assert call("a.png", "--run", run, "--html", "index.html", *flags) == 0
        assert "<figure>" in Path("index.html").read_text(encoding="utf-8")


def test_the_default_model(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
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


def test_substitutes_of_several_words_are_drawn_with_the_words_written_for_them(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    def longer(*arguments):
        written = generate(*arguments)
        return [[one._replace(words=(*one.words, "of", "tea")) for one in each] for each in written]

    monkeypatch.setattr(caption, "generate", longer)
    noise().save("one.png")
    assert call("one.png", "--run", run, "--overlay", "drawn") == 0
    assert Path("drawn/one.caption.png").exists()
