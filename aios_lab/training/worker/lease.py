"""A run's hold on a worker: the Dask task that keeps others away while ranks of the run come and go there.

It runs in a thread of the worker; orders reach it through functions that ``Client.run`` calls on the worker's
event loop, so that a stop works however busy the worker's threads are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from aios_lab.training.environment import open_store
from aios_lab.training.spec import RANKS, OrderName, RankSpec
from aios_lab.training.worker.supervisor import Supervisor

TICK = 0.1  # seconds between looks at whether the worker is still wanted
_KEPT = 1000  # attempts that were stopped, and leases, that a worker remembers

_K, _V = TypeVar("_K"), TypeVar("_V")

_lock = threading.Lock()
_leases: dict[str, Lease] = {}  # by the key of their task
_early: OrderedDict[str, list[RankSpec]] = OrderedDict()  # ranks of leases that have not begun
_ended: OrderedDict[str, None] = OrderedDict()  # leases
_over: OrderedDict[tuple[str, int], None] = OrderedDict()  # attempts stopped before their rank began here


def supervise(spec: RankSpec, work: bytes) -> None:
    """Hold this worker for the run, and run its rank, and those of later attempts, until it is let go. What
    rank 0 returned lies in the run's folder then."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    task = worker.state.tasks.get(key)

    def wanted() -> bool:
        """False once the leader is gone or let go of the run: the scheduler then cancels the task."""
        return task is None or task.state not in ("cancelled", "released", "forgotten")

    def publish(kind: str, attempt: int, rank: int, body: Any) -> None:
        told = {"run": spec.run_id, "attempt": attempt, "rank": rank, "kind": kind, "body": body}
        worker.log_event(RANKS, told)

    lease = Lease(spec.run_id, work, publish, wanted, max(1, worker.state.nthreads))
    with _lock:
        _leases[str(key)] = lease
        first = [spec, *_early.pop(str(key), [])]
    try:
        lease.run(first)
    finally:
        with _lock:
            del _leases[str(key)]
            _remember(_ended, str(key), None)


def begin(key: str, spec: RankSpec) -> None:
    """Begin the rank of another attempt under a lease, which may be about to begin itself."""
    with _lock:
        lease = _leases.get(key)
        if lease is None:
            if key not in _ended:
                _remember(_early, key, [*_early.get(key, []), spec])
            return
    lease.begin(spec)


def deliver(run_id: str, attempt: int, order: OrderName, values: Mapping[str, Any], rank: int | None) -> int:
    """Give an order to an attempt's ranks on this worker, or to one of them; how many heard it."""
    if order in ("stop", "kill"):
        _remember(_over, (run_id, attempt), None)
    with _lock:
        leases = [lease for lease in _leases.values() if lease.run_id == run_id]
    return sum(lease.deliver(attempt, order, values, rank) for lease in leases)


def release(key: str) -> None:
    """The run has left this worker: let go of it once its ranks here are gone."""
    with _lock:
        lease = _leases.get(key)
    if lease is not None:
        lease.release()


class Lease:
    """One hold, through all attempts that the run makes meanwhile.

    The ranks of two attempts may be there at once: the next one gets ready while the present one trains.
    """

    def __init__(
        self,
        run_id: str,
        work: bytes,
        publish: Callable[[str, int, int, Any], None],
        wanted: Callable[[], bool],
        threads: int,
    ) -> None:
        """``publish`` takes the kind, the attempt, the rank and what is said."""
        self.run_id = run_id
        self._work, self._publish, self._wanted, self._threads = work, publish, wanted, threads
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._rank_threads: list[threading.Thread] = []
        self._ranks: dict[tuple[int, int], Supervisor] = {}  # by attempt and rank
        self._stores: dict[int, Any] = {}  # where the ranks of an attempt meet, which outlive its rank 0

    def run(self, specs: list[RankSpec]) -> None:
        for spec in specs:
            self.begin(spec)
        while self._wanted() and not self._released.wait(TICK):
            pass
        for thread in self._rank_threads:
            thread.join()

    def release(self) -> None:
        self._released.set()

    def begin(self, spec: RankSpec) -> None:
        thread = threading.Thread(target=self._live, args=(spec,), name=f"aios-rank-{spec.rank}", daemon=True)
        with self._lock:
            self._rank_threads.append(thread)
        thread.start()

    def deliver(self, attempt: int, order: OrderName, values: Mapping[str, Any], rank: int | None) -> int:
        with self._lock:
            ranks = [one for key, one in self._ranks.items() if key[0] == attempt and rank in (None, key[1])]
        for one in ranks:
            one.order(order, dict(values))
        if order == "go":  # all ranks of the attempts before have gone
            self._close_stores(lambda other: other < attempt)
        elif order == "kill" and not ranks:
            self._close_stores(lambda other: other == attempt)
        return len(ranks)

    def _live(self, spec: RankSpec) -> None:
        def publish(kind: str, body: Any) -> None:
            self._publish(kind, spec.attempt, spec.rank, body)

        def meet() -> int:
            store, port = open_store(spec.host)
            with self._lock:
                self._stores[spec.attempt] = store
            return port

        ours = replace(spec, threads=self._threads)
        supervisor = Supervisor(ours, self._work, publish, self._wanted, meet)
        key = (spec.attempt, spec.rank)
        with self._lock:
            self._ranks[key] = supervisor
        if (spec.run_id, spec.attempt) in _over:
            supervisor.order("kill", {})
        try:
            supervisor.run()
        finally:
            with self._lock:
                del self._ranks[key]
            if supervisor.killed:
                self._close_stores(lambda other: other == spec.attempt)

    def _close_stores(self, which: Callable[[int], bool]) -> None:
        with self._lock:
            for attempt in [attempt for attempt in self._stores if which(attempt)]:
                del self._stores[attempt]


def _remember(known: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    """The newest few are kept."""
    known[key] = value
    known.move_to_end(key)
    while len(known) > _KEPT:
        known.popitem(last=False)
