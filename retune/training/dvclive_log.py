"""The record of a training as a DVCLive folder, plus its counts and messages; nothing in it tells of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retune.training.record import Training


def write(training: Training, folder: Path) -> None:
    """Write `metrics.json` and plots/metrics/**.tsv (by DVCLive), counts, messages and stages (JSON) into `folder`.

    It is written once, from the trainer's own history, which a resumed training carries on: a killed run leaves no
    step twice and none out. Without history `metrics.json` is empty, and so is the one curve: DVC warns of a folder of
    plots without a file.
    """
    from dvclive import Live

    class Record(Live):
        """A record that opens no repository: it would read the project's history, and a training depends on none."""

        def _init_dvc(self) -> None:
            self._dvc_file = self._init_dvc_file()

    with Record(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False) as live:
        for record in training.history:
            live.step = record["step"]
            for name, value in record.items():
                if name != "step" and isinstance(value, int | float):
                    live.log_metric(name.replace("eval_", "dev/", 1), value, timestamp=False)
            live.make_summary()
    curves = folder / "plots/metrics"
    if not any(curves.rglob("*.tsv")):
        curves.mkdir(parents=True, exist_ok=True)
        (curves / "epoch.tsv").write_text("step\tepoch\n", encoding="utf-8")
    said = {"messages": training.messages, "warnings": training.warnings}
    for name, content in (("counts", training.counts), ("messages", said), ("stages", training.stages)):
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
