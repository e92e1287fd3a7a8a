"""Let a trained model write.

uv run sequences charlm sample runs/charlm/hello                                     # hellohellohello ...
uv run sequences charlm sample runs/charlm/shakespeare --prompt "KING LEAR:" --temperature 0.8 --length 2000
"""

import sys

from core.training import cli, devices
from sequences.charlm.arguments import Sample
from sequences.charlm.trained import open_model
from sequences.charlm.writing import encode_prompt, write


def main(arguments: Sample) -> None:
    """Open a run and write."""
    trained, _ = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    written = write(
        trained,
        encode_prompt(trained, arguments.prompt),
        length=arguments.length,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    decode = trained.alphabet.decoder()
    sys.stdout.write(arguments.prompt)
    for last in written:
        sys.stdout.write(decode(int(last)))
        sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm sample"))
