"""Hash the files of a `path` entry that DVC does not watch (`python -m stages.watch data-NAME`, or models-NAME).

It runs on every build, so that a change there reaches `resolve`. Projects whose data lie below data/external have no
such stage.
"""

from __future__ import annotations

import json

from retune.errors import RetuneError
from retune.pipeline.stage import Stage, stage
from retune.sources import path


@stage
def watch(run: Stage, name: str) -> None:
    """Write data/external/.outside/NAME.json: relative name -> SHA-256, or why there is none.

    What is wrong is for `resolve` to say, which runs then, and knows whether the catalog still has this entry.
    """
    entries = json.loads(path.OUTSIDE.read_text(encoding="utf-8"))["outside"]
    if name not in entries:
        raise RetuneError(f"`{name}` is not in {path.OUTSIDE}: run `dvc repro resolve` first")
    try:
        found = path.hashes(entries[name]["path"], entries[name]["patterns"])
    except RetuneError as error:
        found = {"error": str(error)}
    with run.output(path.WATCHED / f".outside/{name}.json") as file:
        file.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    watch()
