"""A `python` for tests that has torch and the like imported: it forks, in place of seconds of imports.

`folder` gives a directory for the front of PATH. The `python` in it hands `-m stages.NAME`, `-m retune.cli`, `-c CODE`
and `FILE.py`, with their arguments, its folder, environment and standard streams, to a server that forks for each;
anything else runs in the real one. So do a `retune` and a `dvc` there.
"""

from __future__ import annotations

import array
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HEAVY = (
    "torch",
    "transformers",
    "transformers.models.bert.modeling_bert",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.trainer",
    "peft",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "scipy.stats",
    "altair",
    "pydantic.dataclasses",
    "typer",
    "polars",
    "dataframely",
    "dvc.cli.parser",
    "dvc.repo.init",
    "dvc.repo.index",
    "dvc.repo.graph",
    "dvc.repo.reproduce",
    "dvc.repo.experiments.executor.local",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.status",
    "pygit2",
)
"""What a stage would import for seconds, and nothing of this project: a test may edit it.

None has threads that a fork would miss: polars starts those that compute with the first query, and those of its
allocator start again.
"""

COLD = "RETUNE_TEST_COLD"
"""A variable that names stages of DVC for which the real one runs, with spaces between them."""


@functools.cache
def folder() -> str:
    """Start the server of this process, which ends with it; the directory of its `python`."""
    place = Path(tempfile.mkdtemp(prefix="retune-warm-dvc-"))  # by which word recovery knows a process of DVC
    command = [sys.executable, __file__, str(place / "socket")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    ask = f"exec {shlex.quote(sys.executable)} -IS {shlex.quote(__file__)} {place}/socket"
    for name, words in (("python", ""), ("retune", "-m retune.cli"), ("dvc", "-m dvc")):
        (place / name).write_text(f'#!/bin/sh\n{ask} {words} "$@"\n')
        (place / name).chmod(0o755)
    return str(place)


def environment() -> dict[str, str]:
    """What the libraries read when they are imported: as in `tests.support.project`."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def serve(path: str) -> None:
    """Import, say so, and run what is asked for until standard input ends."""
    for name in HEAVY:
        __import__(name)
    gc.freeze()  # or it would look at, and so copy, the pages of all of these in each process
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, b"ready\n")
    while select.select([listener, 0], [], [])[0] == [listener]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            watch(connection)
        connection.close()


def watch(connection: socket.socket) -> None:
    """Run one request in a child; tell its process id, and how it ended."""
    text, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    request = json.loads(text)
    child = os.fork()
    if child == 0:
        connection.close()
        run(request, descriptors)
    for descriptor in (0, 1, *descriptors):
        os.close(descriptor)
    connection.sendall(f"{child}\n".encode())
    if hasattr(os, "pidfd_open"):  # on Linux
        ended = select.select([connection, os.pidfd_open(child)], [], [])[0]
        if ended == [connection]:  # who asked was killed
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def run(request: dict[str, object], descriptors: list[int]) -> None:
    """Become the process that was asked for."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    folder, arguments, variables = request["folder"], request["arguments"], request["environment"]
    assert isinstance(folder, str)
    assert isinstance(arguments, list)
    assert isinstance(variables, dict)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[0] = str(Path(arguments[0]).resolve().parent) if arguments[0].endswith(".py") else folder
    sys.path[1:1] = [part for part in variables.get("PYTHONPATH", "").split(os.pathsep) if part]
    code: object = 0
    try:
        execute(*arguments)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def execute(first: str, *rest: str) -> None:
    """What Python does with these arguments."""
    sys.argv = [*([first] if first.endswith(".py") else []), *rest]
    if first.endswith(".py"):
        runpy.run_path(first, run_name="__main__")
    elif first == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = "-c"
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})


def served(first: str = "", module: str = "", *_: str) -> bool:
    """Whether the server runs what has these arguments."""
    if os.environ.get("DVC_STAGE") in os.environ.get(COLD, "").split():
        return False
    return (
        first == "-c"
        or first.endswith(".py")
        or (first == "-m" and module.startswith(("stages.", "retune.cli", "dvc")))
    )


def ask(path: str, arguments: list[str]) -> int:
    """Have it run by the server; its exit code. Signals go on to it."""
    if not served(*arguments):
        os.execv(sys.executable, [sys.executable, *arguments])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        request = {"folder": os.getcwd(), "arguments": arguments, "environment": dict(os.environ)}
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
        connection.sendmsg([json.dumps(request).encode()], [rights])
        answers = connection.makefile()
        child = int(answers.readline())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda signum, _: os.kill(child, signum))
        code = int(answers.readline() or -signal.SIGKILL)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
