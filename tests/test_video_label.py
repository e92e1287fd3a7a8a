"""The commands that label videos and make one, from end to end; files and streams are labelled alike."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import srt
import torch
from PIL import Image
from pympi.Elan import Eaf
from torch import Tensor
from videos import true_seconds, write_h264

from core import checkpoint, cli
from core.cells import State
from core.config import to_dict
from datasets import sprites
from datasets.clips import Clip, OneLabel
from video import label, sample, trained
from video.config import Config
from video.data import read
from video.evaluate import decide
from video.labelling import follow, label_recording, look
from video.outputs import name_outputs
from video.reader import Frame, open_source
from video.segments import to_segments
from video.trained import Trained, build, encoder_of, open_model
from vision.encoder import make_encoder

CONFIG = Config(side=32, frame=16, hidden=16)
CLASSES = ("klid", "běh & <skok>", "pád")
ROOT = Path(__file__).parent.parent


def make_trained(config: Config = CONFIG) -> Trained:
    """An untrained net that changes its mind often: its weights are large, and what it sees is centred."""
    torch.manual_seed(3)
    made = build(config, encoder_of(config), CLASSES)
    made.labeller.eval()
    with torch.no_grad():
        for name, weight in made.labeller.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.5 * weight.shape[1] ** -0.5)
            elif name.startswith("V"):
                weight.zero_()
        seen = torch.cat([look(made, frame) for frame in drawn()])
        made.labeller.frame.weight /= seen.std(0) + 0.1
        made.labeller.frame.bias.copy_(-made.labeller.frame.weight @ seen.mean(0))
    return made


def save_run(folder: Path, config: Config = CONFIG) -> Path:
    folder.mkdir()
    made = make_trained(config)
    parts = (("labeller", made.labeller), ("encoder", made.encoder))
    weights = {f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()}
    extras = {"classes": list(CLASSES), "preprocessing": to_dict(made.encoder.preprocessing), "fingerprint": ""}
    payload = {"config": to_dict(config), "step": 1, "seconds": 1.0, "metrics": {}, "weights": weights}
    checkpoint.save(folder / "best.pt", "video", payload | {"extras": extras})
    return folder


def as_tuple(state: State) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)  # type: ignore[return-value]


def drawn(number: int = 0) -> list[Frame]:
    """The frames of a sprite."""
    pixels = sprites.draw(0, number)[:, 0].numpy()[..., None].repeat(3, -1)
    return [Frame(n, n / sprites.RATE, each) for n, each in enumerate(pixels)]


def write(path: Path | str, frames: int | None = None, code: str = "mp4v", rate: float = sprites.RATE) -> Path:
    """A video of a sprite, all of it by default."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 64))
    for frame in islice(cycle(drawn()), len(drawn()) if frames is None else frames):
        writer.write(frame.pixels.repeat(2, 0).repeat(2, 1))
    writer.release()
    return Path(path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_run(tmp_path / "run")


def call(*arguments: object, command=label) -> int:
    """The exit code of `video label ARGUMENTS`."""
    try:
        return cli.guard("video label", command.main, [str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def rows(path: Path | str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def labels_of(path: Path | str) -> list[str]:
    return [row["label"] for row in rows(path)]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_state_is_carried_bit_for_bit(cell: str, layers: int):
    core = make_trained(replace(CONFIG, core=cell, layers=layers)).labeller.core
    assert core is not None
    core.engine = "reference"
    a = torch.randn(50, 1, CONFIG.frame)
    with torch.no_grad():
        whole, final = core(a)
        for window in (1, 7, 32):
            state, parts = None, []
            for part in a.split(window):
                outputs, state = core(part, state)
                parts.append(outputs)
            assert torch.equal(torch.cat(parts), whole)
            assert all(torch.equal(*parts) for parts in zip(as_tuple(state), as_tuple(final), strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "none"])
def test_a_stream_is_labelled_as_the_recording_and_as_the_whole_sequence(cell: str):
    """The first two bit for bit; a whole sequence in one product is rounded otherwise."""
    made, frames = make_trained(replace(CONFIG, core=cell)), drawn()
    streamed = torch.stack([log_p for _, log_p in follow(made, iter(frames))])
    numbers, seconds, recorded = label_recording(made, iter(frames)).read()
    assert torch.equal(streamed, recorded)
    assert (numbers, seconds) == ([frame.index for frame in frames], [frame.seconds for frame in frames])
    pixels = torch.stack([made.encoder.preprocessing(Image.fromarray(frame.pixels)) for frame in frames])
    whole, _ = made.label(made.features(pixels))
    assert torch.equal(streamed.argmax(1), whole.argmax(1))
    assert torch.allclose(streamed, whole, atol=1e-3)
    assert len(to_segments(whole.argmax(1))) > 3, "the labels change"


def test_a_stream_is_labelled_before_its_next_frame_comes():
    frames, given = drawn(), []
    stream = (given.append(frame.index) or frame for frame in frames)
    for frame, _ in follow(make_trained(), stream):
        assert given[-1] == frame.index


def test_two_directions_see_what_comes():
    made, frames = make_trained(replace(CONFIG, bidirectional=True)), drawn()
    _, _, log_p = label_recording(made, frames).read()
    whole, _ = made.label(torch.cat([look(made, frame) for frame in frames]))
    assert torch.equal(log_p, whole)
    _, _, part = label_recording(made, frames[:20]).read()
    assert not torch.allclose(part[-1], log_p[19], atol=1e-3)


def test_a_frozen_encoder_is_used_as_in_training(tmp_path: Path):
    config = Config(encoder="lite0", frame=4, hidden=4, data=str(tmp_path), cache=str(tmp_path / "cache"))
    made = build(config, make_encoder("lite0"), CLASSES)
    clip = Clip("a", write(tmp_path / "a.avi", 2, "MJPG"), OneLabel(0), "a")
    (seen,) = read(config, made.encoder, [clip])
    looked = torch.cat([look(made, frame) for frame in open_source(tmp_path / "a.avi")])
    assert looked.dtype == seen.frames.dtype
    assert torch.allclose(looked.float(), seen.frames.float(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_everything_that_can_be_written(tmp_path: Path, run: Path, capsys, bidirectional: bool):
    if bidirectional:
        run = save_run(tmp_path / "both", replace(CONFIG, bidirectional=True))
    film, (made, _) = write("film.mp4", 40), open_model(run, "cpu")
    overlay = "drawn/o.mp4" if bidirectional else "drawn/o.webm"
    kinds = ("--csv", "--segments", "--srt", "--vtt", "--eaf", "--out", "new/folder")
    drawings = ("--overlay", overlay, "--timeline", "drawn/t.png")
    assert call(film, "--run", run, *kinds, *drawings) == 0
    out, err = capsys.readouterr()
    files = [f"new/folder/film.{end}" for end in ("frames.csv", "segments.csv", "srt", "vtt", "eaf")]
    files += ["drawn/t.png", overlay]
    summary, written = out.splitlines()
    assert (written, err) == (f"    written: {', '.join(files)}", "")
    assert sorted(os.listdir("new/folder") + os.listdir("drawn")) == sorted(Path(file).name for file in files)

    frames = list(open_source(film))
    _, seconds, log_p = label_recording(made, frames).read()
    labels = log_p.argmax(1)
    found = rows(files[0])
    assert [row["label"] for row in found] == [CLASSES[n] for n in labels]
    assert [int(row["frame"]) for row in found] == list(range(len(frames)))
    assert [float(row["seconds"]) for row in found] == seconds
    assert [float(row["probability"]) for row in found] == pytest.approx(log_p.exp().amax(1).tolist(), abs=1e-4)
    segments = to_segments(labels)
    assert len(segments) > 3
    assert [float(row["start"]) for row in rows(files[1])] == [seconds[segment.start] for segment in segments]
    assert labels_of(files[1]) == [CLASSES[segment.label] for segment in segments]
    for file in files[2:4]:
        assert Path(file).read_text(encoding="utf-8").count(" --> ") == len(segments)
    root = ElementTree.parse(files[4]).getroot()
    assert [each.text for each in root.iter("ANNOTATION_VALUE")] == labels_of(files[1])
    assert [each.get("RELATIVE_MEDIA_URL") for each in root.iter("MEDIA_DESCRIPTOR")] == ["./film.mp4"]
    with Image.open(files[5]) as picture:
        assert picture.format == "PNG"
    overlaid = list(open_source(files[6]))
    assert len(overlaid) == len(frames)
    assert overlaid[0].pixels.shape[0] > overlaid[0].pixels.shape[1], "a square with a band and a strip below"

    assert summary.startswith(f"film.mp4: {len(frames)} frames, {len(frames) / sprites.RATE:.1f} s: ")
    for part in summary.partition(" s: ")[2].split(", "):
        name, share, _ = part.rsplit(" ", 2)
        true = 100 * (labels == CLASSES.index(name)).double().mean().item()
        assert int(share) == pytest.approx(true, abs=0.51)


def test_readers_of_others_find_the_segments_at_the_true_times_of_variable_rate(run: Path):
    gaps = np.random.default_rng(0).integers(4, 120, len(drawn()))
    seconds = ((np.cumsum(gaps) - gaps[0]) / 1000).tolist()
    pictures = [frame.pixels.repeat(2, 0).repeat(2, 1) for frame in drawn()]
    film = write_h264(Path("film.mp4"), pictures, seconds)
    true = true_seconds(film)
    assert true == pytest.approx(seconds, abs=1e-6)
    assert call(film, "--run", run, "--csv", "--srt", "--eaf") == 0
    segments = to_segments(torch.tensor([CLASSES.index(each) for each in labels_of("labels/film.frames.csv")]))
    starts, labels = [true[each.start] for each in segments], [CLASSES[each.label] for each in segments]
    assert len(segments) > 3
    subtitles = list(srt.parse(Path("labels/film.srt").read_text(encoding="utf-8"), ignore_errors=False))
    annotations = sorted(Eaf("labels/film.eaf").get_annotation_data_for_tier("labels"))
    for found in (
        [(each.start.total_seconds(), each.end.total_seconds(), each.content) for each in subtitles],
        [(start / 1000, end / 1000, value) for start, end, value in annotations],
    ):
        begins, ends, values = zip(*found, strict=True)
        assert list(values) == labels
        assert begins == pytest.approx(starts, abs=1e-3), "nearer than one frame: to the millisecond"
        assert ends[:-1] == begins[1:]


def test_without_files_the_segments_are_told(run: Path, capsys):
    (made, _), film = open_model(run, "cpu"), write("film.mp4")
    assert call(film, "--run", run) == 0
    _, seconds, log_p = label_recording(made, open_source(film)).read()
    _, *lines = capsys.readouterr().out.splitlines()
    segments = to_segments(log_p.argmax(1))
    assert lines == [f"{seconds[each.start]:8.1f} s  {CLASSES[each.label]}" for each in segments]
    assert not Path("labels").exists()


def test_smoothing(run: Path, capsys):
    (made, _), film = open_model(run, "cpu"), write("film.mp4")
    _, _, log_p = label_recording(made, open_source(film)).read()
    for flags, smoothed in (
        (("--shortest", 8), decide(log_p, 8)),
        (("--staying", 0.9), decide(log_p, 1, 0.9)),
    ):
        assert call(film, "--run", run, *flags, "--csv") == 0
        assert labels_of("labels/film.frames.csv") == [CLASSES[n] for n in smoothed]
        assert not torch.equal(smoothed, log_p.argmax(1))


def test_a_stride_is_that_of_the_training(tmp_path: Path, run: Path):
    strided = save_run(tmp_path / "strided", replace(CONFIG, stride=3))
    count = len(list(open_source(write("film.mp4"))))
    assert call("film.mp4", "--run", strided, "--csv", "--overlay", "o.mp4") == 0
    assert [int(row["frame"]) for row in rows("labels/film.frames.csv")] == list(range(0, count, 3))
    assert list(open_source("o.mp4"))[-1].seconds == pytest.approx(count / sprites.RATE, abs=0.3)


def test_a_live_source_is_labelled_as_it_comes(run: Path, capsys):
    film, (made, _) = write("film.mp4", 40, rate=40.0), open_model(run, "cpu")
    assert call(film, "--run", run, "--live", "--csv", "--overlay", "o.mp4") == 0
    out, err = capsys.readouterr()
    found = rows("labels/film.frames.csv")
    numbers = [int(row["frame"]) for row in found]
    frames = [frame for frame in open_source(film) if frame.index in numbers]
    log_p = torch.stack([log_p for _, log_p in follow(made, frames)])
    assert [row["label"] for row in found] == [CLASSES[n] for n in log_p.argmax(1)]
    probabilities = [round(p, 4) for p in log_p.exp().amax(1).tolist()]
    assert [float(row["probability"]) for row in found] == probabilities, "the same numbers exactly"
    *lines, summary, written = out.splitlines()
    starts = [segment.start for segment in to_segments(log_p.argmax(1))]
    assert lines == [f"{frames[n].seconds:8.1f} s  {found[n]['label']}" for n in starts]
    assert summary.startswith(f"film.mp4: {len(found)} frames, ")
    assert written == "    written: labels/film.frames.csv, o.mp4"
    assert list(open_source("o.mp4"))
    if len(found) < 40:
        assert f"skipped {40 - len(found)} of 40 frames" in err
    else:
        assert err == ""


def test_who_is_too_slow_skips_and_says_so(run: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def slow(*given):
        time.sleep(0.1)
        return look(*given)

    monkeypatch.setattr("video.labelling.look", slow)
    assert call(write("film.mp4", 30, rate=30.0), "--run", run, "--live", "--csv") == 0
    count = len(rows("labels/film.frames.csv"))
    assert 2 <= count < 20
    first, *_, last = capsys.readouterr().err.splitlines()
    assert last == f"video label: film.mp4: skipped {30 - count} of 30 frames to keep up"
    assert "skipped" in first


def test_ctrl_c_ends_a_live_source(run: Path, capsys):
    film = write("film.mp4", 3000)

    def interrupt():
        told = ""
        while told.count("\n") < 3:  # the label has changed twice, so some frames are done
            time.sleep(0.02)
            told += capsys.readouterr().out
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert call(film, "--run", run, "--live", "--srt", "--csv", "--overlay", "o.webm", "--timeline", "t.png") == 0
    count = len(rows("labels/film.frames.csv"))
    assert 1 < count < 2900
    summary, written = capsys.readouterr().out.splitlines()[-2:]
    assert summary.startswith(f"film.mp4: {count} frames, ")
    assert "o.webm" in written
    assert list(open_source("o.webm"))
    assert not list(Path().rglob("*.partial*"))


def test_what_looks_ahead_is_not_for_live_sources(tmp_path: Path, run: Path, capsys):
    both, film = save_run(tmp_path / "both", replace(CONFIG, bidirectional=True)), write("film.mp4")
    for arguments, reason in (
        (("--run", both), "a net of two directions must see the end first, and this is live"),
        (("--run", run, "--shortest", 5), "--shortest and --staying need the whole video, and this is live"),
        (("--run", run, "--staying", 0.9), "--shortest and --staying need the whole video, and this is live"),
    ):
        assert call(film, "--live", "--csv", *arguments) == 2
        assert capsys.readouterr() == ("", f"video label: film.mp4: {reason}\n")
    assert os.listdir("labels") == []


def test_a_source_that_cannot_be_labelled_does_not_stop_the_others(run: Path, capsys):
    write("good.mp4")
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video\n" * 99)
    write("none.mp4", 0)
    sources = ("gone.mp4", "empty.mp4", "good.mp4", "text.mp4", "none.mp4", "63")
    assert call(*sources, "--run", run, "--csv") == 1
    out, err = capsys.readouterr()
    assert out.startswith("good.mp4: ")
    assert os.listdir("labels") == ["good.frames.csv"]
    for line, word in zip(
        err.splitlines(), ("no such", "empty", "not a video", "none.mp4", "camera 63"), strict=True
    ):
        assert line.startswith("video label: ")
        assert word in line
    assert call("gone.mp4", "empty.mp4", "--run", run, "--csv") == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_of_a_truncated_file_what_there_is_is_labelled(run: Path, capsys):
    content = write("film.avi", 60, "MJPG").read_bytes()
    Path("cut.avi").write_bytes(content[: len(content) // 2])
    assert call("film.avi", "cut.avi", "--run", run, "--csv") == 0
    whole, part = labels_of("labels/film.frames.csv"), labels_of("labels/cut.frames.csv")
    assert 10 < len(part) < 50
    assert part[:-1] == whole[: len(part) - 1], "half of the last frame may be there"
    err = capsys.readouterr().err
    assert err.startswith(f"video label: cut.avi: read {len(part)} of about 60 frames: ")
    assert err.count("\n") == 1


def test_a_folder_of_frames(run: Path, capsys):
    Path("shots").mkdir()
    for frame in drawn()[:12]:
        Image.fromarray(frame.pixels).save(f"shots/{frame.index}.png")
    assert call("shots", "--run", run, "--csv", "--eaf") == 0
    assert len(rows("labels/shots.frames.csv")) == 12
    assert not list(ElementTree.parse("labels/shots.eaf").getroot().iter("MEDIA_DESCRIPTOR"))
    assert "pictures have no times" in capsys.readouterr().err


def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/film.mp4", "b/Film.avi", "film-2.mp4", "a.b/x.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert name_outputs(["a/film.mp4", "b/Film.avi", "film-2.mp4", "a/film.mp4", "a.b", "gone/film.mov"]) == {
        "a/film.mp4": "film",
        "b/Film.avi": "Film-2",
        "film-2.mp4": "film-2-2",
        "a.b": "a.b",
        "gone/film.mov": "film-3",
    }
    streams = ["0", "01", "rtsp://me:secret@cam.example:554/door?token=1", "http://x/", "rtsp://"]
    names = list(name_outputs(streams).values())
    assert names == ["camera-0", "camera-1", "cam.example-554-door", "x", "stream"]


def test_bad_arguments(run: Path, tmp_path: Path, capsys):
    film = write("film.mp4")
    mine = film.read_bytes()
    write("other.mp4", 2)
    Path("taken").write_text("")
    for arguments, word in (
        (("--run", run), "nothing to label"),
        ((film, "--run", tmp_path / "none"), "none"),
        ((film, "--run", run, "--shortest", 0), "shortest must be"),
        ((film, "--run", run, "--staying", 1), "staying must be"),
        ((film, "--run", run, "--overlay", "o.avi"), "--overlay takes the name of a .webm or .mp4 file"),
        ((film, "--run", run, "--overlay", "./film.mp4"), "would replace the source"),
        ((film, "--run", run, "--timeline", "t.jpg"), "--timeline takes the name of a .png file"),
        ((film, "other.mp4", "--run", run, "--timeline", "t.png"), "one source at a time"),
        ((film, "--run", run, "--csv", "--out", "taken"), "taken"),
        ((film, "--run", run, "--overlay", "taken/o.webm"), "taken"),
        ((film, "--run", run, "--threads", 0), "threads"),
    ):
        assert call(*arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert word in err
    assert film.read_bytes() == mine


def test_the_default_model(run: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    film = write("film.mp4", 5)
    monkeypatch.setattr(label, "DEFAULT", run / "best.pt")
    assert call(film) == 0
    capsys.readouterr()
    monkeypatch.setattr(label, "DEFAULT", run / "none.pt")
    assert call(film) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "none.pt" in err) == ("", 1, True)
    assert trained.DEFAULT.parent == Path(label.__file__).parent


def test_killed_while_labelling_files_are_whole_or_absent(run: Path):
    film = write("film.mp4", 240)
    flags = ["--run", "run", "--csv", "--eaf", "--overlay", "o.mp4", "--timeline", "t.png"]
    command = [sys.executable, "-m", "video", "label", "film.mp4", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment)
    while not Path("o.partial.mp4").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not Path("o.mp4").exists()
    assert os.listdir("labels") == []
    assert call(film, *flags) == 0
    assert sorted(os.listdir("labels")) == ["film.eaf", "film.frames.csv"]
    assert not list(Path().rglob("*.partial*"))
    assert len(list(open_source("o.mp4"))) == 240


def test_a_sample_is_labelled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("sample.mp4", command=sample) == 0
    clip = sprites.clip(0, sprites.TEST[0])
    first, *lines = capsys.readouterr().out.splitlines()
    frames = list(open_source("sample.mp4"))
    labels = clip.labels([frame.seconds for frame in frames])
    assert first == f"sample.mp4: {len(labels)} frames, {len(labels) / sprites.RATE:.1f} s, in truth:"
    segments = to_segments(labels)
    expected = [f"{each.start / sprites.RATE:8.1f} s  {sprites.CLASSES[each.label]}" for each in segments]
    assert lines == expected
    assert call("sample.mp4", "--csv") == 0
    right = [
        name == sprites.CLASSES[n] for name, n in zip(labels_of("labels/sample.frames.csv"), labels, strict=True)
    ]
    assert sum(right) > 0.85 * len(right), "by the model that comes along"


def test_samples_are_functions_of_seed_and_number(run: Path, capsys):
    for name, flags in (
        ("a", ()),
        ("b", ("--seed", 0, "--number", 100)),
        ("c", ("--seed", 1)),
        ("d", ("--number", 5)),
    ):
        assert call(f"{name}.mp4", *flags, command=sample) == 0
    a, b, c, d = (list(open_source(f"{name}.mp4")) for name in "abcd")
    assert all(np.array_equal(x.pixels, y.pixels) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0].pixels, c[0].pixels)
    assert not np.array_equal(a[0].pixels, d[0].pixels)
    capsys.readouterr()
    for flags, word in ((("e.avi",), ".mp4"), (("no/e.mp4",), "cannot write"), (("e.mp4", "--seed", -1), "--seed")):
        assert call(*flags, command=sample) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert word in err
