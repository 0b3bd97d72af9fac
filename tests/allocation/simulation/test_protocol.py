"""Schedules worked out by hand, and the protocol against a slow one written straight down."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_lab.allocation.simulation import evaluate, prepare, read_trace
from aios_lab.allocation.simulation.orders import ORDERS
from aios_lab.allocation.simulation.protocol import play
from allocation.simulation.workloads import Row, busy, figures, slowly, work, write_swf

# Four processors. A and B run first whatever the order: each is alone in the queue when it is decided on, and
# a decision is kept. From 1010, when B starts, nothing has room until 1020; what follows is the order's.
#
#   1000      1010      1020
#   AAAAAAAAAABBBBBBBBBB
#   AAAAAAAAAABBBBBBBBBB
#   AAAAAAAAAABBBBBBBBBB
#   ······fff·BBBBBBBBBB          f: where F goes with backfill, since 1006 + 3 is before 1010
JOBS = {
    "A": Row(1000, 10, 10, 3),
    "B": Row(1001, 10, 10, 4),
    "C": Row(1002, 8, 8, 4),
    "D": Row(1003, 6, 6, 3),
    "E": Row(1005, 20, 20, 1),
    "F": Row(1006, 3, 3, 1),
}
# Starts after 1020 without backfill, and with it, where F was at 1006. The charts begin at 1020.
BY_HAND = {
    # CCCCCCCCDDDDDDFFF               CCCCCCCCDDDDDD
    # CCCCCCCCDDDDDD                  CCCCCCCCDDDDDD
    # CCCCCCCCDDDDDD                  CCCCCCCCDDDDDD
    # CCCCCCCCEEEEEEEEEEEEEEEEEEEE    CCCCCCCCEEEEEEEEEEEEEEEEEEEE
    "fcfs": ({"C": 0, "D": 8, "E": 8, "F": 14}, {"C": 0, "D": 8, "E": 8}),
    # DDDDDDCCCCCCCCEEEEEEEEEEEEEEEEEEEE    DDDDDDCCCCCCCCEEEEEEEEEEEEEEEEEEEE
    # DDDDDDCCCCCCCC                        DDDDDDCCCCCCCC
    # DDDDDDCCCCCCCC                        DDDDDDCCCCCCCC
    # FFF···CCCCCCCC                        ······CCCCCCCC      E would end after C's shadow time, 1026
    "sjf": ({"F": 0, "D": 0, "C": 6, "E": 14}, {"D": 0, "C": 6, "E": 14}),
    # DDDDDD·················CCCCCCCC    DDDDDD··············CCCCCCCC
    # DDDDDD·················CCCCCCCC    DDDDDD··············CCCCCCCC
    # DDDDDD·················CCCCCCCC    DDDDDD··············CCCCCCCC
    # FFFEEEEEEEEEEEEEEEEEEEECCCCCCCC    EEEEEEEEEEEEEEEEEEEECCCCCCCC    areas: F 3, D 18, E 20, C 32
    "saf": ({"F": 0, "D": 0, "E": 3, "C": 23}, {"D": 0, "E": 0, "C": 20}),
    # DDDDDDCCCCCCCCEEEEEEEEEEEEEEEEEEEE    DDDDDDCCCCCCCCEEEEEEEEEEEEEEEEEEEE
    # DDDDDDCCCCCCCC                        DDDDDDCCCCCCCC
    # DDDDDDCCCCCCCC                        DDDDDDCCCCCCCC      At 1010: D (7/6)³·3 = 4.8, C 4, F 2.4, E 0.02.
    # FFF···CCCCCCCC                        ······CCCCCCCC      At 1020: F 102, C 46, E 0.4.
    "wfp3": ({"D": 0, "F": 0, "C": 6, "E": 14}, {"D": 0, "C": 6, "E": 14}),
    # FFFDDDDDD···········CCCCCCCC    DDDDDD··············CCCCCCCC    One processor has a logarithm of next to
    # EEEEEEEEEEEEEEEEEEEECCCCCCCC    DDDDDD··············CCCCCCCC    nothing: F, then E. At 1020 D has
    # ···DDDDDD···········CCCCCCCC    DDDDDD··············CCCCCCCC    17/9.5 = 1.8, and C 18/16 = 1.1; D is
    # ···DDDDDD···········CCCCCCCC    EEEEEEEEEEEEEEEEEEEECCCCCCCC    blocked while F runs.
    "unicep": ({"F": 0, "E": 0, "D": 3, "C": 20}, {"E": 0, "D": 0, "C": 20}),
    # FFFDDDDDD···········CCCCCCCC    DDDDDD··············CCCCCCCC    On top of 870·log₁₀ 1002:
    # EEEEEEEEEEEEEEEEEEEECCCCCCCC    DDDDDD··············CCCCCCCC    C 3.61, D 2.33 + 0.38,
    # ···DDDDDD···········CCCCCCCC    DDDDDD··············CCCCCCCC    E 1.30 + 1.13, F 0.48 + 1.51.
    # ···DDDDDD···········CCCCCCCC    EEEEEEEEEEEEEEEEEEEECCCCCCCC
    "f1": ({"F": 0, "E": 0, "D": 3, "C": 20}, {"E": 0, "D": 0, "C": 20}),
}


@pytest.mark.parametrize("backfill", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_by_hand(order: str, backfill: bool) -> None:
    after = BY_HAND[order][backfill]
    expected = {"A": 1000, "B": 1010} | ({"F": 1006} if backfill else {})
    expected |= {name: 1020 + seconds for name, seconds in after.items()}
    played = play(work(4, *JOBS.values()), ORDERS[order], backfill=backfill)
    assert dict(zip(JOBS, played.starts, strict=True)) == expected


@pytest.mark.parametrize(
    ("order", "backfill", "after"),
    [
        # Waits of -1 - submit: E, C, D, F by -(wait/requested)³·processors, 0.1, 7.9, 14 and 38 millions.
        ("wfp3", False, {"E": 0, "C": 20, "D": 28, "F": 28}),
        # C waits for E, until 1040; D is done by 1026.
        ("wfp3", True, {"E": 0, "D": 0, "C": 20}),
        # C 63, D 106, and E and F, of one processor, last: as first come, first served.
        ("unicep", False, BY_HAND["fcfs"][0]),
        ("unicep", True, BY_HAND["fcfs"][1]),
    ],
)
def test_the_published_mistake_by_hand(order: str, backfill: bool, after: dict[str, int]) -> None:
    played = play(work(4, *JOBS.values()), ORDERS[order], backfill=backfill, defect=True)
    starts = dict(zip(JOBS, played.starts, strict=True))
    assert {name: starts[name] - 1020 for name in after} == after


def test_slowdown_and_utilisation_by_hand() -> None:
    """One processor: 20 s from 0, 5 s from 10, which waits for 10 s, and 100 s from 25, at once."""
    rows = [Row(0, 20, 20, 1), Row(10, 5, 5, 1), Row(25, 100, 100, 1)]
    played = play(work(1, *rows), ORDERS["fcfs"], backfill=False)
    assert played.starts == (0, 20, 25)
    assert played.slowdown == pytest.approx((1 + (10 + 5) / 10 + 1) / 3)
    # Until the last start, as published: 125 s of work in 25 s.
    assert played.utilisation == 5
    assert play(work(1, rows[0]), ORDERS["fcfs"], backfill=False).utilisation is None


HEAD = (Row(0, 10, 10, 3), Row(1, 10, 10, 4))


@pytest.mark.parametrize(
    ("requested", "start"),
    # AAAAAAAAAABBBBBBBBBB    The fourth processor is free until 10, when B starts.
    # ··xxxxxxx·BBBBBBBBBB    7 s from 2 end at 9. 8 s would end at 10, and the rule is strict.
    [(7, 2), (8, 20)],
)
def test_backfill_ends_before_the_shadow_time(requested: int, start: int) -> None:
    played = play(work(4, *HEAD, Row(2, 5, requested, 1)), ORDERS["fcfs"], backfill=True)
    assert played.starts == (0, 10, start)


def test_backfill_counts_no_spare_processors() -> None:
    """Six processors: B needs four, and EASY would see that a long job of one does not delay it."""
    played = play(work(6, *HEAD, Row(2, 99, 99, 1)), ORDERS["fcfs"], backfill=True)
    assert played.starts == (0, 10, 10)


def test_the_shadow_time_is_worked_out_once() -> None:
    """
    aaaaa·xxxxxx…            a said 100 s and is gone after 10; b needs all from 100 by what was said, and x,
    bbbbbbbbbbbbbbbbbbbbb    60 s, may go at 10, which a shadow time worked out anew (50) would forbid.
    """
    rows = [Row(0, 10, 100, 2), Row(0, 50, 50, 2), Row(1, 5, 5, 4), Row(2, 60, 60, 2)]
    played = play(work(4, *rows), ORDERS["fcfs"], backfill=True)
    assert played.starts == (0, 0, 70, 10)


def test_a_job_that_was_chosen_keeps_its_turn() -> None:
    """A shorter one that comes while the chosen one is blocked does not overtake it."""
    rows = [Row(0, 10, 10, 2), Row(1, 30, 30, 2), Row(2, 1, 1, 2)]
    assert play(work(2, *rows), ORDERS["sjf"], backfill=False).starts == (0, 10, 40)


rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 30), st.integers(1, 40), st.integers(1, 6)),
    min_size=2,
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(rows, st.sampled_from(sorted(ORDERS)), st.booleans(), st.booleans())
def test_as_the_slow_one_has_it(
    drawn: list[tuple[int, int, int, int]], order: str, backfill: bool, defect: bool
) -> None:
    now, jobs = 5, []
    for gap, run, requested, processors in drawn:
        now += gap
        jobs.append(Row(now, run, requested, processors))
    played = play(work(6, *jobs), ORDERS[order], backfill=backfill, defect=defect)
    assert list(played.starts) == slowly(jobs, 6, order, backfill, defect)


def test_the_table_of_a_busy_trace(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The short form of the published table: ten sequences, all cells, from the file to the figures."""
    rows, starts, length = busy(1, 400, 16), (3, 250, 40, 90, 120, 7, 160, 200, 300, 220), 90
    path = write_swf(tmp_path_factory.mktemp("trace") / "busy.swf", rows, 16)
    table = evaluate(prepare(read_trace(path)), defect=True, starts=starts, length=length)
    for row in rows:
        row.requested = row.run if row.requested == -1 else row.requested
    assert len(table.cells) == 2 * (len(ORDERS) + 2)
    for cell in table.cells:
        slow = [figures(rows[i : i + length], 16, cell.order, cell.backfill, cell.defect) for i in starts]
        assert cell.slowdowns == pytest.approx([slowdown for slowdown, _ in slow])
        assert cell.utilisations == pytest.approx([used for _, used in slow])
        assert cell.slowdown == pytest.approx(sum(slowdown for slowdown, _ in slow) / 10)
        assert cell.utilisation == pytest.approx(sum(used for _, used in slow) / 10)
        low, high = cell.interval()
        assert min(cell.slowdowns) <= low < cell.slowdown < high <= max(cell.slowdowns)


