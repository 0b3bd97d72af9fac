"""What a script finds around it, as facts that both launchers' ranks must agree on."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import helper  # lies beside this script

NAMES = [
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "ROLE_RANK",
    "ROLE_NAME",
    "ROLE_WORLD_SIZE",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_USE_AGENT_STORE",
    "OMP_NUM_THREADS",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "SENTINEL_OF_THE_LAUNCHER",
]

SIGNALS = signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGHUP

assert os.environ["MASTER_ADDR"]
assert 0 < int(os.environ["MASTER_PORT"]) < 65536
assert os.environ["TORCHELASTIC_RUN_ID"]
error_file = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
assert error_file.parent.is_dir()
assert not error_file.exists()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

facts = {
    **{name: os.environ[name] for name in NAMES},
    "argv": sys.argv[1:],
    "argv0": Path(sys.argv[0]).name,
    "file": Path(__file__).name,
    "name": __name__,
    "main is this": sys.modules["__main__"].__dict__ is globals(),
    "spec": __spec__ is None,
    "package": __package__ or "",
    "beside": helper.WORD,
    "folder is on the path": str(Path(__file__).parent) in sys.path,
    "cwd": os.getcwd(),
    "elastic": dist.is_torchelastic_launched(),
    "initialized": dist.is_initialized(),
    "main thread": threading.current_thread() is threading.main_thread(),
    "threads": [t.name for t in threading.enumerate() if not t.daemon],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "signals": {s.name: str(signal.getsignal(s)) for s in SIGNALS},
    "leads its group": os.getpgrp() == os.getpid() == os.getsid(0),
    "tty": [sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty()],
    "streams": [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()],
    "seeded": torch.initial_seed() == torch.default_generator.initial_seed(),
    "gradients": torch.is_grad_enabled(),
    "dtype": str(torch.get_default_dtype()),
}  # fmt: skip
Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps(facts))
