"""The kernel's side: the SDK, the %aios magics and the live displays. Loaded as an IPython extension."""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Called by ``%load_ext aios_lab.notebook`` and by kernels that AIOS Lab starts."""
    from aios_lab.notebook.magics import AIOSMagics, complete

    shell.register_magics(AIOSMagics)
    for key in ("%aios", "%%aios"):
        shell.set_hook("complete_command", complete, str_key=key)


def unload_ipython_extension(shell: Any) -> None:
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("aios", None)
