"""Write the report of all tasks: `reports/index.html` and `reports/summary.md` (`python -m stages.report`)."""

from __future__ import annotations

from retune.pipeline.stage import Stage, stage
from retune.report import inputs, markdown, page, parity


@stage
def report(run: Stage) -> None:
    """Read what the stages before have measured, and write it as a page and as Markdown."""
    tasks, handed = inputs.read(run.params), parity.read(run.params)
    pages = {
        "reports/index.html": page.render(tasks, handed),
        "reports/summary.md": markdown.render(tasks, handed),
    }
    for target, text in pages.items():
        with run.output(target) as file:
            file.write_text(text, encoding="utf-8")
        run.log.info("%s: %.0f KB", target, len(text.encode()) / 1000)


if __name__ == "__main__":
    report()
