"""Built-in data and the user's folders of the same names."""

from pathlib import Path

import pytest
from class_folders import make

from core.errors import InputError
from datasets.captions import captioned
from datasets.images import digits
from datasets.text import labelled
from datasets.videos import labelled as videos
from sequences.translate import data as pairs
from sequences.translate.config import Config

LOADERS = {
    "digits": digits.load,
    "reviews": lambda name: labelled.load([name]),
    "scenes": captioned.load,
    "sprites": videos.load,
    "sprite-pairs": videos.load,
    "counting": lambda name: pairs.load(Config(data=(name,))),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "folder") for name in LOADERS),
        *((name, "file") for name in LOADERS if name != "digits"),
    ],
)
def test_a_name_of_two_data_sets_is_refused(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    if kind == "folder":
        Path(name).mkdir()
    else:
        Path(name).touch()
    with pytest.raises(InputError, match=rf"of a {kind} here: write \./{name} for the {kind}"):
        LOADERS[name](name)


@pytest.mark.parametrize("suffix", ["en", "cs", "en.gz"])
def test_parallel_files_called_like_built_in_pairs(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(f"counting.{suffix}").touch()
    with pytest.raises(
        InputError, match=rf"of counting\.{suffix} here: write \./counting for your"
    ):
        pairs.load(Config())
    assert pairs.load(Config(source="de", target="fr")).train, "those are other languages"


def test_a_folder_is_read_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    make(Path("digits"))
    assert digits.load("./digits").train.classes == ("cat", "dog")


def test_files_are_no_data_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").touch()
    assert len(digits.load("digits").train.classes) == 10


def test_a_run_called_like_its_data_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    Path("digits/config.json").touch()
    assert len(digits.load("digits").train.classes) == 10
