"""Outputs to and from a remote of DVC: what is missing, how many bytes that is, and the words when it fails.

DVC moves the files. Only its commands know no model with its calibration, no size before they start, and nothing of
what another clone built of the same inputs.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.pipeline import disk_error
from retune.pipeline.shared_outputs import chosen
from retune.sources import cache

JOBS = 16
"""Questions to the remote at a time."""

LISTED = 5
"""Outputs that a message names."""


def pull(names: Sequence[str], without_bases: bool, remote: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Fetch what the models and tasks `names` (none: all) need and put it in the workspace; `say` gets the bytes first.

    Gives the remote, how many files and bytes came, and how many outputs there are. Raises `RetuneError` where
    something can't be had, or would replace a file that was changed here; what else there is has been put in its place
    then.
    """
    from dvc.exceptions import CheckoutError, ConfirmRemoveError

    with _repo(remote) as (repo, odb), repo.lock:
        outs = [out for out in chosen(repo.index.outs, names, without_bases) if out.use_cache and out.hash_info]
        files = _files(repo, odb, _hashes(outs))
        here = repo.cache.local
        wanted = {oid for found in files.values() for oid in found or () if not here.exists(oid)}
        sizes = _sizes(odb, wanted)
        absent = [path for path, found in files.items() if found is None or any(sizes.get(o, 0) is None for o in found)]
        outs = [out for out in outs if out.def_path not in absent]
        coming = {oid: sizes[oid] or 0 for out in outs for oid in files[out.def_path] or () if oid in wanted}
        say(f"{_amount(coming)} to fetch from {_address(repo, remote)}; {len(outs)} outputs in all")
        _transfer(repo, odb, here, coming)
        changed = []
        for out in outs:
            try:
                out.checkout()
            except (CheckoutError, ConfirmRemoveError):
                changed.append(out.def_path)
        if changed:
            raise RetuneError(
                f"{_listed(changed)} {_is(changed)} not as any build left it, and {_is(changed)} kept: move it away "
                f"and pull again, or `dvc checkout --force {changed[0]}` replaces it"
            )
        if absent:
            raise RetuneError(
                f"{_listed(absent)} of this commit's dvc.lock {_is(absent)} not in the remote: whoever built it runs "
                "`retune push`, or `dvc repro` builds it here"
            )
        return _moved(_address(repo, remote), coming, len(outs))


