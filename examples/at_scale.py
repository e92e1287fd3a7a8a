"""Captions for any number of pictures, on any number of machines, with Ray Data.

    uv run --extra scale examples/at_scale.py PICTURES captions      # a folder of pictures
    uv run --extra scale examples/at_scale.py shards captions        # *.tar of WebDataset
    uv run --extra scale examples/at_scale.py tables captions        # *.parquet: name, bytes
    uv run --extra scale examples/at_scale.py PICTURES captions --workers 16

The folder `captions` gets Parquet files with the columns name, caption, confidence and error. Each
worker holds a model of its own. A worker that dies is started again with what it had; a run that
was interrupted goes on with the pictures that have no row yet; one whose row has an error is not
tried again. On a cluster, begin with `ray start`, then set RAY_ADDRESS.

`Model` can be any class whose objects turn a batch of names and bytes into columns: exchange
`Captioner` for `Looker` and the recurrent attention model looks at the pictures instead.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import ray
import ray.data
import torch
import tyro
from PIL import Image

from core.errors import InputError
from datasets.images.files import SUFFIXES, UNREADABLE, open_picture
from datasets.images.origins import letterbox

Batch = dict[str, Any]


class Captioner:
    """The captioner that comes with the package."""

    def __init__(self) -> None:
        from captioning.trained import DEFAULT, open_model

        torch.set_num_threads(1)  # a worker a core
        self.trained, _ = open_model(DEFAULT, "cpu")

    def __call__(self, batch: Batch) -> Batch:
        """Return the best sentence about each picture; its error where it cannot be read."""
        from captioning.generation.search import generate

        pictures, errors = opened(batch)
        captions = np.full(len(errors), "", dtype=object)
        confidence = np.full(len(errors), np.nan)
        if pictures:
            prepare = self.trained.encoder.preprocessing
            pixels = torch.stack([prepare(picture) for picture in pictures.values()])
            sentences = generate(self.trained, self.trained.encode(pixels), beam=3)
            for row, (best, *_) in zip(pictures, sentences, strict=True):
                captions[row] = best.text
                confidence[row] = best.confidence
        return {
            "name": batch["name"],
            "caption": captions,
            "confidence": confidence,
            "error": errors,
        }


class Looker:
    """A recurrent attention model: the class of each picture, and where it looked.

    It takes as many glimpses as in training, whatever `glimpse stop` has set.
    """

    RUN = "runs/glimpse/digits"

    def __init__(self) -> None:
        from glimpse.model import open_model

        torch.set_num_threads(1)
        self.model, saved = open_model(self.RUN, "cpu")
        self.classes = saved["extras"]["classes"]
        self.shape = saved["extras"]["image_shape"]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """Return the class and the locations [glimpses, 2] of each picture, x and y in -1..1."""
        from glimpse.model import greedy

        pictures, errors = opened(batch)
        classes = np.full(len(errors), "", dtype=object)
        locations = np.full(len(errors), "", dtype=object)
        for row, picture in pictures.items():
            channels, height, width = self.shape
            shown = picture.convert("L" if channels == 1 else "RGB")
            if height is not None:  # else the model reads pictures of any size
                shown = letterbox(shown, (height, width))
            pixels = torch.from_numpy(np.array(shown))
            images = pixels.view(1, shown.height, shown.width, channels).movedim(-1, 1)
            rollout = self.model.rollout(images, self.model.config.glimpses, greedy)
            classes[row] = self.classes[int(rollout.logits[-1, 0].argmax())]
            locations[row] = str(rollout.locations[:, 0].tolist())
        return {"name": batch["name"], "class": classes, "locations": locations, "error": errors}


Model = Captioner


def opened(batch: Batch) -> tuple[dict[int, Image.Image], np.ndarray]:
    """Return the pictures of a batch that can be read, by their rows, and all rows' errors."""
    pictures = {}
    errors = np.full(len(batch["name"]), "", dtype=object)
    for row, content in enumerate(batch["bytes"]):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            try:
                pictures[row] = open_picture(file.name)
            except InputError as error:
                errors[row] = str(error).removeprefix(f"{file.name}: ")
    return pictures, errors


def read(source: Path) -> ray.data.Dataset:
    """Open the pictures of a folder, of WebDataset shards or of Parquet tables: name and bytes."""
    if any(source.glob("*.parquet")):
        return ray.data.read_parquet(str(source), columns=["name", "bytes"])
    if any(source.glob("*.tar")):
        shards = ray.data.read_webdataset(str(source), decoder=False)
        return shards.map(_from_shard)
    files = ray.data.read_binary_files(str(source), include_paths=True)
    return files.rename_columns({"path": "name"})


def _from_shard(row: Batch) -> Batch:
    """Return the name and the bytes of a sample's picture; without one, no bytes: an error row."""
    for key, content in row.items():
        if f".{key.lower()}" in (*SUFFIXES, *UNREADABLE):
            return {"name": f"{row['__key__']}.{key}", "bytes": content}
    return {"name": row["__key__"], "bytes": b""}


def main(source: Path, out: Path, /, workers: int = 2, batch: int = 16) -> None:
    """Describe all pictures that `out` does not describe yet."""
    done = set()
    for file in out.glob("*.parquet"):
        done.update(parquet.read_table(file, columns=["name"])["name"].to_pylist())
    pictures = read(source).filter(lambda row: row["name"] not in done)
    described = pictures.map_batches(Model, batch_size=batch, concurrency=workers, num_cpus=0.5)
    described.write_parquet(str(out))


if __name__ == "__main__":
    tyro.cli(main)
