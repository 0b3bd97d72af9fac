"""Pauses between tries grow, up to a bound, however long it goes on."""

from __future__ import annotations

from aios_lab.engines.pauses import pause


def test_a_pause_doubles_up_to_the_longest_and_stays_there_for_ever():
    assert [pause(failures, 60.0) for failures in range(8)] == [0, 1, 2, 4, 8, 16, 32, 60]
    assert [pause(failures, 5.0, first=0.5) for failures in (-1, 0, 1, 5)] == [0, 0, 0.5, 5]
    assert pause(10**9, 60.0) == 60.0
