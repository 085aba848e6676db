"""One hash per stage instance over the code that it runs, so that an edit rebuilds what it reaches and nothing else.

Counted: the syntax trees of the project's modules in the import closure of the stage script and of the learner (its
`fit` or its `predict`), task kind and sample generator that the instance names; the data files of these modules; the
versions that requirements.lock gives to the packages that these modules import, and to those that `ENGINES` says
compute for them.

Not counted: comments, docstrings, annotations, formatting, the order of imports (retune.pipeline.syntax); imports under
`if TYPE_CHECKING:`; what retune.pipeline.uncounted names; the standard library, the minor version of Python, and
packages that only come along with another one (a new `certifi` must not retrain a model).

A data file (of a suffix in `DATA`: an editor's backup or a note is none) belongs to the module beside it of the same
stem (`samples/similarity.yaml` to `retune.sources.samples.similarity`), else to the nearest package above it
(`report/style.css` to `retune.report`).
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from retune import exports, learners
from retune.errors import RetuneError
from retune.pipeline.syntax import imported_names, prefixes, syntax
from retune.pipeline.uncounted import UNCOUNTED, UNCOUNTED_PACKAGES

PACKAGES, LOCK = ("retune", "stages"), "requirements.lock"

STAGES = {
    "download_base": "bases",
    "download": "tasks",
    "convert": "tasks",
    "augment": "tasks",
    "split": "tasks",
    "explore": "tasks",
    "teach": "students",
    "warm": "starts",
    "train": "models",
    "predict": "models",
    "calibrate": "models",
    "evaluate": "models",
    "ensemble": "ensembles",
    "export": "exports",
    "compare": "tasks",
}
"""Stage -> the section of params.yaml whose entries are its instances; `report` has one instance."""

FETCHING = ("download", "download_base")
"""Stages that bring what a catalog pins by hash; only a sample's download computes anything."""

DISTRIBUTIONS = {"google": "protobuf", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python", "yaml": "pyyaml"}
"""Import name -> distribution, where they differ by more than case and `_`."""

DATA = (".css", ".html", ".js", ".txt", ".yaml")
"""Suffixes of the data files that modules read beside themselves."""

ENGINES = {
    "accelerate": ("torch",),
    "bitsandbytes": ("torch",),
    "onnxscript": ("numpy", "onnx", "onnx-ir"),
    "onnxruntime": ("numpy",),
    "peft": ("accelerate", "safetensors", "torch", "transformers"),
    "polars": ("polars-runtime-32",),
    "scikit-learn": ("numpy", "scipy"),
    "sentence-transformers": ("torch", "transformers"),
    "torch": ("numpy",),
    "transformers": ("accelerate", "numpy", "safetensors", "tokenizers", "torch"),
}
"""Distribution -> those that do its computing: their versions can change a result, so they count where it does."""


@dataclass(frozen=True)
class Module:
    """One module of the project: the hash of what it does, the project's modules and the packages that it imports."""

    digest: str
    project: frozenset[str]
    packages: frozenset[str]


@dataclass(frozen=True)
class Contents:
    """What a stage instance can run: module -> hash, distribution -> locked version."""

    modules: dict[str, str]
    packages: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """The hash of all of it."""
        lines = [f"{name} {digest}" for name, digest in self.modules.items()]
        lines += [f"{name}=={version}" for name, version in self.packages.items()]
        return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:16]


