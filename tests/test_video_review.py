"""The page to review labels: opened, sought, corrected and saved in a browser, then trained on."""

import json
import time
from pathlib import Path

import pytest
import torch
from browser import PROGRAM, browser
from labeller import CLASSES, call, rows, save_run, write
from videos import write_h264

from datasets.videos import labelled
from video.labels.outputs import Labelled
from video.pictures import review

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def data_of(page: Path):
    text = page.read_text(encoding="utf-8")
    start = text.index("const data = ") + len("const data = ")
    return json.loads(text[start : text.index(";\n", start)])


def labelled_film(multi: bool) -> Labelled:
    """Twelve frames at ten a second: a then b, or both of them for a while."""
    seconds = [n / 10 for n in range(12)]
    p = torch.full((12, 2), 0.1)
    p[:6, 0] = 0.9
    p[6:, 1] = 0.9
    labels = p.argmax(1)
    if multi:
        labels = torch.zeros(12, 2, dtype=torch.int64)
        labels[:8, 0] = 1
        labels[4:, 1] = 1
    return Labelled("film.mp4", ("a", "b </script>"), seconds, labels, p.log(), "rest")


def test_the_page_holds_what_was_found_and_nothing_ends_its_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = write("film.mp4", 12)
    played = review.write(tmp_path / "page.html", labelled_film(multi=False), str(film))
    assert played == tmp_path / "page.film.webm", "browsers do not play MPEG-4 part 2"
    data = data_of(tmp_path / "page.html")
    assert data["classes"] == ["a", "b </script>"]
    assert [(bout["start"], bout["end"]) for bout in data["bouts"]] == [(0, 0.6), (0.6, 1.2)]
    assert data["levels"][0] == [90] * 6 + [10] * 6
    assert data["film"] == "page.film.webm"
    assert (tmp_path / "page.html").read_text().count("</script>") == 1


def test_a_film_that_browsers_play_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = [torch.full((32, 32, 3), 20 * n, dtype=torch.uint8).numpy() for n in range(12)]
    film = write_h264(tmp_path / "film.mp4", pictures, [n / 10 for n in range(12)])
    (tmp_path / "pages").mkdir()
    assert review.write(tmp_path / "pages" / "page.html", labelled_film(False), str(film)) == film
    assert data_of(tmp_path / "pages" / "page.html")["film"] == "../film.mp4"
    assert not list(tmp_path.rglob("*.webm"))


@needs_browser
@pytest.mark.parametrize("multi", [False, True])
def test_keys_and_clicks_correct_what_the_table_then_says(tmp_path, monkeypatch, multi):
    monkeypatch.chdir(tmp_path)
    film = write("film.mp4", 12)
    review.write(tmp_path / "page.html", labelled_film(multi), str(film))
    with browser() as page:
        page.download_to(tmp_path)
        page.open(tmp_path / "page.html")
        page.until("film.readyState >= 2 && film.duration > 1")
        page.press("ArrowDown")
        assert page.run("[chosen, bouts[chosen].label]") == [0, "a"]
        for _ in range(3):
            page.press("ArrowRight")
        assert page.run("frameAt(now)") == 3
        page.until("!film.seeking && Math.abs(film.currentTime - 0.301) < 0.01")
        page.press("]")  # ends with this frame
        assert page.run("bouts[0].end") == pytest.approx(0.4)
        page.press("u")
        assert page.run("bouts[0].end") == pytest.approx(0.8 if multi else 0.6)
        page.press("]")
        page.press("ArrowDown")
        page.press("r")
        assert page.run("bouts.filter(bout => bout.checked).length") == 2
        box = page.run("[canvas.getBoundingClientRect().left, canvas.getBoundingClientRect().top]")
        lane = 1 if multi else 0
        x = "LEFT + (canvas.clientWidth - LEFT - 10) * 1.0 / data.end"
        page.click(box[0] + page.run(x), box[1] + 34 * lane + 17)
        assert page.run("bouts[chosen].label") == "b </script>"
        assert page.run("frameAt(now)") in (9, 10)
        page.screenshot(tmp_path / "page.png")
        assert page.errors == []
        page.run("save()")
        saved = tmp_path / "film.labels.csv"
        end = time.monotonic() + 20
        while not saved.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    start = 0.4
    expected = [("film.mp4", 0.0, 0.4, "a"), ("film.mp4", start, 1.2, "b </script>")]
    found = [
        (row["clip"], float(row["start_seconds"]), float(row["end_seconds"]), row["label"])
        for row in rows(saved)
    ]
    assert found == expected
    table = labelled.read_labels(saved).everything()
    assert (table.test[0].source, table.multi) == (film.absolute(), False)


@needs_browser
def test_a_bout_that_was_not_checked_is_not_saved_as_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = write("film.mp4", 12)
    review.write(tmp_path / "page.html", labelled_film(multi=True), str(film))
    with browser() as page:
        page.open(tmp_path / "page.html")
        page.run("document.getElementById('only').checked = true; choose(0); markRight()")
        saved = page.run("table()")
    (tmp_path / "film.labels.csv").write_text(saved)
    parts = labelled.read_labels(tmp_path / "film.labels.csv", multi=True).everything()
    (clip,) = parts.clips
    found = clip.labels([n / 10 for n in range(12)])
    assert parts.classes == ("a",)
    assert found[:, 0].tolist() == [1] * 4 + [-1] * 8, "b was found from frame 4 on"


@needs_browser
def test_what_was_corrected_is_trained_on(run: Path, tmp_path: Path):
    for name in "abcd":
        write(f"{name}.mp4", 40)
    assert call("a.mp4", "--run", run, "--review", "page.html") == 0
    with browser() as page:
        page.download_to(tmp_path)
        page.open(tmp_path / "page.html")
        page.run("document.getElementById('only').checked = true; choose(0); markRight(); save()")
        end = time.monotonic() + 20
        while not (tmp_path / "a.labels.csv").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    found = rows("a.labels.csv")
    assert {row["label"] for row in found} <= {*CLASSES, "unlabelled"}
    assert len(found) >= 2, "the rest is not scored"
    lines = [f"{name}.mp4,0.0,2.0,{CLASSES[0]}\n{name}.mp4,2.0,4.0,{CLASSES[1]}" for name in "abcd"]
    Path("labels.csv").write_text("\n".join(["clip,start,end,label", *lines]), encoding="utf-8")
    flags = ["--encoder", "micro", "--frame-size", "16", "--steps", "2", "--quiet", "--batch", "2"]
    command = ["--data", "labels.csv", "--add", "a.labels.csv", *flags, "--runs", "runs"]
    assert call(*command, command="video train") == 0
    assert Path("runs/video/sprites/best.pt").exists()


@needs_browser
def test_on_a_telephone_nothing_lies_beside_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = write("film.mp4", 12)
    review.write(tmp_path / "page.html", labelled_film(multi=True), str(film))
    with browser() as page:
        page.resize(390, 844)
        page.open(tmp_path / "page.html")
        page.until("film.readyState >= 2")
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("[inkOn('#ffe040'), inkOn('#882255')]") == ["#101018", "#f6f6fa"]
        assert page.errors == []
