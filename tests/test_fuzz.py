"""Three hundred odd inputs to the command line, always the same ones, each answered as promised."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_odd_inputs_are_answered_as_promised() -> None:
    command = [sys.executable, "-m", "benchmarks.robustness", "--inputs", "300", "--check"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as promised: " in done.stdout
    assert "traceback" not in done.stdout, done.stdout
