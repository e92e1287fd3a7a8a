"""Draw circuit boards with a defect each, to look at and to learn from.

uv run glimpse sample board.png                 # one board
uv run glimpse show board.png                   # where the model of this package looks at it
uv run glimpse sample boards --count 2000       # class folders and boxes.csv
"""

from core.errors import InputError
from core.training import cli
from core.training.config import require_at_least
from datasets.images import boards
from glimpse.arguments import Sample


def main(arguments: Sample) -> None:
    """Write the picture or the folder, and print what is true of it."""
    require_at_least(0, arguments, "seed", "number")
    require_at_least(2 * len(boards.KINDS), arguments, "count")
    path = arguments.path
    if arguments.count is not None:
        if path.exists():
            raise InputError(f"{path} exists: name a new folder")
        boards.write_folder(path, arguments.count, arguments.seed, arguments.size)
        cli.say(f"{path}: {arguments.count} boards, and {path / 'boxes.csv'}")
        return
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a picture is called NAME.png; a folder needs --count NUMBER")
    board = boards.write(path, arguments.seed, arguments.number, arguments.size)
    x1, y1, x2, y2 = board.box
    cli.say(f"{path}: {board.kind} at x {x1} to {x2}, y {y1} to {y2} (pixels)")


if __name__ == "__main__":
    raise SystemExit(cli.script("glimpse sample"))
