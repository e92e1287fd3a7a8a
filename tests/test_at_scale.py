"""examples/at_scale.py with two workers, one of which is killed."""

import importlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = 24

parquet = pytest.importorskip("pyarrow.parquet", reason='needs the extra "scale"')
pytest.importorskip("ray", reason='needs the extra "scale"')


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def workers(parent: int) -> Iterator[int]:
    """The processes below `parent` that hold a model."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"MapWorker" in title and f"AT_SCALE_TEST={parent}".encode() in environment:
            yield int(entry.name)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_a_killed_worker_costs_nothing(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "captions"
    mark = os.getpid()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AT_SCALE_TEST": str(mark)}
    command = [sys.executable, str(ROOT / "examples/at_scale.py"), str(pictures), str(out)]
    flags = ["--workers", "2", "--batch", "4"]
    with subprocess.Popen([*command, *flags], env=environment) as process:
        killed = None
        while process.poll() is None and killed is None:
            killed = next(workers(mark), None)
            time.sleep(0.1)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert process.wait(300) == 0

    table = parquet.read_table(out).to_pydict()
    names = [Path(name).name for name in table["name"]]
    assert sorted(names) == sorted(path.name for path in pictures.iterdir())
    rows = dict(zip(names, zip(table["caption"], table["error"], strict=True), strict=True))
    assert rows.pop("broken.png") == ("", "not a picture that Pillow can read")
    assert all(caption and not error for caption, error in rows.values())

    before = set(out.iterdir())
    subprocess.run([*command, *flags], env=environment, check=True)
    assert parquet.read_table(out).num_rows == PICTURES + 1  # nothing is described twice
    assert before <= set(out.iterdir())


def test_pictures_of_shards_have_any_suffix_and_what_is_none_is_an_error() -> None:
    example = importlib.import_module("examples.at_scale")
    row = {"__key__": "a", "json": b"{}", "JPG": b"picture"}
    assert example._from_shard(row) == {"name": "a.JPG", "bytes": b"picture"}
    none = example._from_shard({"__key__": "b", "json": b"{}"})
    assert none["name"] == "b"
    pictures, errors = example.opened({"name": [none["name"]], "bytes": [none["bytes"]]})
    assert not pictures
    assert errors[0]


@pytest.mark.parametrize("shape", [(1, 20, 20), (3, None, None)])
def test_looker_sees_pictures_as_glimpse_show_does(shape: tuple[int, int | None, int | None]):
    example = importlib.import_module("examples.at_scale")
    seen = []

    def rollout(images, glimpses, policy):
        seen.append(images)
        return SimpleNamespace(logits=torch.zeros(glimpses, 1, 2), locations=torch.zeros(3, 1, 2))

    looker = example.Looker.__new__(example.Looker)
    looker.model = SimpleNamespace(rollout=rollout, config=SimpleNamespace(glimpses=3))
    looker.classes = ["a", "b"]
    looker.shape = shape
    content = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(content, "PNG")
    rows = looker({"name": ["wide"], "bytes": [content.getvalue()]})
    assert rows["class"].tolist() == ["a"]
    (images,) = seen
    if shape[1] is None:
        assert images.shape == (1, 3, 20, 40)
    else:  # on black, not stretched
        assert images.shape == (1, 1, 20, 20)
        assert images[0, 0, :5].max() == 0
        assert images[0, 0, 5:15].min() == 255
