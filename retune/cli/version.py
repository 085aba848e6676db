"""`retune --version`: what is installed, and the commit of the project here."""

from __future__ import annotations

import platform
from pathlib import Path

import typer

import retune

PACKAGES = ("torch", "transformers", "dvc")


def show(asked: bool) -> None:
    """Print the versions and end, if that was asked for."""
    if asked:
        typer.echo(text())
        raise typer.Exit


def text(folder: Path = Path()) -> str:
    """A line for each thing: Retune, Python, packages (none is imported), the project's commit."""
    lines = [f"retune {retune.__version__}", f"python {platform.python_version()}"]
    lines += [f"{name} {_installed(name)}" for name in PACKAGES]
    return "\n".join([*lines, *([f"project {found}"] if (found := _commit(folder)) else [])])


def _installed(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _commit(folder: Path) -> str:
    """The commit of a project, and whether anything was changed since; empty outside of one, and without git."""
    if not (folder / "params.yaml").is_file():
        return ""
    import subprocess

    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + (", with uncommitted changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    import subprocess

    return subprocess.run(
        ("git", *arguments), cwd=folder, check=True, capture_output=True, encoding="utf-8", errors="replace"
    ).stdout.strip()
