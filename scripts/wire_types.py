"""Write ``src/wire.ts`` from the wire types, or check that it is up to date.

Run inside the environment, with Node on PATH: ``python scripts/wire_types.py [--check]``.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from aios_lab import wire

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "wire.ts"
# What clients send may leave out what has a default; in what they receive every field is present.
SENT_BY_CLIENTS = ("Request", "Update", "Metric", "Subscribe")


class _Schema(GenerateJsonSchema):
    """Fields without titles, which would each become a TypeScript type; answers always carry every field."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)


def _models() -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    kinds = [kind for kind in vars(wire).values() if isinstance(kind, type) and issubclass(kind, wire.Wire)]
    return [
        (kind, "validation" if kind.__name__.endswith(SENT_BY_CLIENTS) else "serialization")
        for kind in kinds
        if kind is not wire.Wire
    ]


def _schema() -> dict[str, Any]:
    """One JSON schema with every wire type in its ``$defs``."""
    _, schema = models_json_schema(_models(), schema_generator=_Schema)
    double = sorted(name for name in schema["$defs"] if name.endswith(("-Input", "-Output")))
    if double:
        raise SystemExit(
            f"{', '.join(double)}: a type that clients both send and receive has two shapes when it has "
            "defaults. Name what is only sent after SENT_BY_CLIENTS in scripts/wire_types.py, or leave out "
            "the defaults."
        )
    return dict(schema)


def generate() -> str:
    """Return the text of ``src/wire.ts``."""
    script = ROOT / "scripts" / "wire_types.mjs"
    done = subprocess.run(
        ["node", str(script)],
        input=json.dumps(_schema()),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            "json-schema-to-typescript failed (see above). Is node_modules there? `make test` installs it."
        )
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail with a diff when stale")
    check = parser.parse_args().check
    new = generate()
    old = TARGET.read_text() if TARGET.exists() else ""
    if new == old:
        return 0
    if not check:
        TARGET.write_text(new)
        print(f"wrote {TARGET.relative_to(ROOT)}")
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(old.splitlines(True), new.splitlines(True), "src/wire.ts", "from aios_lab/wire")
    )
    print("src/wire.ts is not what aios_lab/wire says: run `make types` and commit it.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
