"""Cached features: the encoder's own, whatever was killed, damaged, shared, broken or full."""

import errno
import hashlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from core.errors import InputError
from datasets.images.files import open_picture
from vision import features
from vision.encoder import TINY, Encoder, make_encoder
from vision.features import extract

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vision.features"])
SIZE = replace(TINY, size=32)


@dataclass(frozen=True)
class Item:
    path: Path
    slow: float = 0.0

    @property
    def name(self) -> str:
        return self.path.name

    def open(self) -> Image.Image:
        time.sleep(self.slow)
        return open_picture(self.path)

    def digest(self) -> str:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            raise InputError(f"{self.path}: no such file") from None


@dataclass(frozen=True)
class Unopened(Item):
    """A picture that must not be looked at again."""

    def open(self) -> Image.Image:
        raise AssertionError


@pytest.fixture
def encoder() -> Encoder:
    return make()


@pytest.fixture
def items(tmp_path) -> list[Item]:
    return draw(tmp_path / "pictures", 10)


def make() -> Encoder:
    torch.manual_seed(0)
    return make_encoder("tiny", preprocessing=SIZE)


def draw(folder: Path, count: int, slow: float = 0.0) -> list[Item]:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [Item(folder / f"{number}.png", slow) for number in range(count)]


def files(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*.npy")}


def child(items: list[Item], cache: Path) -> None:
    torch.set_num_threads(1)
    extract(make(), items, cache, quiet=True)


def test_features_are_the_encoders_and_lie_where_they_should(tmp_path, encoder, items):
    found = extract(encoder, items, tmp_path / "cache")
    assert len(found) == 10
    assert found.items == tuple(range(10))
    rows = [7, 0, 7]
    with torch.no_grad():
        expected = torch.cat([encoder(SIZE(items[row].open())[None]) for row in rows]).half()
    assert torch.equal(found(rows), expected)
    digest = items[7].digest()
    path = tmp_path / "cache" / f"tiny-{encoder.fingerprint[:16]}" / digest[:2] / f"{digest}.npy"
    assert np.array_equal(np.load(path), expected[0].numpy())
    assert len(files(tmp_path / "cache")) == 10


def test_what_is_cached_is_not_computed_again(tmp_path, encoder, items, capsys):
    first = extract(encoder, items[:6], tmp_path)
    again = extract(encoder, [Unopened(item.path) for item in items[:6]], tmp_path)
    assert torch.equal(again(range(6)), first(range(6)))
    more = extract(encoder, [*items[6:], *(Unopened(item.path) for item in items[:6])], tmp_path)
    assert torch.equal(more(range(4, 10)), first(range(6)))
    assert capsys.readouterr().err == ""


def test_another_encoder_does_not_read_them(tmp_path, encoder, items):
    before = extract(encoder, items, tmp_path)(range(10))
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.5)
    after = extract(encoder, items, tmp_path)(range(10))
    with torch.no_grad():
        assert torch.equal(after[3], encoder(SIZE(items[3].open())[None])[0].half())
    assert not torch.equal(before, after)
    assert len(list(tmp_path.glob("tiny-*"))) == 2


def test_mirrored_features_are_those_of_mirrored_pictures(tmp_path, encoder, items):
    straight = extract(encoder, items, tmp_path)
    mirrored = extract(encoder, items, tmp_path, mirrored=True)
    with torch.no_grad():
        expected = encoder(SIZE(ImageOps.mirror(items[2].open()))[None])
    assert torch.allclose(mirrored([2]).float(), expected, atol=0.02)
    assert not torch.allclose(mirrored([2]), straight([2]), atol=0.2)
    assert torch.equal(extract(encoder, items, tmp_path)([2]), straight([2]))


def test_bits_do_not_depend_on_what_was_cached_or_shown_beside(tmp_path, encoder, items):
    extract(encoder, items, tmp_path / "unbroken", batch=4)
    for some in ([2], [9, 1, 5], [0, 3, 4, 6, 7, 8]):
        extract(encoder, [items[n] for n in some], tmp_path / "resumed", batch=4)
    extract(encoder, items, tmp_path / "resumed", batch=4)
    assert files(tmp_path / "resumed") == files(tmp_path / "unbroken")


def test_a_killed_extraction_goes_on_to_the_same_bytes(tmp_path):
    items = draw(tmp_path / "pictures", 40, slow=0.02)
    unbroken, cache = tmp_path / "unbroken", tmp_path / "cache"
    extract(make(), items, unbroken)
    for at_least in (5, 15):
        process = CONTEXT.Process(target=child, args=(items, cache))
        process.start()
        while process.is_alive() and len(files(cache)) < at_least:
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert at_least <= len(files(cache)) < 40
        assert files(cache).items() <= files(unbroken).items()
    extract(make(), items, cache)
    assert files(cache) == files(unbroken)


