"""The variables of the environment that the project's modules may read, and an `os.environ` that holds them to it.

A library may read what it likes: hundreds of names, none of which the project's code has asked for.
"""

from __future__ import annotations

import os
import sys

from retune.pipeline.strict.guard import PACKAGES, Guard

NAMES = {
    "CUBLAS_WORKSPACE_CONFIG": "set, unless it is, for results that repeat",
    "CUDA_VISIBLE_DEVICES": "which of the machine's GPUs a stage gets",
    "DVC_STAGE": "whether DVC started the stage, which ends with it then",
    "GLOO_SOCKET_IFNAME": "the network between the processes of a training",
    "GOMP_SPINCOUNT": "how long threads wait for the next work",
    "HF_ENDPOINT": "a mirror of a hub, whose files are checked by hash",
    "MODELSCOPE_API_TOKEN": "who asks a hub",
    "MODELSCOPE_ENDPOINT": "a mirror of a hub, whose files are checked by hash",
    "OMP_NUM_THREADS": "how many cores a stage gets",
    "OMP_WAIT_POLICY": "how long threads wait for the next work",
    "OPENAI_API_KEY": "who asks an endpoint",
    "RETUNE_API_KEY": "who asks an endpoint",
    "RETUNE_CACHE": "where downloads are kept, by hash",
    "THP_MEM_ALLOC_ENABLE": "how memory is divided into pages",
    **dict.fromkeys(
        ("LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"),
        "taken out of the environment, so that no library reads it",
    ),
}
"""Variable -> what it says, which changes no result."""

THROUGH = ("os", "collections.abc", "_collections_abc", __name__)
"""Modules between `os.environ` and the one that asks."""


def watch(guard: Guard) -> None:
    """Let `os.environ` refuse what the project's modules may not read; `guard.active` ends it."""

    def check(key: object) -> None:
        frame = sys._getframe(2)
        while frame.f_back and frame.f_globals.get("__name__") in THROUGH:
            frame = frame.f_back
        module = _name(frame.f_globals)
        if guard.active and isinstance(key, str) and module.partition(".")[0] in PACKAGES:
            guard.refuse(guard.variable(key, module))

    class Watched(os._Environ):
        def __getitem__(self, key: str) -> str:
            check(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            check(key)
            return super().__contains__(key)

    os.environ.__class__ = Watched


def _name(scope: dict[str, object]) -> str:
    """A module's name; that of the program is in its spec (`python -m stages.train`)."""
    spec = scope.get("__spec__")
    return str(getattr(spec, "name", None) or scope.get("__name__"))
