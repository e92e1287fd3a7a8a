"""Checkpoints: what is saved is loaded, and what could not be loaded is not saved."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import PAYLOAD, WHOLE, one_line

from core.errors import InputError
from core.training import checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.pt"
    checkpoint.save(path, "toy", PAYLOAD)
    return path


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


def test_both_applications_are_named(saved: Path) -> None:
    with pytest.raises(InputError, match="a checkpoint of toy, not of glimpse"):
        checkpoint.load(saved, "glimpse")


def test_a_later_format_requires_an_upgrade(tmp_path: Path) -> None:
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


def test_opening_a_model_does_not_import_the_compiler_of_torch(tmp_path: Path) -> None:
    """It takes six seconds."""
    checkpoint.save(tmp_path / "run.pt", "toy", WHOLE)
    script = (
        "import sys, pathlib; from checkpoints import open_linear;"
        f"open_linear(pathlib.Path({str(tmp_path / 'run.pt')!r}));"
        "assert 'torch._dynamo' not in sys.modules"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests/helpers'}"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
