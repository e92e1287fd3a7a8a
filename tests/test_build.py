"""C sources compiled at first use: several at once, and what serves where that cannot be."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from compared import everything, needs_compiler

from core.engines.c import binding, build
from core.engines.choose import bptt
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
    assert paths == set(
        (cache / "recurrent-vision/compiled").iterdir()
    )  # one library, nothing half-done beside it
    assert binding.library() is not None


@pytest.mark.parametrize("missing", ["compiler", "cache", "success"])
def test_without_it_torch_serves_and_one_line_says_so(
    cache, missing, monkeypatch, capsys, tmp_path
):
    if missing == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif missing == "cache":
        cache.write_text("a file where a folder should be")
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