class Code:
    """The project's code below a folder; each module is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, Module] = {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """Module name -> file, for every module of the project."""
        found = {}
        for package in PACKAGES:
            for file in sorted((self.folder / package).rglob("*.py")):
                parts = file.relative_to(self.folder).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
        return found

    @cached_property
    def data_files(self) -> dict[str, list[Path]]:
        """Module name -> the data files that belong to it."""
        owned: dict[str, list[Path]] = {}
        for package in PACKAGES:
            for file in sorted((self.folder / package).rglob("*")):
                parts = file.relative_to(self.folder).parts
                if file.suffix not in DATA or any(p[0] in ".#" for p in parts):
                    continue
                if file.is_file():
                    owned.setdefault(self._owner(parts), []).append(file)
        return owned

    def _owner(self, parts: tuple[str, ...]) -> str:
        stem = parts[-1].partition(".")[0]
        if (beside := ".".join((*parts[:-1], stem))) in self.files:
            return beside
        folder = parts[:-1]
        while len(folder) > 1 and ".".join(folder) not in self.files:
            folder = folder[:-1]
        return ".".join(folder)

    @cached_property
    def locked(self) -> dict[str, str]:
        """Distribution -> locked version."""
        path = self.folder / LOCK
        if not path.is_file():
            raise RetuneError(
                f"{LOCK} is missing: the locked versions are part of each fingerprint; restore it from git"
            )
        lines: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:===?|@)\s*([^\s;\\]+)", line):
                lines.setdefault(canonicalize_name(match[1]), []).append(match[2])
        return {name: " or ".join(sorted(versions)) for name, versions in lines.items()}

    def module(self, name: str) -> Module:
        """One module of the project, read and hashed."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module:
        file = self.files.get(name)
        if file is None:
            raise RetuneError(f"there is no module {name} ({name.replace('.', '/')}.py), which the pipeline needs")
        try:
            text, imports = _syntax_of(file.read_bytes())
        except SyntaxError as error:
            raise RetuneError(f"{file.relative_to(self.folder)}:{error.lineno}: {error.msg}") from None
        digest = hashlib.sha256(text.encode())
        for data in self.data_files.get(name, []):
            digest.update(data.relative_to(self.folder).as_posix().encode())
            digest.update(hashlib.sha256(data.read_bytes().replace(b"\r\n", b"\n")).digest())
        package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        names = [full for one in imports for full in imported_names(one, package)]
        own = {prefix for full in names if full.partition(".")[0] in PACKAGES for prefix in prefixes(full)}
        packages = {full.partition(".")[0] for full in names} - {*PACKAGES, "__future__"} - sys.stdlib_module_names
        # `from retune.x import y` comes as retune.x.y: a module, or a name inside the module retune.x
        return Module(digest.hexdigest(), frozenset(own & self.files.keys()), frozenset(packages))

    def closure(self, roots: list[str]) -> list[str]:
        """The modules that importing `roots` can reach, themselves and their packages included; sorted."""
        seen: set[str] = set()
        ahead = [
            prefix
            for root in roots
            for prefix in [*prefixes(root)[:-1], root]
            if prefix in self.files or prefix == root
        ]
        while ahead:
            name = ahead.pop()
            if name not in seen and name not in UNCOUNTED:
                seen.add(name)
                ahead.extend(self.module(name).project)
        return sorted(seen)

    def versions(self, modules: list[str], packages: Sequence[str] = ()) -> dict[str, str]:
        """The locked version of every distribution that counts for these modules and for further `packages`."""
        counted: dict[str, str] = {}
        ahead = [(package, name) for name in modules for package in sorted(self.module(name).packages)]
        wanted = [(DISTRIBUTIONS.get(package, canonicalize_name(package)), name) for package, name in ahead]
        wanted += [(package, LOCK) for package in packages]
        while wanted:
            distribution, importer = wanted.pop()
            if distribution in counted or distribution in UNCOUNTED_PACKAGES:
                continue
            if distribution not in self.locked:
                raise RetuneError(
                    f"{importer} imports `{distribution}`, which {LOCK} does not pin: add it to pyproject.toml and the"
                    " lock, or to DISTRIBUTIONS in retune/pipeline/fingerprint.py if its package has another name"
                )
            counted[distribution] = self.locked[distribution]
            wanted.extend((engine, importer) for engine in ENGINES.get(distribution, ()))
        return dict(sorted(counted.items()))

    def contents(self, roots: list[str], packages: Sequence[str] = ()) -> Contents:
        """What `roots` can run, with the help of further `packages` that no module of theirs imports."""
        modules = self.closure(roots)
        return Contents({name: self.module(name).digest for name in modules}, self.versions(modules, packages))

    def fingerprint(self, roots: list[str], packages: Sequence[str] = ()) -> str:
        """The hash of `contents`."""
        return self.contents(roots, packages).fingerprint


