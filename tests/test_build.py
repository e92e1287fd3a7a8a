"""C sources compiled at first use: several at once, and what serves where that cannot be."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from compared import everything, needs_compiler

from core.cache import _temporary_cache
from core.engines import bptt
from core.engines.c import binding, build
from core.engines.tape import Tape
from core.recurrent import Recurrent


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, a quick compilation, and none loaded before or after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "FLAGS", ("-O0", "-shared", "-fPIC", "-w"))
    for remembered in (binding.library, build.load):
        remembered.cache_clear()
    yield tmp_path / "cache"
    for remembered in (binding.library, build.load):
        remembered.cache_clear()


@needs_compiler
def test_several_may_compile_at_once(cache):
    with ThreadPoolExecutor(3) as pool:
        paths = {
            future.result()
            for future in [pool.submit(build.build, binding.SOURCE) for _ in range(3)]
        }
    # One library, nothing half-done beside it.
    assert paths == set((cache / "recurrent-vision/compiled").iterdir())
    assert binding.library() is not None


@needs_compiler
@pytest.mark.parametrize("size", [0, 1000, None])
def test_a_library_that_was_cut_or_altered_is_made_anew(cache, size):
    path = build.build(binding.SOURCE)
    good = path.read_bytes()
    if size is None:
        path.write_bytes(good[:-1] + b"?")
    else:
        os.truncate(path, size)
    assert build.build(binding.SOURCE).read_bytes() == good
    assert build.load(binding.SOURCE) is not None
    assert len(list(path.parent.iterdir())) == 1


@needs_compiler
def test_a_library_that_other_users_can_write_is_rebuilt(cache, monkeypatch):
    path = build.build(binding.SOURCE)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o722)
    path.parent.chmod(0o777)
    assert stat.S_IMODE(build.build(binding.SOURCE).stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    link = path.parent / "elsewhere.so"
    path.rename(link)
    path.symlink_to(link)
    assert not build.build(binding.SOURCE).is_symlink()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with pytest.raises(build.BuildError, match="belongs to another user"):
        build.build(binding.SOURCE)


def test_a_compiler_that_does_not_return_is_ended(cache, tmp_path, monkeypatch, capsys):
    script = tmp_path / "cc"
    script.write_text(f'#!/bin/sh\nsleep 300 & echo $! > "{tmp_path}/child"\nwait\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setattr(build, "PATIENCE", 0.5)
    assert build.load(binding.SOURCE) is None
    assert "did not return within" in capsys.readouterr().err
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10  # the kernel ends a killed process some time after the signal
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)


def is_running(process):
    """Tell whether ``process`` still exists and is not merely waiting for its parent."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("missing", ["compiler", "cache", "success"])
def test_without_it_torch_serves_and_one_line_says_so(
    cache, missing, monkeypatch, capsys, tmp_path
):
    if missing == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif missing == "cache":
        cache.write_text("a file where a folder should be")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        _temporary_cache.cache_clear()
    else:
        monkeypatch.setenv("CC", "false")
    net = Recurrent("lstm", 3, 4, bias=True, engine="bptt")
    x = torch.randn(5, 2, 3)
    ours = everything(net, x, net.initial_state(2), None)
    assert type(bptt.record(net.layers[0][0], 2, 3)) is Tape
    net.engine = "reference"
    torch.testing.assert_close(
        ours, everything(net, x, net.initial_state(2), None), rtol=1e-5, atol=1e-6
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "kernel.c is not compiled" in error
