"""The command `captioning`: `uv run captioning caption photo.jpg`, or `python -m captioning`."""

import os
import sys

from captioning.arguments import Calibrate, Caption, Evaluate, Export, Pack
from captioning.config import EXPECTED, PRESETS, Config
from core.training import cli
from core.training.arguments import Training
from core.training.cli import Command

COMMANDS: cli.Commands = {
    "caption": Command("write sentences about your pictures", Caption),
    "train": Command("train a captioner", Training(Config, PRESETS, EXPECTED)),
    "evaluate": Command("measure a trained captioner beside the nearest neighbour", Evaluate),
    "calibrate": Command("fit which words a captioner expects, and how sure it is", Calibrate),
    "pack": Command("make one small file of a trained captioner", Pack),
    "export": Command("write a trained captioner as exported programs", Export),
}


def main() -> int:
    """Run the command named first on the command line."""
    code = cli.main("captioning", COMMANDS)
    if sys.argv[1:2] == ["caption"]:
        # All is written. To take down torch would take half a second and 100 MB.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
