"""`retune doctor`: everything that was looked at, in the order in which a build would need it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retune.doctor import machine, models, outside, tools
from retune.doctor.finding import OK, PROBLEM, WARNING, Finding
from retune.errors import RetuneError
from retune.pipeline import declarations
from retune.pipeline.declarations import PARAMS
from retune.pipeline.resolve import compiled


def findings(root: Path) -> list[Finding]:
    """All findings about this machine and the project in `root`; what needs its declarations is left out without."""
    found = [tools.python(), *tools.packages(root), tools.git(root), *tools.dvc(root)]
    resolved, said = _declared(root)
    found += said
    hardware = {}
    if resolved:
        wanted = {spec["hardware"]["device"] for spec in resolved["models"].values() if spec.get("hardware")}
        hardware = {"device": wanted.pop() if len(wanted) == 1 else "auto"}
    seen, device = machine.gpus(hardware)
    found += seen
    if resolved:
        needs = models.estimates(resolved, root, device)
        found += models.findings(needs, device)
        size, unknown = models.bytes_to_fetch(resolved, root)
        found += outside.disk(root, _cache(), size, models.bytes_to_write(needs, root))
        if unknown:
            found.append(Finding("downloads", OK, f"the size of {unknown} is not known before they are fetched"))
        found += outside.hubs(resolved, root)
    found += [outside.remote(root), machine.strict(), machine.locks(root), tools.case(root)]
    return found


def _declared(root: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What the project declares, compiled; None with the reason where it is not valid."""
    if not (root / PARAMS).is_file():
        return None, [Finding("project", PROBLEM, f"there is no {PARAMS} here", "run it in the folder of a project")]
    declared = declarations.load(root)
    try:
        resolved, _ = compiled(declared)
    except RetuneError as error:
        first = str(error).strip().splitlines()
        count = len(first) - 1
        said = first[1].strip() if count else first[0]
        return None, [Finding("declarations", PROBLEM, f"{count} mistakes: {said}", "`retune check` lists them all")]
    counts = ", ".join(f"{len(resolved[part])} {part}" for part in ("tasks", "models", "bases"))
    return resolved, [Finding("declarations", OK, f"valid: {counts}")]


def _cache() -> Path:
    """The folder of downloads, which need not exist yet."""
    return Path(os.environ.get("RETUNE_CACHE") or "~/.cache/retune").expanduser().absolute()


def run(root: Path, as_json: bool, say: Callable[[str], None]) -> int:
    """Say every finding; the exit code: 1 where a problem would stop the build."""
    found = findings(root)
    problems = sum(one.state == PROBLEM for one in found)
    warnings = sum(one.state == WARNING for one in found)
    if as_json:
        listed = [{"about": o.about, "state": o.state, "said": o.said, "remedy": o.remedy} for o in found]
        say(json.dumps({"problems": problems, "warnings": warnings, "findings": listed}, ensure_ascii=False, indent=2))
    else:
        for one in found:
            say(one.line())
        state = "nothing would stop a build" if not problems else "a build would stop"
        say(f"\n{state}: {problems} problems, {warnings} warnings")
    return int(problems > 0)
