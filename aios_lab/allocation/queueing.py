"""Queues with one line before one or many equal servers: what theory says of their waits.

M/M/c: Poisson arrivals, exponential service, c servers, first come first served. Formulas: Erlang (1917);
as in Kleinrock, "Queueing Systems", volume 1 (1975), sections 3.2, 3.5 and 3.6. Erlang's B comes from its
recursion, which is exact to rounding for any number of servers, where factorials overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral

from aios_lab.allocation.fairness.checks import amount


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue in the long run. Times are in the unit of the rates; letters are those of the textbooks.

    A queue that cannot keep up (ρ ≥ 1) grows for ever: ``L``, ``L_q``, ``W`` and ``W_q`` are infinite,
    everybody waits (``C`` is 1), and every ``P_n`` is 0.
    """

    arrival_rate: float
    service_rate: float
    servers: int
    B: float
    """Erlang B: the part of the arrivals that find all servers busy, if none may wait."""
    C: float
    """Erlang C: the part of the arrivals that have to wait."""
    L: float
    """How many are here on average."""
    L_q: float
    """How many wait on average."""
    W: float
    """The mean time from arrival to the end of service."""
    W_q: float
    """The mean wait of all, those who need not wait among them."""

    @property
    def a(self) -> float:
        """The offered load, λ/μ: how many servers are busy on average, in a queue that keeps up."""
        return self.arrival_rate / self.service_rate

    @property
    def rho(self) -> float:
        """The load of each server, λ/(cμ); its utilisation where it is below 1."""
        return self.a / self.servers

    @property
    def c(self) -> int:
        """How many servers."""
        return self.servers

    @property
    def stable(self) -> bool:
        """Whether the servers can keep up."""
        return math.isfinite(self.W)

    def P_n(self, n: int) -> float:
        """The part of the time in which exactly ``n`` are here, waiting or served.

        Raises:
            ValueError: ``n`` is not a whole number of at least 0.
        """
        _whole(n, "n", 0)
        if not self.stable:
            return 0.0
        if not self.a:
            return float(n == 0)
        return math.exp(_log_weight(n, self.a, self.servers) + _log_nobody(self.a, self.servers))

    def wait_quantile(self, part: float) -> float:
        """The wait that ``part`` (0 or more, below 1) of the arrivals do not exceed.

        From P(wait > t) = C e^(−(cμ − λ)t).

        Raises:
            ValueError: ``part`` is not such a number.
        """
        if amount(part, "part") >= 1:
            raise ValueError(f"part is {part!r}: give a number below 1.")
        if part >= 1 - self.C:
            if not self.stable:
                return math.inf
            return math.log(self.C / (1 - part)) / (self.servers * self.service_rate - self.arrival_rate)
        return 0.0


def mmc(arrival_rate: float, service_rate: float, servers: int) -> Queue:
    """M/M/c: ``servers`` of rate ``service_rate`` each, arrivals at ``arrival_rate``, both per unit of time.

    Raises:
        ValueError: the arrival rate is negative, the service rate not positive, ``servers`` not a whole
            number of at least 1, or one of them NaN or infinite.
    """
    arrival_rate = amount(arrival_rate, "The arrival rate")
    service_rate = amount(service_rate, "The service rate")
    if not service_rate:
        raise ValueError("The service rate is 0: give how many a server serves in a unit of time.")
    _whole(servers, "servers", 1)
    load = arrival_rate / service_rate
    blocked, waiting = erlang_b(servers, load), erlang_c(servers, load)
    spare = servers * service_rate - arrival_rate
    # Rounding can make either of the two 0 alone.
    if spare <= 0 or load / servers >= 1:
        return Queue(arrival_rate, service_rate, servers, blocked, 1.0, *[math.inf] * 4)
    wait = waiting / spare
    time = wait + 1 / service_rate
    return Queue(
        arrival_rate,
        service_rate,
        servers,
        B=blocked,
        C=waiting,
        L=arrival_rate * time,
        L_q=arrival_rate * wait,
        W=time,
        W_q=wait,
    )


def mm1(arrival_rate: float, service_rate: float) -> Queue:
    """M/M/1: `mmc` with one server.

    Raises:
        ValueError: as `mmc`.
    """
    return mmc(arrival_rate, service_rate, 1)


def erlang_b(servers: int, load: float) -> float:
    """The part of the arrivals that find all servers busy when none may wait; ``load`` is λ/μ.

    Recursion: B_0 = 1, B_k = a B_{k−1} / (k + a B_{k−1}).

    Raises:
        ValueError: ``servers`` is not a whole number of at least 1, or the load negative, NaN or infinite.
    """
    _whole(servers, "servers", 1)
    load = amount(load, "The load")
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
        if not blocked:
            break
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """The part of the arrivals that have to wait: B / (1 − ρ (1 − B)); all, where the load is too much.

    Raises:
        ValueError: as `erlang_b`.
    """
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked)) if load < servers else 1.0


@lru_cache(maxsize=64)
def _log_nobody(load: float, servers: int) -> float:
    """log P_0. In logarithms, because P_0 itself is 0 to a float from a load of some 700 on."""
    logs = [_log_weight(n, load, servers) for n in range(servers)]
    logs.append(_log_weight(servers, load, servers) - math.log1p(-load / servers))
    top = max(logs)
    return -top - math.log(math.fsum(math.exp(log - top) for log in logs))


def _log_weight(n: int, load: float, servers: int) -> float:
    """log of P_n / P_0."""
    served = min(n, servers)
    return n * math.log(load) - math.lgamma(served + 1) - (n - served) * math.log(servers)


def _whole(value: object, what: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{what} is {value!r}: give a whole number of at least {least}.")
