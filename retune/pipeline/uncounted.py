"""What cannot change a result, by name and reason: an edit of it makes no stage stale (retune.pipeline.fingerprint)."""

from __future__ import annotations

STRICT = ("closure", "declared", "guard", "landlock", "native", "parameters", "places", "start", "variables")

UNCOUNTED = {
    "retune.data.changes": "says in the log what new rows changed",
    "retune.progress": "how a progress bar looks",
    "retune.pipeline.disk_error": "the words of an error",
    "retune.pipeline.earlier": "keeps what that is compared with",
    "retune.pipeline.guard": "mends DVC's own files when DVC was killed",
    "retune.pipeline.processes": "what the kernel knows of other processes",
    "retune.pipeline.recovery": "mends DVC's own files when DVC was killed",
    "retune.pipeline.runtime": "locks, logs and the end of a stage whose parent died",
    **dict.fromkeys(
        ("retune.pipeline.strict", *(f"retune.pipeline.strict.{name}" for name in STRICT)),
        "refuses what a stage does not declare, and gives it nothing",
    ),
    "retune.run_record": "where times and memory are kept, which no stage computes with",
}
"""Module -> what it does, which cannot change a result; what only it imports does not count either."""

UNCOUNTED_PACKAGES = {
    "dvclive": "writes the curves of a training from its history",
    "tqdm": "progress bars",
}
"""Distribution -> what it does, which cannot change a result."""
