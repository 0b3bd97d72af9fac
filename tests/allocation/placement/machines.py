"""Machines, tasks and workloads for tests: small, with many ties."""

from __future__ import annotations

from hypothesis import strategies as st

from aios_lab.allocation.placement import Machine, Task, Workload

PARTS = (200, 300, 500, 700, 1000)


def machines() -> st.SearchStrategy[Machine]:
    return st.builds(
        Machine,
        cpu=st.integers(0, 9),
        memory=st.integers(0, 5),
        devices=st.lists(st.sampled_from((0, 300, 500, 800, 1000, 1000)), max_size=5).map(tuple),
    )


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    cpu, memory = draw(st.integers(0, 5)), draw(st.integers(0, 2))
    devices = draw(st.integers(0, 3))
    part = 0 if not devices else 1000 if devices > 1 else draw(st.sampled_from(PARTS))
    return Task(cpu, memory, devices, part)


def workloads() -> st.SearchStrategy[Workload]:
    return st.dictionaries(tasks(), st.integers(1, 9), min_size=1, max_size=6).map(Workload)
