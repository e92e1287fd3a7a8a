"""Tables and curves that cannot be written are told before the pictures are looked at."""

import json
from pathlib import Path

import pytest
from glimpse_command import glimpse, refused
from looker import call, random_picture, save_run

from core import files
from core.errors import InputError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random_picture().save("noise.png")
    Path("folder").mkdir()
    return save_run(tmp_path / "run")


@pytest.mark.parametrize("table", ["folder", "noise.png/table.csv"])
def test_show_draws_nothing_for_a_table_that_cannot_be_written(
    table: str, run: Path, capfd: pytest.CaptureFixture[str]
):
    assert call(run, "noise.png", "--csv", table) == 2
    assert table.partition("/")[0] in refused(capfd)
    assert not Path("scanpaths").exists()


def test_the_folder_of_a_table_is_made(run: Path):
    assert call(run, "noise.png", "--csv", "new/deeper/table.csv") == 0
    assert Path("new/deeper/table.csv").read_text().startswith("image,sample,t,x,y")


def test_json_is_printed_although_the_disk_is_full(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fill_up(file: Path, rows: object) -> None:
        raise InputError(f"cannot write {file}: No space left on device")

    monkeypatch.setattr("glimpse.show._write_table", fill_up)
    assert call(run, "noise.png", "--csv", "table.csv", "--json") == 2
    out, err = capsys.readouterr()
    assert "No space left" in err
    assert json.loads(out)[0]["file"] == "noise.png"


def test_evaluate_reads_no_data_for_a_curve_that_cannot_be_written(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr("glimpse.evaluate.load")
    assert glimpse("evaluate", run, "--curve", "folder") == 2
    assert "cannot write folder: it is a folder" in refused(capfd)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"table.csv: its folder is not writable"):
        files.prepare_target(tmp_path / "table.csv")
