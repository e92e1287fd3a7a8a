"""Classify the lines of standard input.

    echo "the plot of this film is not dull" | uv run sequences sentiment classify runs/sentiment/reviews
    uv run sequences sentiment classify RUN < lines.txt | paste - lines.txt

Line n of what is printed is about line n of what is read: the most probable label and its probability, parted by a
tab; nothing for a line that is empty. Each line is answered at once.
"""

from core.training import cli, devices
from sequences.sentiment.arguments import Classify
from sequences.sentiment.trained import Trained, open_model


def main(arguments: Classify) -> None:
    """Answer line by line until the input ends."""
    trained = open_model(arguments.run, devices.select(arguments.device, arguments.threads))
    for line in cli.standard_input():
        cli.say(
            answer(trained, line.decode(errors="replace").strip())
        )  # what is no UTF-8 is no word either


def answer(trained: Trained, text: str) -> str:
    """Return the label of a text and its probability; nothing for an empty one."""
    if not text:
        return ""
    log_p, label = trained.classify([text])[0].max(-1)
    return f"{trained.classes[int(label)]}\t{log_p.exp().item():.4f}"


if __name__ == "__main__":
    raise SystemExit(cli.script("sequences sentiment classify"))
