"""Let a trained model write.

uv run sequences charlm sample --prompt "KING LEAR" --temperature 0.8    # the included model
uv run sequences charlm sample runs/charlm/hello                         # hellohellohello ...
"""

from core.training import cli, devices
from sequences.charlm.arguments import Sample
from sequences.charlm.trained import DEFAULT, open_model
from sequences.charlm.writing import encode_prompt, write


def main(arguments: Sample) -> None:
    """Open a run, or the model that comes with the package, and write."""
    device = devices.select(arguments.device, arguments.threads)
    trained, _ = open_model(arguments.run or DEFAULT, device)
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
    cli.write(trained.alphabet.known(arguments.prompt))
    for last in written:
        cli.write(decode(int(last)))
    cli.write("\n")


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences charlm sample"))
