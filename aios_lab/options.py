"""What an administrator may set: ``c.AIOSLab.…`` in the server's configuration."""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp
from traitlets import Dict, Float, Int, List, Type, Unicode, default

from aios_lab.engines.base import GRACE
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.models import places

HERE = frozenset({"data_dir", "keep_environment"})  # what each server has for itself, or shares anyway


class SettingError(Exception):
    """An option of ours has a value that means nothing; the message names the option."""


class Options(ExtensionApp):
    """The options of the extension, each with its help and its range."""

    data_dir = Unicode(help="Folder of the ledger, the runs and the models.").tag(config=True)
    ledger_url = Unicode(
        help="The ledger's SQLite file, as in sqlite:////folder/ledger.db; one in data_dir when empty."
    ).tag(config=True)
    quotas = Unicode(help="YAML file of the quota tree; quotas.yaml in data_dir when empty.").tag(config=True)
    mlflow_uri = Unicode(help="MLflow for runs and models; a SQLite file in data_dir when empty.").tag(
        config=True
    )
    inventory = Dict(
        help="Declare what there is instead of looking, such as {'cpus': 8, 'memory': '32GB', 'gpus': 2}. "
        "Everything then says that it is simulated.",
    ).tag(config=True)
    default_claim = Dict(
        help="What a kernel that asks for nothing gets on its first use, as in {'workers': 1, 'cpus': 1}.",
    ).tag(config=True)
    engine_class = Type(
        LocalEngine,
        klass=object,
        help="What turns grants into Dask clusters: a class that fulfils aios_lab.engines.base.Engine.",
    ).tag(config=True)

    spares = Int(
        1,
        min=0,
        help="Slices that are kept ready: whoever asks for one of the usual size has it at once. Each takes "
        "the memory of an idle Dask scheduler with its workers; none is kept when memory is short.",
    ).tag(config=True)
    max_processes = Int(
        500,
        min=2,
        help="Processes that a worker may be at once, with all that its tasks start. When there are more, "
        "the largest family of them is ended whole: a task that forks without end costs its own worker only.",
    ).tag(config=True)
    spare_processes = Int(
        2,
        min=0,
        help="Processes that are kept ready for slices that grow. Each takes some 40 MB; none is kept when "
        "memory is short.",
    ).tag(config=True)
    preload = List(
        Unicode(),
        # What a rank needs to begin, and to save its model within the second that a stop leaves it.
        [
            "aios_lab.training.rank.process",
            "aios_lab.training.strategies.ddp",
            "aios_lab.training.strategies.fsdp",
            "aios_lab.models.storing",
            "torch.export._trace",
        ],
        help="Modules that every process of a slice has imported when it starts. They must start no threads "
        "and touch no GPU when imported.",
    ).tag(config=True)
    grace = Float(
        GRACE,
        min=0,
        help="Seconds that workers which are taken away get for the tasks they run, before they are ended.",
    ).tag(config=True)
    idle_after_kernel = Float(
        60.0,
        min=0,
        help="A slice lies idle, and gives way to others that wait, once its kernel has run nothing for so "
        "many seconds, and the other two windows have passed as well.",
    ).tag(config=True)
    idle_after_tasks = Float(
        60.0, min=0, help="The same for its Dask tasks: seconds in which none ran or waited."
    ).tag(config=True)
    idle_after_accelerators = Float(
        60.0, min=0, help="The same for its accelerators: seconds in which they were not used."
    ).tag(config=True)
    keep_environment = List(
        Unicode(),
        help="Credentials of the server that kernels keep, such as ['JUPYTERHUB_API_TOKEN']: code in a "
        "notebook may then act as the user of the hub. All others are taken out of a kernel's environment.",
    ).tag(config=True)

    def of_the_broker(self) -> dict[str, str]:
        """What counts at the broker, as text by name: of servers that share one, those of its own."""
        return {
            name: repr(getattr(self, name))
            for name in Options.class_own_traits(config=True)
            if name not in HERE
        }

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(places.data_folder())