def test_the_interval_of_the_mean() -> None:
    """Of two values, resamples have the lower one twice in a quarter of the cases, and so the higher."""
    table = evaluate(
        work(1, Row(0, 10, 10, 1), Row(1, 10, 10, 1), Row(100, 10, 10, 1)), ["fcfs"], starts=[0, 1], length=2
    )
    assert table.cells[0].slowdowns == (pytest.approx(1.45), 1)
    assert table.cells[0].interval() == (1, pytest.approx(1.45))


def test_what_the_protocol_makes_of_a_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    """By number; nothing that ran 0 s; unknown run times are 10 s, unknown estimates the run time."""
    path = tmp_path_factory.mktemp("trace") / "log.swf"
    path.write_text(
        "; MaxNodes: 8\n"
        "3 50 -1 20 2 -1 -1 4 -1 -1 1 1 1 -1 1 -1 -1 -1\n"
        "1 10 -1 -1 2 -1 -1 1 60 -1 5 1 1 -1 1 -1 -1 -1\n"
        "2 10 -1 0 2 -1 -1 1 60 -1 5 1 1 -1 1 -1 -1 -1\n"
        "4 50 -1 -1 1 -1 -1 -1 -1 -1 0 1 1 -1 1 -1 -1 -1\n"
    )
    prepared = prepare(read_trace(path))
    assert prepared.processors == 8
    assert prepared.ids == (1, 3, 4)
    assert prepared.jobs == ((10, 60, 2), (50, 20, 4), (50, -1, 1))
    assert prepared.run == (10, 20, 10)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"orders": ["fcfs", "lifo"]}, "There is no order 'lifo'; there are fcfs, "),
        ({"orders": []}, "No order is named"),
        ({"starts": []}, "No sequence is named"),
        ({"starts": [0, 4]}, "A sequence of 3 jobs from job 4 needs 7 jobs that ran, and a test has 6"),
        ({"starts": [-1]}, "A sequence of 3 jobs from job -1"),
        ({"length": 0}, "A sequence of 0 jobs"),
    ],
)
def test_what_cannot_be_evaluated(change: dict[str, object], problem: str) -> None:
    options: dict[str, object] = {"orders": ["fcfs"], "starts": [0], "length": 3} | change
    with pytest.raises(ValueError, match=problem):
        evaluate(work(4, *JOBS.values()), **options)  # type: ignore[arg-type]
