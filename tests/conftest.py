"""One thread for every test: with a busy second core two threads are slower than one."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def silent(capsys: pytest.CaptureFixture[str]):
    """Nothing may be printed on standard error."""
    yield
    assert capsys.readouterr().err == ""
