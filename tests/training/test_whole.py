"""Files that are there as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios_lab.training import whole


def test_a_file_holds_the_new_content_and_its_folder_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    whole.write(file, "old")
    whole.write(file, "neu: ü")
    assert file.read_text(encoding="utf-8") == "neu: ü"
    whole.write(file, b"\xff", mode=0o600)
    assert file.read_bytes() == b"\xff"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(IsADirectoryError):
        whole.write(taken, "text")
    with pytest.raises(FileNotFoundError):
        whole.write(tmp_path / "nowhere" / "run.json", "text")
    assert list(tmp_path.iterdir()) == [taken]
