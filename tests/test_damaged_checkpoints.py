"""Checkpoints that are truncated, altered, foreign or no plain files: one line, no code run."""

import math
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import PAYLOAD, WHOLE, one_line, open_linear

from core.errors import InputError
from core.training import checkpoint


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.pt"
    checkpoint.save(path, "toy", PAYLOAD)
    return path


def test_full_memory_is_no_fault_of_the_file() -> None:
    with pytest.raises(torch.OutOfMemoryError), checkpoint.telling_alterations("run.pt"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_every_truncation_is_detected(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [
        0,
        1,
        2,
        4,
        30,
        *range(100, len(content), 997),
        len(content) - 22,
        len(content) - 1,
    ]:
        saved.write_bytes(content[:length])
        with pytest.raises(InputError) as error:
            checkpoint.load(saved, "toy")
        assert "truncated" in one_line(error, saved), length


def test_every_flipped_byte_of_the_weights_is_detected(saved: Path) -> None:
    content = saved.read_bytes()
    start = content.index(PAYLOAD["weights"]["w"].numpy().tobytes())
    for place in (start, start + 4 * 2500, start + 4 * 5000 - 1):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError) as error:
            checkpoint.load(saved, "toy")
        assert "checksum" in one_line(error, saved)


def test_any_flipped_byte_is_detected_or_harmless(saved: Path) -> None:
    content = saved.read_bytes()
    for place in [*range(0, 1500, 13), *range(len(content) - 1500, len(content), 13)]:
        saved.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            loaded = checkpoint.load(saved, "toy")
        except InputError:
            continue
        assert torch.equal(loaded["weights"]["w"], PAYLOAD["weights"]["w"])


@pytest.mark.parametrize(
    "content", [b"hello", b"PK\x05\x06" + bytes(18), b"\x89PNG\r\n\x1a\n" + bytes(100)]
)
def test_other_files_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        checkpoint.load(path, "toy")
    assert "not a checkpoint" in one_line(error, path)


@pytest.mark.parametrize(
    "value", [{"weights": torch.zeros(2)}, torch.zeros(2), [1], {"project": "other"}]
)
def test_foreign_torch_files_are_no_checkpoints(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "foreign.pt")
    with pytest.raises(InputError) as error:
        checkpoint.load(tmp_path / "foreign.pt", "toy")
    assert "not a checkpoint of recurrent-vision" in one_line(error, tmp_path / "foreign.pt")


def test_a_zip_file_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError) as error:
        checkpoint.load(tmp_path / "archive.pt", "toy")
    assert "not a checkpoint" in one_line(error, tmp_path / "archive.pt")


@pytest.mark.parametrize("form", ["torch.save", "legacy torch.save", "pickle"])
def test_code_is_not_run(tmp_path: Path, form: str) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "mark"
    payload = {**PAYLOAD, "project": checkpoint.PROJECT, "extras": Evil(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Evil(mark)))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "torch.save")
    with pytest.raises(InputError) as error:
        checkpoint.load(path, "toy")
    line = one_line(error, path)
    assert "code" in line
    assert "not run" in line
    assert not mark.exists()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def shared(depth: int) -> list[Any]:
    """A list of 10^depth numbers, in a few bytes."""
    value: list[Any] = [0] * 10
    for _ in range(depth - 1):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"config": ...}, "holds no config"),
        ({"weights": ...}, "holds no weights"),
        ({"extras": ...}, "holds no extras"),
        ({"config": None}, "its config is of another type"),
        ({"weights": None}, "its weights is of another type"),
        ({"extras": []}, "its extras is of another type"),
        ({"format": None}, "its format is of another type"),
        ({"step": "7"}, "its step is of another type"),
        ({"weights": {0: torch.ones(1)}}, "its weights are not tensors by name"),
        ({"weights": {"weight": 3}}, "its weights are not tensors by name"),
        (
            {"weights": {"weight": torch.ones(1, dtype=torch.complex64)}},
            "its weights are not tensors by name",
        ),
        (
            {"weights": {"weight": torch.zeros(1).expand(10**12), "bias": torch.zeros(3)}},
            "its weights are not tensors by name",
        ),
        ({"extras": {}}, "was altered: KeyError: 'inputs'"),
        ({"extras": {"inputs": "two"}}, "was altered: TypeError"),
        ({"config": {1: 2}}, "unknown field 1"),
        ({"config": {"hidden": 3, "rate": math.nan}}, "rate cannot be nan"),
        ({"config": {"hidden": 3, "rate": 10**400}}, "rate cannot be 1000"),
        ({"config": {"hidden": 10**30, "rate": 0.5}}, "hidden cannot be 1000"),
        ({"config": {"hidden": 10**5000, "rate": 0.5}}, "it was not run"),
        ({"config": {"hidden": nested(300), "rate": 0.5}}, "hidden cannot be [[[["),
        ({"config": {"hidden": shared(12), "rate": 0.5}}, "hidden cannot be [[[["),
        ({"config": {"hidden": 10**7, "rate": 0.5}}, "a network of other parts or sizes"),
        ({"config": {"hidden": -1, "rate": 0.5}}, "was altered: RuntimeError"),
        (
            {"weights": {"weight": torch.full((3, 2), math.inf), "bias": torch.zeros(3)}},
            "weights that are not finite",
        ),
    ],
)
def test_altered_checkpoints_are_one_line(
    tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    path = tmp_path / "run.pt"
    checkpoint.save(path, "toy", WHOLE)
    assert (open_linear(path).weight == 1).all()
    payload = {**torch.load(path, weights_only=True), **change}
    torch.save({key: value for key, value in payload.items() if value is not ...}, path)
    with pytest.raises(InputError) as error:
        open_linear(path)
    assert line in one_line(error, path)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("kind", ["FIFO", "device", "compressed", "overlapping"])
def test_what_is_no_plain_file_is_not_read(saved: Path, kind: str) -> None:
    path = saved.with_name("odd.pt")
    line = "is compressed"
    if kind == "FIFO":
        os.mkfifo(path)
        line = "is not a file"
    elif kind == "device":
        path.symlink_to("/dev/zero")
        line = "is not a file"
    elif kind == "compressed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("run/data.pkl", bytes(10**7))
    else:  # ten names for the same bytes
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("run/data.pkl", bytes(10**5))
            for _ in range(10):
                archive.filelist.append(archive.filelist[0])
            archive._didModify = True  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError) as error:
        checkpoint.load(path, "toy")
    assert line in one_line(error, path)
