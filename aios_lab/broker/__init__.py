"""The broker: live claims and slices, their ledger and their quotas."""

from aios_lab.broker.broker import Broker
from aios_lab.broker.errors import Refused
from aios_lab.broker.idleness import Windows
from aios_lab.broker.ledger import TTL, Ledger
from aios_lab.broker.quotas import Quotas
from aios_lab.broker.slices import Owner

__all__ = ["TTL", "Broker", "Ledger", "Owner", "Quotas", "Refused", "Windows"]