def push(remote: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Send what dvc.lock names, and the run-cache with the metrics that Git keeps, so that `take` finds all.

    Gives what `pull` gives, of what was sent. Raises `RetuneError` where an output is neither in the cache nor in the
    remote.
    """
    from dvc.stage.cache import RunCacheNotSupported

    with _repo(remote) as (repo, odb), repo.lock:
        here = repo.cache.local
        outs = [out for out in repo.index.outs if out.hash_info and (out.use_cache or here.exists(out.hash_info.value))]
        files = _files(repo, odb, _hashes(outs))
        sizes = _sizes(odb, {oid for found in files.values() for oid in found or ()})
        new = {oid for oid, size in sizes.items() if size is None}
        absent = [
            path for path, found in files.items() if not found or any(o in new and not here.exists(o) for o in found)
        ]
        sent = {oid for path, found in files.items() if path not in absent for oid in found or () if oid in new}
        going = {oid: here.fs.size(here.oid_to_path(oid)) for oid in sent}
        say(f"{_amount(going)} to send to {_address(repo, remote)}; {len(outs) - len(absent)} outputs in all")
        _transfer(repo, here, odb, going)
        with contextlib.suppress(RunCacheNotSupported):  # over HTTP
            repo.stage_cache.push(remote)
        if absent:
            raise RetuneError(
                f"{_listed(absent)} {_is(absent)} neither in the cache here nor in the remote: `dvc repro` builds it"
            )
        return _moved(_address(repo, remote), going, len(outs))


def bring(
    project: Path | str,
    wanted: Mapping[str, str],
    keep: Callable[[str, dict[str, Path]], None],
    say: Callable[[str], None],
) -> None:
    """Fetch outputs, path -> hash as a dvc.lock has it, into the cache of a project, and hand each to `keep`.

    `project`: its folder, or (a text) the address of a repository; the remote is the one that it names now. `keep` gets
    the path and the files of an output, by their names in it ("" where it is a file), as they lie in the cache. Raises
    `RetuneError`, before anything is fetched, where the cache and the remote lack one.
    """
    with _repo(None, project) as (repo, odb):
        files = _files(repo, odb, wanted)
        here = repo.cache.local
        new = {oid for found in files.values() for oid in found or () if not here.exists(oid)}
        sizes = _sizes(odb, new)
        absent = [path for path, found in files.items() if found is None or any(sizes.get(o, 0) is None for o in found)]
        if absent:
            raise RetuneError(
                f"{_listed(absent)} {_is(absent)} neither in the cache nor in a remote of {repo.url or repo.root_dir}: "
                "whoever built it runs `retune push`, or check that revision out and build it by `dvc repro`"
            )
        if new:
            say(f"{_amount({oid: sizes[oid] or 0 for oid in new})} to fetch from {_address(repo, None)}")
            _transfer(repo, odb, here, new)
        for path, oid in wanted.items():
            store = Path(here.oid_to_path(oid))
            entries = json.loads(store.read_bytes()) if oid.endswith(".dir") else [{"relpath": "", "md5": oid}]
            keep(path, {entry["relpath"]: Path(here.oid_to_path(entry["md5"])) for entry in entries})


def take(targets: Sequence[str], say: Callable[[str], None]) -> None:
    """Check out the outputs of all stale stages that another clone built of the same inputs and pushed.

    `dvc repro` finds them in the run-cache then. What nobody built, and all behind it, is left as it is.
    """
    from dvc.exceptions import CheckoutError, ConfirmRemoveError
    from dvc.repo.reproduce import get_active_graph, plan_repro
    from dvc.stage.cache import RunCacheNotFoundError

    with _repo(None) as (repo, _), repo.lock:
        repo.stage_cache.pull(None)
        graph = get_active_graph(repo.index.graph)
        ends = [stage for target in targets for stage in repo.stage.collect(target)] or repo.index.stages
        taken, left = 0, set()
        for stage in dict.fromkeys(one for end in ends for one in plan_repro(graph, [end])):
            if any(other in left for other in graph.successors(stage)):
                left.add(stage)
            elif stage.cmd and stage.changed():
                try:
                    _restore(repo, stage)
                    taken += 1
                except (RunCacheNotFoundError, CheckoutError, ConfirmRemoveError):
                    left.add(stage)
        say(f"{taken} stages taken from {_address(repo, None)}, {len(left)} to build")


def _restore(repo: Any, stage: Any) -> None:
    """Fetch and check out what the run-cache has for a stage, whose outputs that Git keeps may be those of before."""
    from dvc.exceptions import ConfirmRemoveError

    try:
        repo.stage_cache.restore(stage, pull=True)
    except ConfirmRemoveError:  # they are not in the cache of a fresh clone; what replaces them is, by now
        for out in stage.outs:
            if not out.use_cache:
                out.remove()
        repo.stage_cache.restore(stage, pull=True)


@contextlib.contextmanager
def _repo(remote: str | None, project: Path | str | None = None) -> Iterator[tuple[Any, Any]]:
    """DVC's view of a project (default: the one here), and the remote's store; its errors as ours.

    A project here without a remote is its own. A text is the address of a repository, which DVC clones for a moment;
    what is fetched of it lies in Retune's own cache.
    """
    from dvc.repo import Repo
    from dvc.repo.open_repo import clean_repos

    settings = {"cache": {"dir": str(cache.folder() / "dvc")}} if isinstance(project, str) else {}
    try:
        with Repo.open(str(project), config=settings) if project else Repo() as repo:
            yield repo, repo.cloud.get_remote_odb(remote, "pull")
    except RetuneError:
        raise
    except Exception as error:  # each remote has errors of its own, of no common class
        raise RetuneError(f"{project}: {_words(error)}" if project else _words(error)) from error
    finally:
        if isinstance(project, str):
            clean_repos()  # DVC's commands do it when they end; else the clone stays among the temporary files


def _words(error: Exception) -> str:
    """What to do about an error of DVC or of a remote, in a sentence."""
    from dvc.config import NoRemoteError, RemoteNotFoundError
    from dvc.exceptions import DvcException
    from dvc_objects.fs.errors import RemoteMissingDepsError

    plugin = re.search(r"'(dvc-\w+)' to be installed", str(error)) if isinstance(error, ImportError) else None
    line = next((one.strip() for one in str(error).splitlines() if one.strip()), type(error).__name__)
    if isinstance(error, NoRemoteError):
        return (
            "no remote is the default: `dvc remote add --default NAME FOLDER` (or ssh://..., s3://...) names one, "
            "`dvc remote default NAME` takes one of `dvc remote list`"
        )
    if isinstance(error, RemoteNotFoundError):
        return f"{line}: `dvc remote list` shows those that there are"
    if plugin:
        return f"this remote needs a plug-in of DVC: `pip install {plugin[1]}`"
    if isinstance(error, RemoteMissingDepsError):
        return f"this remote needs a plug-in of DVC: `pip install 'dvc[{error.protocol}]'`"
    if said := disk_error.sentence(error):
        return said
    if isinstance(error, DvcException):
        return line
    return (
        f"the remote does not give or take files ({type(error).__name__}: {line}): check its address and your access, "
        "`dvc remote list` and docs/share.md; the same command goes on from there"
    )


def _transfer(repo: Any, source: Any, target: Any, oids: Iterable[str]) -> None:
    """Copy files from one store to another, lists of files last, so that a list without its files is nowhere.

    Not `repo.pull` and `repo.push`: with targets they read dvc.lock again for each of them, and what a remote has they
    believe from memory.
    """
    from dvc.fs.callbacks import TqdmCallback
    from dvc_data.hashfile.hash_info import HashInfo

    objects = [HashInfo("md5", oid) for oid in sorted(oids)]
    with TqdmCallback(desc="files", unit="file") as shown:
        verify = getattr(source, "verify", False)
        done = repo.cloud.transfer(source, target, objects, cache_odb=repo.cache.local, verify=verify, callback=shown)
    if done.failed:
        raise RetuneError(f"{len(done.failed)} files did not arrive, see above: the same command goes on from there")


def _hashes(outs: Iterable[Any]) -> dict[str, str]:
    return {out.def_path: out.hash_info.value for out in outs}


def _files(repo: Any, odb: Any, outs: Mapping[str, str]) -> dict[str, set[str] | None]:
    """Path -> hashes of an output and of the files in it; None where its list of files is nowhere."""
    here = repo.cache.local

    def of(oid: str) -> set[str] | None:
        if not oid.endswith(".dir"):
            return {oid}
        store = here if here.exists(oid) else odb
        try:
            return {oid, *(entry["md5"] for entry in json.loads(store.fs.cat_file(store.oid_to_path(oid))))}
        except FileNotFoundError:
            return None

    with ThreadPoolExecutor(JOBS) as pool:
        return dict(zip(outs, pool.map(of, outs.values()), strict=True))


def _sizes(odb: Any, oids: Iterable[str]) -> dict[str, int | None]:
    """The bytes of files in the remote; None: it does not have them."""
    asked = sorted(oids)
    found = odb.fs.info([odb.oid_to_path(oid) for oid in asked], batch_size=JOBS, return_exceptions=True)
    for one in found:
        if isinstance(one, Exception) and not isinstance(one, FileNotFoundError):
            raise one
    return {
        oid: None if isinstance(one, Exception) else int(one["size"]) for oid, one in zip(asked, found, strict=True)
    }


def _moved(address: str, sizes: dict[str, int], outputs: int) -> dict[str, Any]:
    return {"remote": address, "files": len(sizes), "bytes": sum(sizes.values()), "outputs": outputs}


def _amount(sizes: dict[str, int]) -> str:
    total = sum(sizes.values())
    return f"{len(sizes):,} files, {total / 1e6:,.1f} MB"


def _address(repo: Any, remote: str | None) -> str:
    name = remote or repo.config["core"]["remote"]
    return f"{name} ({repo.config['remote'][name]['url']})"


def _is(paths: Sequence[str]) -> str:
    return "is" if len(paths) == 1 else "are"


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - LISTED
    return ", ".join(paths[:LISTED]) + (f" and {more} more" if more > 0 else "")
