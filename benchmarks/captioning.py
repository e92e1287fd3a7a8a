"""How fast pictures are captioned on one core, and where the time goes.

    uv run python -m benchmarks.captioning            # tables, about three minutes
    uv run python -m benchmarks.captioning --check    # exit code 1 if a batched beam is slower

One process, one thread, all jobs interleaved. Every figure is the median over rounds of CPU time,
every ratio the median of the ratios within a round. The captioner has the size of the preset
`attention` and random weights. It never ends a sentence: each has the largest number of words.
"""

import tempfile
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from statistics import median

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images
from torch import Tensor

from benchmarks.entry import script
from benchmarks.glimpse_step import measure
from captioning.caption import caption, encode_all, open_all
from captioning.config import ATTENTION
from captioning.generation.search import generate
from captioning.model import Captioner
from captioning.trained import Trained
from core.errors import InputError
from datasets.images.files import open_picture
from datasets.text.vocabulary import Vocabulary
from vision.encoder import encoder_of

WHOLE = "end to end, beam 3"
BEAMS = (1, 3, 5)
SIZE = 500, 333
WORDS = 2500


def captioner() -> Trained:
    """Return an untrained captioner of real size that never ends a sentence."""
    torch.manual_seed(0)
    words = ("".join(letters) for letters in islice(product("abcdefghijklmn", repeat=3), WORDS))
    encoder = encoder_of(ATTENTION)
    vocabulary = Vocabulary.train([" ".join(words)])
    decoder = Captioner(ATTENTION, encoder.channels, len(vocabulary)).eval()
    with torch.no_grad():
        decoder.bias[vocabulary.end] = -1e4
    return Trained(ATTENTION, encoder, decoder, vocabulary)


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write crops of two photographs as JPEG files of a common size; return the files."""
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    files = []
    for n in range(count):
        photograph = photographs[n % 2].crop((n, n, 640 - n, 427 - n)).resize(SIZE)
        files.append(folder / f"{n}.jpg")
        photograph.save(files[-1], quality=90)
    return files


def complain(error: InputError) -> None:
    """Stop at a picture that cannot be read."""
    raise error


def jobs(made: Trained, files: list[Path]) -> dict[str, Callable[[], object]]:
    """Return what to time on all pictures, by name."""

    def opened() -> list[UInt8[Tensor, "3 size size"]]:
        return [made.encoder.preprocessing(open_picture(file)) for file in files]

    pixels = torch.stack(opened())
    features = made.encode(pixels)

    def decode(
        parts: tuple[Float[Tensor, "images cells channels"], ...], beam: int
    ) -> Callable[[], object]:
        return lambda: [generate(made, part, beam) for part in parts]

    def end_to_end() -> list[object]:
        encoded = encode_all(made, open_all(files, made.encoder.preprocessing, complain))
        return list(caption(made, encoded, 3, 1))

    found: dict[str, Callable[[], object]] = {
        WHOLE: end_to_end,
        "open and resize": opened,
        "encoder, one by one": lambda: [made.encode(part) for part in pixels.split(1)],
        "encoder, 16 at a time": lambda: [made.encode(part) for part in pixels.split(16)],
    }
    for beam in BEAMS:
        found[f"decode, beam {beam}, together"] = decode((features,), beam)
        found[f"decode, beam {beam}, one by one"] = decode(features.split(1), beam)
    return found


def main(rounds: int = 15, pictures: int = 32, check: bool = False) -> int:
    """Time all jobs; print what each costs an image, and what batches gain."""
    torch.set_num_threads(1)
    made = captioner()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(jobs(made, write_pictures(Path(folder), pictures)), rounds)
    whole = times[WHOLE]
    title = (
        f"{pictures} JPEGs of {SIZE[0]} x {SIZE[1]}, lite0, one thread, torch {torch.__version__}"
    )
    table = Table("", title=title)
    for heading in ("CPU ms an image", "images/s", "share of the whole"):
        table.add_column(heading, justify="right")
    for job, seconds in times.items():
        cost = median(seconds) / pictures
        share = median(t / w for t, w in zip(seconds, whole, strict=True))
        table.add_row(job, f"{cost:.2f}", f"{1e3 / cost:.1f}", f"{share:.0%}")
    gains = Table(
        "beam search", title=f"{pictures} together against one by one", caption="CPU time"
    )
    gains.add_column("times faster", justify="right")
    slower = False
    for beam in BEAMS:
        batched, single = (
            times[f"decode, beam {beam}, {how}"] for how in ("together", "one by one")
        )
        gain = median(s / b for s, b in zip(single, batched, strict=True))
        gains.add_row(f"beam {beam}", f"{gain:.2f}")
        slower |= gain < 1
    Console().print(table, gains, sep="\n")
    return int(check and slower)


if __name__ == "__main__":
    script(main)
