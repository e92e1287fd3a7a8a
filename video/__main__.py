"""The command `video`: `uv run video label film.mp4`, or `python -m video label film.mp4`."""

from core import cli

VERBS = {
    "train": "train a net that labels every frame",
    "evaluate": "measure a trained net beside the majority class",
    "label": "label the frames of your videos, cameras and streams",
    "pack": "make one small file of a trained net, to keep",
    "sample": "write a generated video to try the others on",
    "program": "write the step of a trained net as a program that runs without this package",
}


def main() -> int:
    """Run the verb named on the command line."""
    return cli.main("video", VERBS)


if __name__ == "__main__":
    raise SystemExit(main())
