"""Make one small file of a trained captioner, to keep or to ship: its weights in float16.

uv run captioning pack runs/captioning/attention captioner.pt       # some 6 MB
uv run captioning caption photo.jpg --run captioner.pt
uv run captioning pack RUN captioner.pt --average START            # with the run it started from
"""

from captioning.arguments import Pack
from captioning.config import Config
from core.errors import InputError
from core.training import checkpoint, cli
from core.training.packing import Weights, halve, pack

PARTS = ("encoder", "tail", "decoder")


def main(arguments: Pack) -> None:
    """Read the run's best checkpoint and write the file."""
    if arguments.average is None:
        pack("captioning", Config, PARTS, arguments)
        return
    with checkpoint.opened(arguments.average, "captioning", Config) as (_, saved):
        others = [checkpoint.part(saved["weights"], part) for part in PARTS]

    def average(weights: Weights) -> Weights:
        return halve(_mean(weights, others.pop(0), f"{arguments.run} and {arguments.average}"))

    pack("captioning", Config, PARTS, arguments, average)


def _mean(one: Weights, other: Weights, names: str) -> Weights:
    """Return the means of the weights of two captioners, one of which started from the other."""
    shapes = [{name: value.shape for name, value in weights.items()} for weights in (one, other)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{names} have other weights: none was the start of the other")
    means = {}
    for name, value in one.items():
        is_number = value.is_floating_point()
        means[name] = (value + other[name]) / 2 if is_number else value
    return means


if __name__ == "__main__":
    raise SystemExit(cli.script("captioning pack"))
