"""Pods of Alibaba's GPU cluster trace of 2023 (cluster-trace-gpu-v2023, Weng et al., USENIX ATC 2023)."""

from __future__ import annotations

from collections.abc import Iterable

from aios_lab.allocation.simulation.traces.numbers import Place
from aios_lab.allocation.simulation.traces.table import read_rows
from aios_lab.allocation.simulation.traces.trace import MOST, UNKNOWN, Shape, Trace, TraceBuilder
from aios_lab.allocation.types import Resources

NEEDED = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "creation_time", "deletion_time")
OPTIONAL = ("scheduled_time", "gpu_spec", "qos", "user")


def read_alibaba(lines: Iterable[str], source: str, first: int | None = None, most: int = MOST) -> Trace:
    """Read one job a pod: ``num_gpu`` × ``gpu_milli``, milli-CPU and MiB as they stand there.

    A pod ran from scheduled_time to deletion_time; one that was never scheduled is taken to run as long as
    it was there, from creation to deletion, with a note. Without a deletion_time the run time is unknown. The
    models in gpu_spec are parted by "|"; the class in qos is the queue; ids count the pods from 0.

    Only the ``first`` so many jobs are read, if that is given.

    Raises:
        ValueError: ``first`` is less than 1.
        TraceError: there are more than ``most`` jobs, a column is missing, a row has too many or too few
            fields, a field is no number, not finite, negative or not whole, or times do not follow each
            other.
    """
    builder = TraceBuilder(source, "alibaba", first, most)
    for id, (place, texts) in enumerate(read_rows(lines, source, NEEDED, OPTIONAL)):
        cpu, memory, gpus, gpu_milli, created, deleted, scheduled, spec, qos, user = texts
        submit = place.amount("creation_time", created)
        builder.add(
            id=id,
            submit=submit,
            run=_run(builder, place, submit, scheduled, deleted),
            requested=UNKNOWN,
            count=1,
            shape=_shape(place, cpu, memory, gpus, gpu_milli, spec),
            user=user,
            queue=qos,
            row=place.row,
        )
        if builder.full:
            break
    return builder.finish()


def _shape(place: Place, cpu: str, memory: str, gpus: str, gpu_milli: str, spec: str) -> Shape:
    devices, part = place.whole("num_gpu", gpus), place.whole("gpu_milli", gpu_milli)
    if part > 1000:
        raise place.wrong("gpu_milli", f"{part} is more than the 1000 of a whole GPU.")
    if devices > 1 and part != 1000:
        raise place.wrong("gpu_milli", f"{part} of each of {devices} GPUs; several are whole, 1000 each.")
    unit = Resources(place.whole("cpu_milli", cpu), place.whole("memory_mib", memory), devices * part)
    return unit, tuple(model for model in spec.split("|") if model)


def _run(builder: TraceBuilder, place: Place, submit: float, scheduled: str, deleted: str) -> float:
    if not deleted:
        return UNKNOWN
    end = place.amount("deletion_time", deleted)
    if not scheduled:
        builder.note(
            "the pod was never scheduled; it is taken to run as long as it was there, creation to deletion",
            place.row,
        )
    start = place.amount("scheduled_time", scheduled) if scheduled else submit
    if start < submit:
        raise place.wrong("scheduled_time", f"{scheduled} is before the creation_time, {submit:g}.")
    if end < start:
        raise place.wrong("deletion_time", f"{deleted} is before the pod began, {start:g}.")
    return end - start
