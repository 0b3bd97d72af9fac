"""Ends in one way or another, on one rank or on all: ``exits.py HOW [RANK]``."""

import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path

how, rank = sys.argv[1], os.environ["RANK"]
if sys.argv[2:] not in ([], [rank]):
    sys.exit()

if how.startswith("exit:"):
    sys.exit(eval(how.removeprefix("exit:")))
elif how.startswith("hard:"):
    os._exit(int(how.removeprefix("hard:")))
elif how.startswith("signal:"):
    os.kill(os.getpid(), getattr(signal, how.removeprefix("signal:")))
    time.sleep(60)
elif how == "raise":
    raise ValueError("unhappy")
elif how == "interrupt":
    raise KeyboardInterrupt
elif how == "caught interrupt":
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        print("caught")
elif how == "caught term":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
elif how == "argparse":
    import argparse

    argparse.ArgumentParser().parse_args(["--no-such-option"])
elif how == "thread fails":
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
elif how.startswith("late:"):
    path = os.path.join(how.removeprefix("late:"), rank)

    def write() -> None:
        with open(path, "a") as file:
            file.write("at exit\n")

    def slowly() -> None:
        time.sleep(0.3)
        with open(path, "a") as file:
            file.write("by a thread\n")

    atexit.register(write)
    threading.Thread(target=slowly).start()
elif how == "open executor":
    from concurrent.futures import ThreadPoolExecutor

    ThreadPoolExecutor().submit(print, "nobody shuts me down")
elif how.startswith("late exit:"):
    path = os.path.join(how.removeprefix("late exit:"), rank)
    atexit.register(Path(path).write_text, "at exit\n")
    sys.exit(3)
