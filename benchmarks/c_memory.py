"""The C code under sanitizers (addresses, undefined behaviour, threads) and valgrind.

    uv run python -m benchmarks.c_memory    # a line for each way, exit code 1 if one finds
    anything; three minutes

The drivers beside this file run core/engines/c/kernel.c and glimpse/fast/c/rollout.c over many
shapes: a read or write beyond an array, or of what was never written, is found.

The first two watch it with this machine's widest vectors and with the narrowest; valgrind, which
knows no AVX-512, with those of AVX2. What is not installed is said to be missing and counts as
found.
"""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.entry import script
from core.engines.c.build import compiler

DRIVERS = {name: Path(__file__).with_name(f"c_memory_{name}.c") for name in ("core", "glimpse")}
COMMON = ("-g", "-O1", "-std=gnu11", "-fno-math-errno", "-Wall", "-Wextra", "-Werror")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
NARROW = ("-mavx2", "-mfma") if platform.machine() == "x86_64" else ()
WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # what compiles it, what runs it
    "sanitizers, native vectors": ((*SANITIZERS, "-march=native"), ()),
    "sanitizers, narrowest vectors": (SANITIZERS, ()),
    "thread sanitizer": (("-fsanitize=thread", "-march=native"), ()),
    "valgrind": (NARROW, ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full")),
}


def watch(driver: Path, flags: tuple[str, ...], runner: tuple[str, ...]) -> tuple[bool, str]:
    """Whether the driver ran without a finding, and its last line or the finding's first lines."""
    cc = compiler()
    if cc is None or (runner and shutil.which(runner[0]) is None):
        return False, f"{runner[0] if cc else 'a C compiler'} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/driver"
        built = subprocess.run(
            [cc, *COMMON, *flags, str(driver), "-o", program, "-lm", "-pthread"],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            return False, built.stderr[:2000]
        done = subprocess.run([*runner, program], capture_output=True, text=True)
    return done.returncode == 0, (
        done.stdout if done.returncode == 0 else done.stderr[:2000]
    ).strip()


def main() -> int:
    """Compile and run all drivers in all ways; return 1 if one is not clean."""
    results = [
        (f"{name}, {way}", *watch(driver, *how))
        for name, driver in DRIVERS.items()
        for way, how in WAYS.items()
    ]
    for way, clean, line in results:
        print(f"{way}: {'clean' if clean else 'FOUND'}: {line}")
    return int(not all(clean for _, clean, _ in results))


if __name__ == "__main__":
    script(main)