def test_two_processes_share_the_work(tmp_path):
    items = draw(tmp_path / "pictures", 20, slow=0.005)
    extract(make(), items, tmp_path / "alone")
    both = [CONTEXT.Process(target=child, args=(items, tmp_path / "cache")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert files(tmp_path / "cache") == files(tmp_path / "alone")
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 20


def test_damaged_files_are_computed_again(tmp_path, encoder, items):
    extract(encoder, items, tmp_path)
    whole = files(tmp_path)
    for length, name in zip((0, 10, 50, 128, 1000), whole, strict=False):
        (tmp_path / name).write_bytes(whole[name][:length])
    extract(encoder, items, tmp_path)
    assert files(tmp_path) == whole


def test_damaged_files_of_the_right_size_are_computed_again(tmp_path, encoder, items):
    extract(encoder, items, tmp_path)
    whole = files(tmp_path)
    bits, zeros, kind, *_ = whole
    (tmp_path / bits).write_bytes(whole[bits][:500] + b"\x01" + whole[bits][501:])
    (tmp_path / zeros).write_bytes(bytes(len(whole[zeros])))
    (tmp_path / kind).write_bytes(whole[kind].replace(b"<f2", b"<i2"))
    found = extract(encoder, items, tmp_path)
    assert files(tmp_path) == whole
    with torch.no_grad():
        expected = encoder(SIZE(items[4].open())[None])[0].half()
    assert torch.equal(found([4])[0], expected)


def test_features_that_go_while_they_are_used_are_one_line(tmp_path, encoder, items):
    found = extract(encoder, items, tmp_path)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"\.npy: .*damaged; start again") as error:
        found([0])
    assert "\n" not in str(error.value)
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    with pytest.raises(InputError, match=r"\.npy: .*gone"):
        found([0])


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path, encoder, items, capsys):
    (tmp_path / "file").touch()
    kept = extract(encoder, items, tmp_path / "file/cache")
    error = capsys.readouterr().err
    assert error.startswith("warning: cannot write ")
    assert "Not a directory" in error
    assert error.count("\n") == 1
    assert torch.equal(kept(range(10)), extract(encoder, items, tmp_path / "cache")(range(10)))


def test_a_disk_that_fills_up_costs_one_warning(tmp_path, encoder, items, capsys, monkeypatch):
    write, written = features._write, []

    def full(path: Path, grid: np.ndarray) -> None:
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, grid)

    monkeypatch.setattr(features, "_write", full)
    found = extract(encoder, items, tmp_path / "full")
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert len(files(tmp_path / "full")) == 4
    monkeypatch.undo()
    assert torch.equal(found(range(10)), extract(encoder, items, tmp_path / "cache")(range(10)))


def test_nothing_half_written_is_left_behind(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        features._write(tmp_path / "ab/abc.npy", np.zeros(3, dtype=np.float16))
    assert list((tmp_path / "ab").iterdir()) == []


def test_broken_pictures_are_named_once_counted_and_left_out(tmp_path, encoder, items, capsys):
    items[3].path.write_text("not a picture")
    items[6].path.write_bytes(items[6].path.read_bytes()[:500])
    items[8].path.unlink()
    for batch in (1, 4):
        found = extract(encoder, items, tmp_path / str(batch), batch=batch)
        assert found.items == (0, 1, 2, 4, 5, 7, 9)
        *lines, last = capsys.readouterr().err.splitlines()
        assert [sum(f"{number}.png: " in line for line in lines) for number in (3, 6, 8)] == [
            1,
            1,
            1,
        ]
        assert len(lines) == 3
        assert last == "warning: 3 of 10 pictures cannot be read and are left out"
        with torch.no_grad():
            expected = encoder(SIZE(items[5].open())[None])
        assert torch.allclose(found([4]).float(), expected, rtol=2e-3)  # the fifth that is left


def test_like_pictures_and_none_at_all(tmp_path, encoder, items):
    twice = extract(encoder, [items[0], items[1], items[0]], tmp_path, batch=4)
    assert torch.equal(twice([0]), twice([2]))
    assert len(files(tmp_path)) == 2
    assert len(extract(encoder, [], tmp_path)) == 0
    items[2].path.write_text("not a picture")
    assert extract(encoder, [items[2]], tmp_path).items == ()


def test_plain_lines_tell_how_far_it_is(tmp_path, encoder, items, capsys, monkeypatch):
    monkeypatch.setattr(features, "LINE_EVERY", 0.0)
    extract(encoder, items[:3], tmp_path, quiet=True)
    capsys.readouterr()
    extract(encoder, items, tmp_path, quiet=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("step 4/10 ")
    assert lines[-1].startswith("step 10/10 ")
    extract(encoder, items, tmp_path)
    assert capsys.readouterr().out == ""


def test_the_default_folder_is_in_the_users_cache(tmp_path, monkeypatch, encoder, items):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    extract(encoder, items[:1])
    assert len(files(tmp_path / "xdg/recurrent-vision/features")) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert features.default_cache() == Path.home() / ".cache/recurrent-vision/features"
