"""The cluster and its slices in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aios_lab.engines.base import Spares
from aios_lab.wire import Accelerator, Amounts, Cluster, Slice, SliceState

_RESOURCES = ("cpus", "memory", "gpus", "gpu_memory")


def exposition(cluster: Cluster, slices: Sequence[Slice], spares: Mapping[str, Spares]) -> str:
    """All metrics now, as text of exposition format 0.0.4. Names start with ``aios_``; memory is in bytes."""
    registry = CollectorRegistry()
    registry.register(_Now(cluster, slices, spares))
    return generate_latest(registry).decode()


class _Now(Collector):
    def __init__(self, cluster: Cluster, slices: Sequence[Slice], spares: Mapping[str, Spares]) -> None:
        self._cluster = cluster
        self._slices = slices
        self._spares = spares

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "aios_simulated", "1 when the inventory was declared, not found", [([], self._cluster.simulated)]
        )
        yield _amounts("aios_capacity", "What slices may use", self._cluster.capacity)
        yield _amounts("aios_used", "What slices hold", self._cluster.used)
        yield from _of_accelerators(
            [(node.name, accelerator) for node in self._cluster.nodes for accelerator in node.accelerators]
        )
        yield _gauge(
            "aios_principal_share",
            "Weighted dominant share held by a principal",
            [([principal.path], principal.share) for principal in self._cluster.principals],
            ["principal"],
        )
        yield from _of_slices(self._slices)
        yield from _of_spares(self._spares)


def _gauge(
    name: str, text: str, samples: Iterable[tuple[list[str], float]], labels: Sequence[str] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _of_spares(spares: Mapping[str, Spares]) -> Iterator[Metric]:
    ready = [([kind], one.ready) for kind, one in spares.items()]
    yield _gauge(
        "aios_spares", "Slices, and processes for slices that grow, that are kept ready", ready, ["kind"]
    )
    hits = CounterMetricFamily("aios_spare_hits", "How often a spare was there", labels=["kind"])
    misses = CounterMetricFamily("aios_spare_misses", "How often none was there", labels=["kind"])
    for kind, one in spares.items():
        hits.add_metric([kind], one.hits)
        misses.add_metric([kind], one.misses)
    yield from (hits, misses)


def _amounts(name: str, text: str, amounts: Amounts) -> GaugeMetricFamily:
    samples = [([resource], getattr(amounts, resource)) for resource in _RESOURCES]
    return _gauge(name, f"{text}, by resource", samples, ["resource"])


def _of_accelerators(found: list[tuple[str, Accelerator]]) -> Iterator[GaugeMetricFamily]:
    """One family a field; what a device does not report has no sample."""
    fields = (
        ("memory_used", "aios_accelerator_memory_used_bytes", "Memory in use on an accelerator"),
        ("utilization", "aios_accelerator_utilization_percent", "Share of time an accelerator was busy"),
        ("power", "aios_accelerator_power_watts", "Power an accelerator draws"),
    )
    for field, name, text in fields:
        samples = [
            ([node, str(accelerator.index), accelerator.uuid], getattr(accelerator, field))
            for node, accelerator in found
            if getattr(accelerator, field) is not None
        ]
        yield _gauge(name, text, samples, ["node", "index", "uuid"])


def _of_slices(slices: Sequence[Slice]) -> Iterator[GaugeMetricFamily]:
    states = [([str(state)], sum(one.state == state for one in slices)) for state in SliceState]
    yield _gauge("aios_slices", "Slices by state", states, ["state"])
    named = [([one.id, one.user, one.project], one) for one in slices]
    labels = ["slice", "user", "project"]
    running = [(key, one.workers) for key, one in named]
    granted = [(key, one.target) for key, one in named]
    cpu = [(key, one.cpu_percent) for key, one in named if one.cpu_percent is not None]
    memory = [(key, one.memory_used) for key, one in named if one.memory_used is not None]
    yield _gauge("aios_slice_workers", "Workers running now", running, labels)
    yield _gauge("aios_slice_workers_granted", "Workers granted", granted, labels)
    yield _gauge("aios_slice_cpu_percent", "Use of a slice's CPU threads", cpu, labels)
    yield _gauge("aios_slice_memory_used_bytes", "Memory that a slice's processes use", memory, labels)
