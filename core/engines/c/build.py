"""C sources of this project, compiled at first use with the machine's C compiler and loaded with ctypes.

A library is kept in the user's cache directory under a name that says what it was made from: source, flags,
compiler, processor. Without a compiler, or where nothing can be written or loaded, there is none; one line says so,
and whoever asked for it does the same in torch's operations.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from core.cache import user_cache

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-shared", "-fPIC")


def compiler() -> str | None:
    """The machine's C compiler: $CC, cc, gcc or clang."""
    return next(
        (
            found
            for name in (os.environ.get("CC"), "cc", "gcc", "clang")
            if name and (found := shutil.which(name))
        ),
        None,
    )


def build(source: Path) -> Path:
    """The compiled library, from the cache or made now; OSError or CalledProcessError where that cannot be.

    Several processes may do so at once: each writes a file of its own and renames it, whole, into place.
    """
    cc = compiler()
    if cc is None:
        raise OSError("no C compiler (cc, gcc or clang) was found")
    version = subprocess.run([cc, "--version"], capture_output=True, check=True).stdout
    beside, shared = (
        source.parent.glob("*.[ch]"),
        Path(__file__).parent.glob("*.h"),
    )  # what it may include
    made_from = [each.read_bytes() for each in (source, *sorted(beside), *sorted(shared))]
    made_from += [" ".join(FLAGS).encode(), cc.encode(), version, _processor().encode()]
    path = (
        user_cache("compiled")
        / f"{source.stem}-{hashlib.sha256(b'|'.join(made_from)).hexdigest()[:20]}.so"
    )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".so", dir=path.parent)
        os.close(handle)
        try:
            subprocess.run(
                [cc, *FLAGS, "-o", name, str(source), "-lm"], capture_output=True, check=True
            )
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    return path


@functools.cache
def load(source: Path) -> ctypes.CDLL | None:
    """The loaded library, or None where it cannot be had; then a line on standard error says why, once."""
    try:
        return ctypes.CDLL(str(build(source)))
    except (OSError, subprocess.CalledProcessError) as error:
        why = (
            error.stderr.decode(errors="replace").strip().partition("\n")[0]
            if isinstance(error, subprocess.CalledProcessError)
            else error
        )
        name = f"{source.parent.name}/{source.name}"
        print(
            f"{name} is not compiled, torch's operations serve instead, slower: {why}",
            file=sys.stderr,
        )
        return None


def _processor() -> str:
    """What -march=native depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return "\n".join(
        [
            platform.machine(),
            platform.processor(),
            *dict.fromkeys(x for x in lines if x.startswith(("model name", "flags", "Features"))),
        ]
    )
