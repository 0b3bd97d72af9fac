"""A page of plots says what the reports say, and needs nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aios_lab.allocation import Node, Resources
from aios_lab.allocation.simulation import Comparison, compare, plots
from aios_lab.cli import main
from allocation.simulation.test_protocol import JOBS
from allocation.simulation.test_world import job, machine
from allocation.simulation.workloads import write_swf


@pytest.fixture
def compared() -> Comparison:
    """One thread: a long job, then a short one, for each of twelve users."""
    jobs = [job(n, 0, 3600 if n % 2 else 60, 1, user=f"u{n // 2:02d}") for n in range(24)]
    return compare(jobs, [machine(1)], ["fcfs", "sjf"])


def test_waits_rise_to_all_jobs(compared: Comparison) -> None:
    drawn = plots.waits(compared.reports).data
    assert [line.name for line in drawn] == ["fcfs", "sjf"]
    for line, one in zip(drawn, compared.reports.values(), strict=True):
        assert (line.y[0], line.y[-1]) == (0, 1)
        assert line.x[-1] == one.waits[-1] > 0
        assert list(line.x) == sorted(line.x)
        assert line.x[50] == pytest.approx(one.wait.p50)


def test_the_busiest_resource_is_drawn_and_all_of_it_is_used(compared: Comparison) -> None:
    drawn = plots.use(compared.reports).data
    assert [line.name for line in drawn] == ["fcfs, cpu", "sjf, cpu"]
    assert all(part == pytest.approx(1) for line in drawn for part in line.y)
    assert drawn[0].x[-1] == pytest.approx(12 * 3660 / 3600)


def test_shares_of_users_add_up_to_what_was_in_use(compared: Comparison) -> None:
    one = compared.reports["fcfs"]
    drawn = plots.shares("fcfs", one).data
    assert [line.name for line in drawn][-1] == "4 others"
    assert len(drawn) == plots.SHOWN_USERS + 1
    stacked = [sum(column) for column in zip(*(line.y for line in drawn), strict=True)]
    assert stacked[:-1] == pytest.approx(one.in_use["cpu"])


def test_slowdowns_are_those_of_the_table(compared: Comparison) -> None:
    for bars, one in zip(plots.slowdowns(compared.reports).data, compared.reports.values(), strict=True):
        assert bars.y[0] == one.bounded_slowdown.mean
        assert f"{bars.y[0]:,.1f}" in compared.to_table()


def test_the_page_comes_with_all_that_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, page = write_swf(tmp_path / "six <b>.swf", JOBS.values()), tmp_path / "page.html"
    assert main(["simulate", str(trace), "--policy", "fcfs", "--policy", "sjf", "--plot", str(page)]) == 0
    text = page.read_text()
    assert "<title>six &lt;b&gt;.swf</title>" in text
    assert capsys.readouterr().out.splitlines()[-1] in text
    assert text.count('class="plotly-graph-div"') == 5
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(?:https?:)?//""", text)
    assert "prefers-color-scheme: dark" in text
    assert text.count("plotly.js v") == 1


def test_the_protocol_has_no_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, page = write_swf(tmp_path / "six.swf", JOBS.values()), tmp_path / "page.html"
    command = ["simulate", str(trace), "--protocol", "rlscheduler", "--start", "0", "--length", "6"]
    assert main([*command, "--plot", str(page)]) == 1
    assert "name a --policy" in capsys.readouterr().err
    assert not page.exists()


def test_a_cluster_of_nothing_draws_all_the_same() -> None:
    free = job(1, 0, 5, 1)
    nothing = compare([type(free)(1, 0, 5, Resources())], [Node("n0", Resources())], ["fcfs"])
    assert len(plots.use(nothing.reports).data) == 0
    assert "as it was" not in nothing.to_html("nothing")
