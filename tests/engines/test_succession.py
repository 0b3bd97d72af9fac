"""What an engine left is handed over whole, or its heir knows that it is not."""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aios_lab.engines.local.succession import Heritage, receive_heritage
from live import until

COUNT = 150  # more than one message holds


@pytest.fixture
def heritage() -> Iterator[Heritage]:
    heritage = Heritage()
    with socket.socket() as line:
        for pid in range(COUNT):
            heritage.add(pid, line.fileno())
    yield heritage
    for pid in range(COUNT):
        heritage.remove(pid)


def reading_end(pid: int) -> int:
    reading, writing = os.pipe()
    os.write(writing, b"%d" % pid)
    os.close(writing)
    return reading


def descriptors() -> int:
    gc.collect()  # earlier tests may have left some to it
    return len(os.listdir("/proc/self/fd"))


def nothing_more_is_open(before: int) -> None:
    """Earlier tests' threads, which may still end, open and close some, too."""
    until("nothing more is open", lambda: descriptors() <= before)


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """This process may have so many more descriptors open than it has now."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(more + 1)]
    for fd in free:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_all_of_it_comes_and_none_of_it_is_mixed_up(heritage: Heritage):
    before = descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        heritage.hand_over(theirs.fileno(), reading_end)
        found = receive_heritage(ours)
    assert [pid for pid, _, _ in found] == list(range(COUNT))
    for pid, line, end in found:
        assert os.read(end, 10) == b"%d" % pid
        os.close(line)
        os.close(end)
    nothing_more_is_open(before)


def test_nothing_at_all_is_whole_too():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        Heritage().hand_over(theirs.fileno(), reading_end)
        assert receive_heritage(ours) == []


@pytest.mark.parametrize("last", [5, 120])
def test_a_part_is_not_taken_for_all_where_the_giver_has_no_descriptor_left(heritage: Heritage, last: int):
    """In the first message, or in the second; and nothing stays open."""

    def end_while_there_are_descriptors(pid: int) -> int:
        if pid <= last:
            return reading_end(pid)
        with at_most(0):
            return reading_end(pid)

    before = descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs, pytest.raises(OSError, match="Too many open files"):
            heritage.hand_over(theirs.fileno(), end_while_there_are_descriptors)
        with pytest.raises(EOFError, match="only in part"):
            receive_heritage(ours)
    nothing_more_is_open(before)


def test_a_part_is_not_taken_for_all_where_the_heir_has_no_descriptor_left(heritage: Heritage):
    before = descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        heritage.hand_over(theirs.fileno(), reading_end)
        with pytest.raises(EOFError, match="only in part"), at_most(50):
            receive_heritage(ours)
    nothing_more_is_open(before)
