"""The Triton kernel: in the interpreter, which must be chosen before triton is imported, and in the compiler."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import core
from core import engines
from core.cells import GRUCell, LSTMCell
from core.recurrent import Recurrent

TESTS = Path(__file__).parent
X = torch.zeros(3, 2, 4)


def test_it_agrees_with_the_reference_in_the_interpreter() -> None:
    version = pytest.importorskip("triton").__version__
    if version.startswith("3.6") and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip(f"the interpreter of Triton {version}, that of torch 2.11, needs numpy < 2.4")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS / "interpreted_triton.py")]
    if version.startswith("3.6"):
        command += ["-W", "ignore::DeprecationWarning"]  # it makes numbers of arrays that have a dimension
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_auto_takes_it_only_where_it_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.FASTER_THAN_CUDNN == {}, "a GPU was measured: say where in benchmarks/RESULTS.md"
    x = torch.zeros(3, 2, 4)
    with FakeTensorMode():
        small, large, other = (
            LSTMCell(4, 5, device="cuda"),
            LSTMCell(4, 6, device="cuda"),
            GRUCell(4, 5, device="cuda"),
        )
        assert engines.choose("auto", [small], x, None, None) is engines.fused
        monkeypatch.setitem(engines.FASTER_THAN_CUDNN, ("card", "lstm", torch.float32), 5)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "card")
        assert engines.choose("auto", [small], x, None, None) is engines.on_gpu
        assert engines.choose("auto", [small], x, None, torch.tensor([1])) is engines.fused
        assert engines.choose("auto", [large], x, None, None) is engines.fused
        assert engines.choose("auto", [other], x, None, None) is engines.fused
        monkeypatch.setattr("torch.is_autocast_enabled", lambda device: True)  # autocast itself asks for a GPU
        monkeypatch.setattr("torch.get_autocast_dtype", lambda device: torch.bfloat16)
        assert engines.choose("auto", [small], x, None, None) is engines.fused


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match='engine="bptt" does'):
        Recurrent("lstm", 4, 5, engine="triton")(X, lengths=torch.tensor([3, 2]))
    with pytest.raises(ValueError, match='engine="bptt" does'):
        Recurrent("rnn", 4, 5, activation="sigmoid", engine="triton")(X)


def test_a_cpu_is_refused() -> None:
    pytest.importorskip("triton")
    with pytest.raises(ValueError, match="is for GPUs"):
        Recurrent("lstm", 4, 5, engine="triton")(X)


def test_without_triton_the_project_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "core.triton_kernels", raising=False)
    monkeypatch.delattr(core, "triton_kernels", raising=False)
    with pytest.raises(ValueError, match="needs the package triton"):
        Recurrent("lstm", 4, 5, engine="triton")(X)
    assert Recurrent("lstm", 4, 5)(X)[0].shape == (3, 2, 5)


def test_it_compiles_for_a_gpu(tmp_path: Path) -> None:
    """For the H100's kind, which needs no GPU; the interpreter accepts more than the compiler."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, str(TESTS / "compiled_triton.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["forward_steps", "backward_steps"]
