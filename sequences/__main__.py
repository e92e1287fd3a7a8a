"""The command `sequences`: `uv run sequences addition`, or `python -m sequences charlm train`."""

from core import cli

VERBS: cli.Verbs = {
    "addition": "teach three units to add binary numbers, and find the automaton inside",
    "charlm": {
        "train": "train a character language model on any text",
        "sample": "let a trained one write",
        "evaluate": "measure a trained one on held-out text",
    },
    "sentiment": {
        "train": "train a net that tells positive sentences from negative ones",
        "evaluate": "measure a trained one beside its baselines",
        "classify": "classify the lines of standard input",
    },
    "translate": {
        "train": "train an encoder-decoder on pairs of sentences",
        "evaluate": "measure a trained one: BLEU, with its signature",
        "lines": "translate the lines of standard input",
    },
}


def main() -> int:
    """Run the verb named on the command line."""
    return cli.main("sequences", VERBS)


if __name__ == "__main__":
    raise SystemExit(main())
