"""A main function under torch's own ``record``: ``recorded.py HOW``."""

import json
import os
import sys

from torch.distributed.elastic.multiprocessing.errors import record


@record
def main() -> int:
    if sys.argv[1] == "raise":
        raise ValueError("recorded and raised")
    if sys.argv[1] == "hard":
        with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
            message = {"message": "told in the error file", "extraInfo": {"timestamp": "1"}}
            json.dump({"message": message}, file)
        os._exit(7)
    return 0


if __name__ == "__main__":
    sys.exit(main())
