"""Remotes of DVC on this machine: a folder, an SSH server on loopback with keys of its own, an S3 server of moto's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from unittest import mock

import pytest

from tests.support.shared_project import Clone

SSHD = Path("/usr/sbin/sshd")


@contextmanager
def remote(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Settings of a remote of a kind (folder, ssh, s3), which is served while the block runs; `url` among them."""
    with {"folder": _folder, "ssh": _ssh, "s3": _s3}[kind](folder) as settings:
        yield settings


def add(clone: Clone, settings: dict[str, str], name: str = "team") -> None:
    """Name it in a clone, as the default."""
    clone.dvc("remote", "add", "-q", "--default", "--local", name, settings["url"])
    for key, value in settings.items():
        if key != "url":
            clone.dvc("remote", "modify", "-q", "--local", name, key, value)


@contextmanager
def _folder(folder: Path) -> Iterator[dict[str, str]]:
    yield {"url": str(folder / "remote")}


@contextmanager
def _ssh(folder: Path) -> Iterator[dict[str, str]]:
    pytest.importorskip("dvc_ssh", reason="dvc-ssh is not installed: pip install dvc-ssh")
    if not SSHD.exists():
        pytest.skip(f"{SSHD} is missing: apt-get install openssh-server")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = _free_port()
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/authorized",
        f"PidFile {folder}/pid", "StrictModes no", "PasswordAuthentication no", "UsePAM no", "PermitRootLogin yes",
        "Subsystem sftp internal-sftp",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd as root separates privileges
    command = [str(SSHD), "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait(port, server, folder / "log")
        yield {
            "url": f"ssh://{getuser()}@127.0.0.1:{port}{folder}/remote", "keyfile": str(folder / "user"),
            "allow_agent": "false",
        }  # fmt: skip
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def _s3(folder: Path) -> Iterator[dict[str, str]]:
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed: pip install dvc-s3")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with mock.patch.dict(os.environ, access):
            boto3.client("s3", endpoint_url=address).create_bucket(Bucket="models")
            yield {"url": "s3://models/retune", "endpointurl": address}
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"sshd does not listen: {log.read_text() if log.exists() else 'no log'}")
