"""The floors of the house: who may import whom."""

import ast
from pathlib import Path

import datasets

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "core": {"core"},
    "datasets": {"core", "datasets"},
    "vision": {"core", "datasets", "vision"},
    "glimpse": {"core", "datasets", "glimpse"},
    "captioning": {"core", "datasets", "vision", "captioning"},
    "video": {"core", "datasets", "vision", "video"},
    "sequences": {"core", "datasets", "sequences"},
}


def imported(file: Path) -> set[str]:
    """Top-level names of everything a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def test_floors():
    for package, allowed in MAY_IMPORT.items():
        for file in (ROOT / package).rglob("*.py"):
            assert (imported(file) & set(MAY_IMPORT)) <= allowed, file


def test_the_package_datasets_is_ours():
    assert Path(datasets.__file__).parent == ROOT / "datasets"