@cache
def _syntax_of(source: bytes) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """The syntax of a module's bytes: most of what `resolve` takes, and the same for a copy of the project."""
    return syntax(ast.parse(source))


def roots(stage: str, entry: dict[str, Any]) -> list[str]:
    """The modules that a stage instance starts from; `entry` is its section of the resolved file."""
    found = [f"stages.{stage}"]
    if stage in ("train", "predict", "teach"):
        part = "fit" if stage == "train" else "predict"
        found.append(f"{learners.module(entry['learner'], entry['kind'])}.{part}")
    if stage == "export":
        learner = learners.module(entry["learner"], entry["kind"])
        form = exports.module(learner.rpartition(".")[2], bool(entry.get("onnx")))
        found += [f"{learner}.predict", form, *exports.opener_scripts(form)]
    if stage in ("calibrate", "evaluate", "ensemble", "compare") or entry.get("onnx") == "int8":
        found.append(f"retune.evaluation.kinds.{entry['kind']}")
    if stage in ("evaluate", "ensemble"):
        found.append(f"retune.evaluation.details.{entry['kind']}")
    if stage == "download":
        source = entry["source"]
        return [*found, f"retune.sources.samples.{source['generator']}"] if source["kind"] == "sample" else found
    return found if stage == "download_base" else [*found, f"retune.data.kinds.{entry['kind']}"]


def packages(stage: str, entry: dict[str, Any]) -> tuple[str, ...]:
    """Distributions that compute for a stage instance by its parameters alone: transformers imports them."""
    quantised = entry.get("quantization", {}).get("bits", 16) < 16
    tuned = entry.get("training", {}).get("epochs", 0) > 0
    if quantised and (stage in ("predict", "teach", "export") or (stage == "train" and tuned)):
        return ("bitsandbytes",)
    return ("onnxscript",) if entry.get("onnx") else ()


def contents(folder: Path, resolved: dict[str, Any]) -> dict[str, Any]:
    """What each stage instance can run: {stage: {instance: `Contents`}}, and the report's.

    Raises `RetuneError` for a module with a syntax error, a missing one, and a package that is not locked.
    """
    code = Code(folder)
    known: dict[Any, Contents] = {}

    def of(names: list[str], more: tuple[str, ...] = ()) -> Contents:
        key = (*names, *more)
        if key not in known:
            known[key] = code.contents(names, more)
        return known[key]

    result: dict[str, Any] = {
        stage: {name: of(roots(stage, entry), packages(stage, entry)) for name, entry in resolved[section].items()}
        for stage, section in STAGES.items()
    }
    return {**result, "report": of(report_roots(resolved))}


def report_roots(resolved: dict[str, Any]) -> list[str]:
    """The modules that the report starts from."""
    kinds = sorted({task["kind"] for task in resolved["tasks"].values()})
    return ["stages.report", *(f"retune.{part}.{kind}" for kind in kinds for part in ("data.kinds", "report.kinds"))]


def fingerprints(folder: Path, resolved: dict[str, Any]) -> dict[str, Any]:
    """The `code` section of the resolved file: {stage: {instance: hash}}, and the report's hash, of `contents`."""
    return hashes(contents(folder, resolved))


def hashes(found: dict[str, Any]) -> dict[str, Any]:
    """`contents` with the hash of each."""
    return {
        name: one.fingerprint if isinstance(one, Contents) else {key: part.fingerprint for key, part in one.items()}
        for name, one in found.items()
    }
