"""Files are whole or absent, nothing of the user's is lost, and locks end with their process."""

import json
import math
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from core import files
from core.cache import _temporary_cache, user_cache
from core.errors import InputError
from core.training import packing


def test_a_link_at_a_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 2 * size)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".page.00000000.partial.html").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=r"cannot write .*page\.html: File exists"):
        files.replace(tmp_path / "page.html", b"new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_link_at_the_target_is_replaced_and_its_file_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "page.html").symlink_to(tmp_path / "victim")
    files.replace(tmp_path / "page.html", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "page.html").read_text() == "new"


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        assert first.suffix == second.suffix == ".pt"
        first.write_bytes(b"A" * 10)
        second.write_bytes(b"B" * 3)
    assert path.read_bytes() == b"A" * 10
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with suppress(KeyError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    for _ in range(2):
        files.make_folder(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.parametrize("name", ["page.png", "page.png/drawings"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "page.png").write_text("mine")
    with pytest.raises(InputError) as error:
        files.make_folder(tmp_path / name, "--out")
    assert str(error.value) == f"--out takes a folder: {tmp_path / 'page.png'} is a file"
    with pytest.raises(InputError, match=f"cannot make the folder {tmp_path / name}: "):
        files.make_folder(tmp_path / name)
    assert (tmp_path / "page.png").read_text() == "mine"


def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ž" * 120 + ".txt")
    files.replace(path, b"x")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "line"), [("folder", "it is a folder"), ("fifo", "it is a device or a FIFO")]
)
def test_only_files_are_replaced(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match=f"cannot write {tmp_path / name}: {line}"):
        files.replace(tmp_path / name, b"x")
    with pytest.raises(InputError, match="the file to write is empty"):
        files.replace(Path(""), b"x")


def test_a_file_of_the_users_stays_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    files.require_free(tmp_path / "a.srt")
    (tmp_path / "a.srt").touch()
    with pytest.raises(InputError, match=re.escape("a.srt exists: remove it")):
        files.require_free(tmp_path / "a.srt")
    files.require_free(tmp_path / "a.srt", overwrite=True)


def test_an_output_is_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    films = [tmp_path / "other.mp4", tmp_path / "film.mp4"]
    files.require_apart(tmp_path / "new.mp4", films)
    for output in ("film.mp4", "link.mp4", "./other.mp4"):
        with pytest.raises(InputError, match=f"{Path(output)} is an input"):
            files.require_apart(Path(output), films)


HOLD = """
import sys, time
from pathlib import Path
from core import files
with files.locked(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(InputError, match=rf"taken \(process {holder.pid} on "),
        files.locked(lock, "taken"),
    ):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with files.locked(lock, "taken"):
        assert lock.read_text().startswith(f"{os.getpid()} on ")


def test_json_is_json() -> None:
    text = files.to_json({"a": [1.5, math.nan], "b": (-math.inf, "x", None, True)})
    assert json.loads(text) == {"a": [1.5, None], "b": [None, "x", None, True]}
    assert "NaN" not in text


@pytest.mark.parametrize("home", ["none", "a file"])
def test_without_a_home_there_is_a_temporary_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    def no_home() -> Path:
        raise RuntimeError

    if home == "none":
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", no_home)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _temporary_cache.cache_clear()
    folder = user_cache("texts")
    assert folder.parts[-2:] == ("recurrent-vision", "texts")
    assert folder.parents[2] == tmp_path
    assert folder == user_cache("texts")
    _temporary_cache.cache_clear()


@pytest.mark.parametrize(("name", "better"), [("/", "model.pt"), ("a.bin", "a.pt"), ("x", "x.pt")])
def test_a_packed_model_has_its_suffix(name: str, better: str) -> None:
    with pytest.raises(InputError, match=rf"a packed model is a \.pt file; call it {better}$"):
        packing._check(Path(name))
