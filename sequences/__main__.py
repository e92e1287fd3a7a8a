"""The command `sequences`: `uv run sequences addition`, or `python -m sequences charlm train`."""

from core.training import cli
from core.training.arguments import Pack, Training
from core.training.cli import Command
from sequences.addition import config as addition
from sequences.charlm import arguments as charlm
from sequences.sentiment import arguments as sentiment
from sequences.sentiment import config as sentiment_config
from sequences.translate import arguments as translate
from sequences.translate import config as translate_config

COMMANDS: cli.Commands = {
    "addition": Command(
        "teach three units to add binary numbers, and find the automaton inside",
        Training(addition.Config, addition.PRESETS, addition.EXPECTED),
        module="sequences.addition.train",
    ),
    "charlm": {
        "train": Command("train a character language model on any text", charlm.TRAINING),
        "sample": Command("let a trained one write", charlm.Sample),
        "evaluate": Command("measure a trained one on held-out text", charlm.Evaluate),
        "pack": Command("make one small file of a trained one", Pack),
    },
    "sentiment": {
        "train": Command(
            "train a net that separates positive sentences from negative ones",
            Training(sentiment_config.Config, sentiment_config.PRESETS, sentiment_config.EXPECTED),
        ),
        "evaluate": Command("measure a trained one beside its baselines", sentiment.Evaluate),
        "classify": Command("classify the lines of standard input", sentiment.Classify),
    },
    "translate": {
        "train": Command(
            "train an encoder-decoder on pairs of sentences",
            Training(translate_config.Config, translate_config.PRESETS, translate_config.EXPECTED),
        ),
        "evaluate": Command("measure a trained one: BLEU, with its signature", translate.Evaluate),
        "lines": Command("translate the lines of standard input", translate.Lines),
    },
}


def main() -> int:
    """Run the command named first on the command line."""
    return cli.main("sequences", COMMANDS)


if __name__ == "__main__":
    raise SystemExit(main())
