"""The kernel's own process sees its slice's GPUs and no others."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aios_lab.engines.base import Credentials
from aios_lab.engines.local import orders, worker
from aios_lab.notebook.devices import show
from live import serving

SHOWN = "import os; print([os.environ.get(n) for n in ('AIOS_DEVICES', 'CUDA_VISIBLE_DEVICES')])"

# An engine that has two accelerators which no administrator declared, on a machine without any.
ENGINE = """
import sys
sys.path.insert(0, {tests!r})
from memory_engine import MemoryEngine

class Gpus(MemoryEngine):
    def __init__(self, inventory):
        super().__init__(threads=4, gpus=2)

c.AIOSLab.engine_class = Gpus
"""


def test_kernels_begin_without_devices_and_learn_of_those_of_their_slice(tmp_path: Path) -> None:
    tests = Path(__file__).parent.parent / "broker"
    with serving(tmp_path, config=ENGINE.format(tests=str(tests))) as server:
        kernel = server.kernel()
        assert kernel.run(SHOWN) == "['', '']\n"
        kernel.run("import aios_lab as aios; aios.request(workers=2, gpus=1)")
        kernel.run("from aios_lab.notebook.server import Server; server = Server.from_environment()")
        kernel.run("_, found = server.send('GET', f'slices/{server.slice_id}/connection?wait=20')")
        assert kernel.run("print(found['devices'])") == "[0, 1]\n"
        kernel.run("from aios_lab.notebook.devices import show; show([0, 1])")
        assert kernel.run(SHOWN) == "['0,1', '0,1']\n"
        kernel.run("aios.release()")
        assert kernel.run(SHOWN) == "['', '']\n"
        with serving(tmp_path / "2", config=ENGINE.format(tests=str(tests)), beside=server) as second:
            assert second.kernel().run(SHOWN) == "['', '']\n", "nor does one of a server that follows"


def test_a_machine_without_gpus_is_left_alone(tmp_path: Path) -> None:
    config = "c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB', 'gpus': 2}\n"
    with serving(tmp_path, config=config, env={"CUDA_VISIBLE_DEVICES": "7"}) as server:
        assert server.kernel().run(SHOWN) == "[None, '7']\n"


class Begun:
    """Torch after its first use of a GPU."""

    class cuda:
        @staticmethod
        def is_initialized() -> bool:
            return True


def test_what_cuda_has_begun_with_stays_and_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_DEVICES", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    show([1, 3])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"
    monkeypatch.setitem(sys.modules, "torch", Begun)
    with pytest.warns(UserWarning, match=r"began with \(1,3\).*has 0 now.*restart the kernel"):
        show([0])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"
    show([0])  # said once


def start(devices: tuple[int, ...]) -> orders.Start:
    return orders.Start("s-1", Credentials("", "", ""), "/x", "tls://x", "0", 2, 1 << 30, devices)


@pytest.mark.parametrize(("devices", "seen"), [((), ""), ((1,), "1"), ((0, 3), "0,3")])
def test_a_worker_sees_its_own_devices(devices: tuple[int, ...], seen: str) -> None:
    environment = worker.environment({"CUDA_VISIBLE_DEVICES": "7"}, start(devices))
    assert environment["CUDA_VISIBLE_DEVICES"] == seen
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_a_worker_without_devices_needs_nothing_of_dask_cuda() -> None:
    code = (
        "import sys; from aios_lab.engines.local import orders, worker;"
        "from aios_lab.engines.base import Credentials;"
        "start = orders.Start('s', Credentials('', '', ''), '/x', 'tls://x', '0', 2, 1 << 30);"
        "print(worker.options(start), 'dask_cuda' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'memory_limit': 1073741824} False\n"


def test_a_worker_on_a_device_is_what_dask_cuda_makes_of_it_or_says_what_is_missing() -> None:
    options: dict[str, Any]
    if importlib.util.find_spec("cuda.bindings") is None:
        with pytest.raises(worker.EngineError, match=r"aios-lab\[cuda12\]"):
            worker.options(start((0,)))
        return
    options = worker.options(start((0,)))
    assert options["memory_limit"] == 1 << 30
    assert {"plugins", "preload", "data"} <= options.keys()
