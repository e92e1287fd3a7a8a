"""The command `captioning`: `uv run captioning caption photo.jpg`, or `python -m captioning caption photo.jpg`."""

from core import cli

VERBS = {
    "caption": "write sentences about your pictures",
    "train": "train a captioner",
    "evaluate": "measure a trained captioner beside the nearest neighbour",
    "pack": "make one small file of a trained captioner",
    "program": "write a trained captioner, word by word, as programs that run without this package",
}


def main() -> int:
    """Run the verb named on the command line."""
    return cli.main("captioning", VERBS)


if __name__ == "__main__":
    raise SystemExit(main())
