"""The exposition parses, and says what the cluster and its slices are."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from aios_lab.engines.base import Spares
from aios_lab.telemetry.prometheus import exposition
from aios_lab.wire import Accelerator, Amounts, Cluster, NodeView, PrincipalShare, Slice, SliceState


def cluster() -> Cluster:
    gpu = Accelerator(index=0, name="A", uuid="GPU-1", memory=100, memory_used=40, utilization=None)
    capacity = Amounts(cpus=4, memory=8_000, gpus=1, gpu_memory=100)
    used = Amounts(cpus=1.5, memory=2_000)
    return Cluster(
        simulated=True,
        nodes=[NodeView(name="here", capacity=capacity, used=used, accelerators=[gpu])],
        capacity=capacity,
        used=used,
        principals=[PrincipalShare(path='cluster/a "b"', weight=100, share=0.25, quota=None, limit=None)],
    )


def one(slice_id: str, state: SliceState, cpu: float | None) -> Slice:
    return Slice(
        id=slice_id,
        state=state,
        dormant=False,
        user="ada",
        project="vision",
        name="a.ipynb",
        kernel_id=None,
        mine=True,
        unit=Amounts(cpus=1),
        workers=2,
        target=3,
        min_workers=1,
        max_workers=4,
        priority="normal",
        reason="",
        created=0,
        since=0,
        cpu_percent=cpu,
        memory_used=77,
    )


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values, these in the order of their labels' names, → value."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_is_there():
    slices = [one("s-1", SliceState.ACTIVE, 50.0), one("s-2", SliceState.REQUESTED, None)]
    found = samples(
        exposition(cluster(), slices, {"slice": Spares(1, hits=5, misses=2), "process": Spares(2)})
    )
    assert found["aios_simulated", ()] == 1
    assert found["aios_capacity", ("cpus",)] == 4
    assert found["aios_used", ("memory",)] == 2_000
    assert found["aios_principal_share", ('cluster/a "b"',)] == 0.25
    assert found["aios_accelerator_memory_used_bytes", ("0", "here", "GPU-1")] == 40
    assert found["aios_slices", ("active",)] == 1
    assert found["aios_slices", ("failed",)] == 0
    assert found["aios_slice_workers", ("vision", "s-1", "ada")] == 2
    assert found["aios_slice_workers_granted", ("vision", "s-1", "ada")] == 3
    assert found["aios_slice_cpu_percent", ("vision", "s-1", "ada")] == 50
    assert found["aios_slice_memory_used_bytes", ("vision", "s-2", "ada")] == 77
    assert found["aios_spares", ("slice",)] == 1
    assert found["aios_spares", ("process",)] == 2
    assert found["aios_spare_hits_total", ("slice",)] == 5
    assert found["aios_spare_misses_total", ("slice",)] == 2


def test_what_is_not_known_has_no_sample():
    text = exposition(cluster(), [one("s-1", SliceState.ACTIVE, None)], {})
    names = {name for name, _ in samples(text)}
    assert "aios_slice_cpu_percent" not in names
    assert "aios_accelerator_utilization_percent" not in names
    assert "aios_accelerator_power_watts" not in names
