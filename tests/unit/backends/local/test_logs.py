"""A job's log on disk, while it grows."""

from __future__ import annotations

from pathlib import Path

from orchestrator.backends.local.logs import JobLog


def test_what_a_running_job_has_written_since_comes_and_no_line_twice(tmp_path: Path) -> None:
    out, log = tmp_path / "stdout", tmp_path / "log"
    living = [True]
    reading = JobLog([out, log], lambda: living[0])
    assert list(reading) == []
    out.write_text("one\ntwo\nthr")
    assert list(reading) == ["one", "two"]
    log.write_text("warning\n")
    with out.open("a") as file:
        file.write("ee\n\nfo")
    assert list(reading) == ["three", "", "warning"]
    assert list(reading) == []
    living[0] = False
    assert list(reading) == ["fo"]
    assert list(reading) == []


def test_a_reader_that_stops_half_way_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "stdout"
    out.write_text("one\ntwo\n")
    reading = JobLog([out], lambda: True)
    assert next(iter(reading)) == "one"
    assert list(reading) == ["two"]


def test_a_line_longer_than_any_buffer_comes_in_parts(tmp_path: Path) -> None:
    out = tmp_path / "stdout"
    out.write_bytes(b"x" * (3 << 20))
    reading = JobLog([out], lambda: True)
    assert sum(len(line) for line in reading) == 3 << 20
