"""``python torchrun.py < CASES``: what torchrun makes of scripts, all of them in one warm agent.

Cases and verdicts are JSON, one a line: ``[script, *arguments]`` in, ``true`` out where torchrun is content.
"""

from __future__ import annotations

import json
import os

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def content(case: list[str]) -> bool:
    try:
        run.main(["--standalone", "--nproc_per_node=2", *case])
    except (ChildFailedError, SystemExit):
        return False
    return True


if __name__ == "__main__":
    cases, told = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what follows is the ranks'
    os.dup2(2, 1)
    for line in cases:
        print(json.dumps(content(json.loads(line))), file=told, flush=True)
