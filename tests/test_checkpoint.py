import math
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InputError
from core.training import checkpoint

PAYLOAD = {
    "config": {"hidden": 3, "sizes": [1, 2]},
    "step": 7,
    "metrics": {"accuracy": 0.5},
    "weights": {"w": torch.arange(5000.0)},
}


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


def one_line(error: pytest.ExceptionInfo[InputError], path: Path) -> str:
    line = str(error.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def test_what_is_saved_is_loaded(saved: Path) -> None:
    loaded = checkpoint.load(saved, "toy")
    assert torch.equal(loaded["weights"]["w"], PAYLOAD["weights"]["w"])
    assert {name: loaded[name] for name in ("config", "step", "metrics")} == {
        name: PAYLOAD[name] for name in ("config", "step", "metrics")
    }
    assert (loaded["app"], loaded["format"]) == ("toy", checkpoint.FORMAT)
    assert os.listdir(saved.parent) == ["run.pt"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        checkpoint.load(tmp_path / "none.pt", "toy")
    assert "No such file" in one_line(error, tmp_path / "none.pt")


def test_every_truncation_is_told(saved: Path) -> None:
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


def test_every_flipped_byte_of_the_weights_is_told(saved: Path) -> None:
    content = saved.read_bytes()
    start = content.index(PAYLOAD["weights"]["w"].numpy().tobytes())
    for place in (start, start + 4 * 2500, start + 4 * 5000 - 1):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError) as error:
            checkpoint.load(saved, "toy")
        assert "checksum" in one_line(error, saved)


def test_any_flipped_byte_is_told_or_harmless(saved: Path) -> None:
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


def test_both_applications_are_named(saved: Path) -> None:
    with pytest.raises(InputError, match="a checkpoint of toy, not of glimpse"):
        checkpoint.load(saved, "glimpse")


def test_a_later_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    later = {
        "project": checkpoint.PROJECT,
        "format": checkpoint.FORMAT + 1,
        "app": "toy",
        "version": "9.9",
    }
    torch.save(later, tmp_path / "later.pt")
    with pytest.raises(InputError, match=r"later version 9\.9: upgrade"):
        checkpoint.load(tmp_path / "later.pt", "toy")


def test_what_could_not_be_loaded_is_not_saved(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="pathlib"):
        checkpoint.save(saved, "toy", {**PAYLOAD, "extras": {"where": Path("x")}})
    assert saved.read_bytes() == before


def test_a_full_disk_keeps_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses longer files.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError) as error:
            checkpoint.save(saved, "toy", PAYLOAD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write" in one_line(error, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["run.pt"]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    # Refused to root, too, unlike a folder without permissions.
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError) as error:
        checkpoint.save(tmp_path / "file/run.pt", "toy", PAYLOAD)
    assert "cannot write" in one_line(error, tmp_path / "file/run.pt")
    with pytest.raises(InputError):
        checkpoint.save(tmp_path / "none/run.pt", "toy", PAYLOAD)


def test_a_run_gives_its_best_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither best\.pt nor last\.pt"):
        checkpoint.open_run(tmp_path, "toy")
    checkpoint.save(tmp_path / "last.pt", "toy", {**PAYLOAD, "step": 9})
    assert checkpoint.open_run(tmp_path, "toy")["step"] == 9
    checkpoint.save(tmp_path / "best.pt", "toy", {**PAYLOAD, "step": 5})
    assert checkpoint.open_run(str(tmp_path), "toy")["step"] == 5
    assert checkpoint.open_run(tmp_path / "last.pt", "toy")["step"] == 9


def test_weights_of_another_network_are_one_line():
    network = torch.nn.Linear(2, 3)
    checkpoint.restore(network, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, "run")
    assert (network.weight == 1).all()
    for weights in ({"weight": torch.ones(2, 2), "bias": torch.zeros(3)}, {"other": torch.ones(1)}):
        with pytest.raises(
            InputError, match="run holds the weights of a network of other parts or sizes"
        ):
            checkpoint.restore(network, weights, "run")


@dataclass(frozen=True)
class Config:
    hidden: int = 3
    rate: float = 0.5


WHOLE = {
    "config": {"hidden": 3, "rate": 0.5},
    "weights": {"weight": torch.ones(3, 2), "bias": torch.zeros(3)},
    "extras": {"inputs": 2},
}


def open_linear(path: Path) -> torch.nn.Linear:
    with checkpoint.opened(path, "toy", Config) as (config, saved):
        inputs = saved["extras"]["inputs"]
        return checkpoint.build(
            lambda: torch.nn.Linear(inputs, config.hidden), saved["weights"], path
        )


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


def test_opening_a_model_does_not_import_the_compiler_of_torch(tmp_path: Path) -> None:
    """It takes six seconds."""
    checkpoint.save(tmp_path / "run.pt", "toy", WHOLE)
    script = (
        "import sys, pathlib; from test_checkpoint import open_linear;"
        f"open_linear(pathlib.Path({str(tmp_path / 'run.pt')!r}));"
        "assert 'torch._dynamo' not in sys.modules"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
