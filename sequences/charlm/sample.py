"""Let a trained model write.

uv run sequences charlm sample runs/charlm/hello    # hellohellohello ...
uv run sequences charlm sample RUN --prompt "KING LEAR:" --temperature 0.8 --length 2000
"""

import sys
from pathlib import Path

import torch

from core.errors import InputError
from core.training import cli, devices
from sequences.charlm.arguments import Sample
from sequences.charlm.trained import DEFAULT, Trained, open_model
from sequences.charlm.writing import encode_prompt, write


def main(arguments: Sample) -> None:
    """Open a run and write."""
    device = devices.select(arguments.device, arguments.threads)
    trained = _open(arguments.run, device)
    prompt = encode_prompt(trained, arguments.prompt)
    written = write(
        trained,
        prompt,
        length=arguments.length,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    decode = trained.alphabet.decoder()
    sys.stdout.write(trained.alphabet.known(arguments.prompt))
    for last in written:
        sys.stdout.write(decode(int(last)))
        sys.stdout.flush()
    sys.stdout.write("\n")


def _open(run: Path | None, device: torch.device) -> Trained:
    """Open a run, or the model that comes with the package."""
    if run is None and not DEFAULT.exists():
        raise InputError(f"there is no {DEFAULT}: name a run, or make one by charlm train")
    trained, _ = open_model(run or DEFAULT, device)
    return trained


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm sample"))
