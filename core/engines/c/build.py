"""C sources of this project, compiled at first use with the machine's C compiler and loaded.

A library is kept in the user's cache under a name that holds two checksums: of what it was made
from (source, flags, compiler, processor) and of its own bytes. A file that was cut short or altered
is noticed before it is loaded, and made anew. Where there is no compiler, or nothing can be written
or loaded, one line says so, and callers compute the same with torch's operations.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from core.cache import user_cache
from core.errors import InputError
from core.files import replace

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-shared", "-fPIC")
PATIENCE = 60.0  # seconds for the compiler
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class BuildError(Exception):
    """The library cannot be had; the text says why, in a line."""


@functools.cache
def load(source: Path) -> ctypes.CDLL | None:
    """Return the loaded library, or None where it cannot be had.

    In that case one line on standard error says why, once.
    """
    try:
        return ctypes.CDLL(str(build(source)))
    except (BuildError, InputError, OSError) as error:
        name = f"{source.parent.name}/{source.name}"
        note = "is not compiled, torch's operations serve instead, slower"
        print(f"{name} {note}: {error}", file=sys.stderr)
        return None


def build(source: Path) -> Path:
    """Return the compiled library, from the cache or made now.

    Several processes may do this at once: each writes a file of its own and renames it into place.

    Raises:
        BuildError: there is no compiler, it fails, or it does not return.
        InputError, OSError: the library cannot be written.
    """
    cc = compiler()
    if cc is None:
        raise BuildError("no C compiler (cc, gcc or clang) was found")
    folder = _private_folder(user_cache("compiled"))
    stem = f"{source.stem}-{_checksum_of_inputs(source, cc)}"
    for path in folder.glob(f"{stem}-*.so"):
        if _is_sound(path):
            return path
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as made_in:
        library = Path(made_in) / "library.so"
        _run([cc, *FLAGS, "-o", str(library), str(source), "-lm"])
        content = library.read_bytes()
    path = folder / f"{stem}-{_checksum(content)}.so"
    replace(path, content, mode=0o700)
    return path


def compiler() -> str | None:
    """Return the path of the machine's C compiler: $CC, cc, gcc or clang."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path:
            return path
    return None


def _private_folder(folder: Path) -> Path:
    """Make the folder, or check it: code is loaded from it, so nobody else may write there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise BuildError(f"{folder} belongs to another user: set XDG_CACHE_HOME")
    if status.st_mode & OTHERS_WRITE:
        folder.chmod(0o700)
    return folder


def _is_sound(path: Path) -> bool:
    """Whether a library is our own file, whole, and nobody else could have written it."""
    status = path.lstat()
    ours = status.st_uid == os.getuid() and not status.st_mode & OTHERS_WRITE
    if not (stat.S_ISREG(status.st_mode) and ours):
        return False
    return path.stem.endswith(f"-{_checksum(path.read_bytes())}")


def _checksum_of_inputs(source: Path, cc: str) -> str:
    """Return a checksum of all that the compiled code depends on."""
    included = [*source.parent.glob("*.[ch]"), *Path(__file__).parent.glob("*.h")]
    parts = [path.read_bytes() for path in (source, *sorted(included))]
    parts.append(" ".join(FLAGS).encode())
    parts.append(cc.encode())
    parts.append(_run([cc, "--version"]))
    parts.append(_processor().encode())
    return _checksum(b"|".join(parts))


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _run(command: list[str]) -> bytes:
    """Run a compiler and return its output; end it, and what it started, after `PATIENCE`."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                line = f"{command[0]} did not return within {PATIENCE:.0f} seconds"
                raise BuildError(line) from None
            raise
    if process.returncode:
        first = errors.decode(errors="replace").strip().partition("\n")[0]
        raise BuildError(first or f"{command[0]} failed")
    return output


def _processor() -> str:
    """Return what -march=native depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = ("model name", "flags", "Features")
    features = dict.fromkeys(line for line in lines if line.startswith(names))
    return "\n".join([platform.machine(), platform.processor(), *features])
