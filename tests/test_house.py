"""The floors of the house: which module may import which."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import datasets

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "core": {"core"},
    "datasets": {"core", "datasets"},
    "vision": {"core", "datasets", "vision"},
    "glimpse": {"core", "datasets", "vision", "glimpse"},
    "captioning": {"core", "datasets", "vision", "captioning"},
    "video": {"core", "datasets", "vision", "video"},
    "sequences": {"core", "datasets", "sequences"},
}
SLOW = {"torch", "torchvision", "numpy", "cv2", "PIL", "sklearn", "matplotlib"}
"""Packages that --help must not wait for."""
MOST_MODULES = 22
"""In a folder. Where there are more, it is two rooms."""


def find_modules() -> dict[str, Path]:
    """The files of all modules of ours, by name."""
    found = {}
    for package in MAY_IMPORT:
        for file in (ROOT / package).rglob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


MODULES = find_modules()


def imported(module: str, *, everywhere: bool = False) -> set[str]:
    """Names that a module imports when it is imported itself, or anywhere in its file."""
    tree = ast.parse(MODULES[module].read_text())
    names = set()
    for node in ast.walk(tree) if everywhere else at_import(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run on import: not the bodies of functions, nor what is for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def needs(module: str) -> set[str]:
    """The modules of ours that a module imports when it is imported itself."""
    found = set()
    for name in imported(module):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name and name != module:
            found.add(name)
    return found


NEEDS = {module: needs(module) for module in MODULES}


def all_needs(module: str) -> set[str]:
    """What a module needs, and what that needs, and so on."""
    found = {module}
    waiting = [module]
    while waiting:
        new = NEEDS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_those_below_only(package: str) -> None:
    for module in MODULES:
        if module.split(".")[0] == package:
            tops = {name.split(".")[0] for name in imported(module, everywhere=True)}
            assert tops & set(MAY_IMPORT) <= MAY_IMPORT[package], module


def test_within_core_neither_networks_nor_engines_import_the_training() -> None:
    for module, needed in NEEDS.items():
        if module.startswith("core.") and not module.startswith("core.training"):
            upward = {name for name in needed if name.startswith("core.training")}
            if module == "core.diagnostics":  # a command too
                upward -= {"core.training.cli"}
            assert not upward, module


def test_no_module_imports_itself_by_way_of_others() -> None:
    for module, needed in NEEDS.items():
        circles = [name for name in needed if module in all_needs(name)]
        assert not circles, module


def test_help_waits_for_no_slow_package() -> None:
    early = [name for name in MODULES if name.endswith((".arguments", ".config", ".__main__"))]
    assert len(early) > 15
    for module in early:
        for name in all_needs(module):
            slow = {top.split(".")[0] for top in imported(name)} & SLOW
            assert not slow, f"{module} imports {name}, which imports {slow}"


def test_no_folder_is_a_wall_of_files() -> None:
    counts = Counter(file.parent for file in MODULES.values())
    assert len(counts) > 20
    for folder, count in counts.items():
        assert count <= MOST_MODULES, folder


def test_every_package_says_that_it_is_typed() -> None:
    for package in MAY_IMPORT:
        assert (ROOT / package / "py.typed").exists(), package


def test_the_package_datasets_is_ours() -> None:
    assert Path(datasets.__file__).parent == ROOT / "datasets"
