"""Classify the lines of standard input.

    echo "the plot is not dull" | uv run sequences sentiment classify runs/sentiment/reviews
    uv run sequences sentiment classify RUN < lines.txt | paste - lines.txt

Line n of the output is about line n of the input: the most probable label and its probability,
separated by a tab; nothing for an empty line. Each line is answered at once. A line that is not
UTF-8 ends the command with an error that names it.
"""

from core.training import cli, devices
from sequences.sentiment.arguments import Classify
from sequences.sentiment.trained import Trained, open_model


def main(arguments: Classify) -> None:
    """Answer line by line until the input ends."""
    trained = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    for line in cli.text_lines():
        cli.say(answer(trained, line.strip()))


def answer(trained: Trained, text: str) -> str:
    """Return the label of a text and its probability; nothing for an empty one."""
    if not text:
        return ""
    log_p, label = trained.classify([text])[0].max(-1)
    return f"{trained.classes[int(label)]}\t{log_p.exp().item():.4f}"


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences sentiment classify"))
