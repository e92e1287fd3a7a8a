"""The command `glimpse`: `uv run glimpse train`, or `python -m glimpse train`."""

from core.training import cli
from core.training.arguments import Export, Pack, Training
from core.training.cli import Command
from glimpse.arguments import Evaluate, Sample, Show, Stop
from glimpse.config import Config
from glimpse.presets import EXPECTED, PRESETS, TEACHERS

COMMANDS: cli.Commands = {
    "train": Command("train the recurrent attention model", Training(Config, PRESETS, EXPECTED)),
    "teacher": {
        "train": Command(
            "train a net that reads whole images, and tells one that searches where to look",
            Training(Config, TEACHERS, {"teacher": "a baseline, and hints without boxes"}),
        ),
    },
    "evaluate": Command("measure a trained model beside its baselines", Evaluate),
    "stop": Command("set when a trained model is sure enough to answer", Stop),
    "show": Command("draw where a trained model looks at pictures", Show),
    "sample": Command("draw circuit boards with a defect each, to try the others on", Sample),
    "pack": Command("make one small file of a trained model, to keep", Pack),
    "export": Command("write one glimpse of a trained model as an exported program", Export),
}


def main() -> int:
    """Run the command named first on the command line."""
    return cli.main("glimpse", COMMANDS)


if __name__ == "__main__":
    raise SystemExit(main())
