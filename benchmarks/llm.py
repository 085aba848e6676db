"""Compare the speed of LLM fine-tuning and classification: Retune, TRL and LLaMA-Factory on the same rows.

    python benchmarks/llm.py --base models/bases/llm
    python benchmarks/llm.py --base models/bases/llm --workload reasoning --batch-size 6 --tools retune,trl
    python benchmarks/llm.py --base models/bases/llm --only evaluate --adapter .retune/benchmarks/work/retune-0/adapter

Each tool trains one epoch in a process and a virtual environment of its own (made on first use in .retune/benchmarks
from the requirements files beside this one): the same checkpoint, starting adapter, token ids, order, loss (mean over
the answer tokens of a batch), schedule and threads. Needs Retune's environment. One plain loop takes the dev loss of
each adapter. With several seeds each has rows and a starting adapter of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import workloads
from tables import METHODS, evaluation_table, training_table

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "llm_tools"
CACHE = HERE.parent / ".retune" / "benchmarks"
DRIVERS = {
    "retune": ("retune", "retune_.py"),
    "trl": ("trl", "trl_.py"),
    "trl-label-only": ("trl", "trl_.py"),
    "llamafactory": ("llamafactory", "llamafactory_.py"),
}
"""Tool: its environment and its driver."""


def main() -> None:
    """Make rows and environments, run what was asked for, print the tables."""
    options = parse()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    said = f"{options.workload}, {options.rows} rows, {options.dtype}, {options.threads} threads"
    if options.only != "evaluate":
        results = train(options, work)
        told = f"batch {options.batch_size}, seeds {options.seeds}, checkpointing {options.checkpointing}"
        print(f"Training: {said}, {told}\n")
        print(training_table(results), flush=True)
    if options.only != "train" and options.workload == "intent":
        print(f"Classification: {said}\n")
        print(evaluation_table(evaluate(options, work)), flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--tools", default=",".join(DRIVERS), help="some of: %(default)s")
    parser.add_argument("--workload", choices=list(workloads.WORKLOADS), default="intent")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--dev-rows", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--checkpointing",
        choices=["default", "off"],
        default="default",
        help="default: TRL and LLaMA-Factory checkpoint activations, as they come; off: they keep them, as Retune does",
    )
    parser.add_argument("--only", choices=["train", "evaluate"], help="default: both (evaluate: workload intent only)")
    parser.add_argument("--adapter", type=Path, help="for --only evaluate; default: the base as it comes")
    parser.add_argument("--methods", default=",".join(METHODS), help="of the evaluation, some of: %(default)s")
    parser.add_argument("--apart-rows", type=int, default=8, help="rows scored label by label; their time is scaled up")
    parser.add_argument("--work", type=Path, default=CACHE / "work", help="rows, adapters, logs, results.jsonl")
    parser.add_argument("--seeds", default="42", help="42,43,44: each tool trains once for each, seconds are medians")
    options = parser.parse_args()
    seeds = options.seeds.split(",")
    if not all(seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        parser.error(f"--seeds {options.seeds} are not different whole numbers with commas between them, as 42,43,44")
    for name, known in (("tools", DRIVERS), ("methods", METHODS)):
        if unknown := set(getattr(options, name).split(",")) - set(known):
            parser.error(f"--{name} {sorted(unknown)[0]} is none of {', '.join(known)}")
    return options


def make_job(options: argparse.Namespace, work: Path, seed: int) -> dict[str, Any]:
    """What every driver is told; writes the rows."""
    base = options.base.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = workloads.build(options.workload, base, options.rows + options.dev_rows, seed)
    for name, part in (("rows", rows[: options.rows]), ("dev", rows[options.rows :])):
        lines = [json.dumps(row.to_dict(), ensure_ascii=False) + "\n" for row in part]
        (work / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    same = config.get("dtype", config.get("torch_dtype")) == options.dtype
    stored = base if same else CACHE / "bases" / f"{config['model_type']}-{config['hidden_size']}-{options.dtype}"
    return {
        "base": str(base),
        "stored_base": str(stored),
        "rows": str(work / "rows.jsonl"),
        "dev": str(work / "dev.jsonl"),
        "start": str(work / "start" / "adapter"),
        "r": 16,
        "alpha": 32,
        "targets": "all-linear",
        "learning_rate": 2e-4,
        "warmup_ratio": 0.1,
        "warmup_steps": math.ceil(0.1 * math.ceil(options.rows / options.batch_size)),
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "batch_size": options.batch_size,
        "epochs": 1,
        "dtype": options.dtype,
        "seed": seed,
        "max_length": max(len(row.prompt_ids) + len(row.answer_ids) for row in rows),
        "threads": options.threads,
    }


def train(options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One record per tool and seed; the tools take turns, so a busy minute of the machine does not hit one alone."""
    results = []
    for seed in map(int, options.seeds.split(",")):
        folder = work / f"seed-{seed}"
        job = make_job(options, folder, seed)
        run("retune", "start.py", {**job, "adapter": ""}, folder / "start")
        tokens = count_tokens(folder / "rows.jsonl")
        for tool in options.tools.split(","):
            done = train_once(options, {**job, "tool": tool}, folder / tool)
            loss = run("retune", "dev_loss.py", {**job, "adapter": str(folder / tool / "adapter")}, folder / tool)
            results.append({"seed": seed, **done, **loss, "tokens_per_second": tokens / done["step_seconds"]})
            record(work, {"options": vars(options), **results[-1]})
    return results


def train_once(options: argparse.Namespace, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train with one tool."""
    environment, driver = DRIVERS[job["tool"]]
    shutil.rmtree(folder, ignore_errors=True)
    job |= {
        "adapter": str(folder / "adapter"),
        "scratch": str(folder / "scratch"),
        "label_only": job["tool"] == "trl-label-only",
        "checkpointing": options.checkpointing == "default",
    }
    for made in ("adapter", "scratch"):
        Path(job[made]).mkdir(parents=True)
    python = interpreter(environment)
    begin = time.monotonic()
    result = run_with(python, driver, job, folder)
    whole = time.monotonic() - begin
    print(f"{job['tool']}: {result['step_seconds']:.1f} s of steps, {whole:.1f} s in all", file=sys.stderr, flush=True)
    return {"tool": job["tool"], "whole_seconds": whole, **result}


def evaluate(options: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One record per way to classify the rows, those of the first seed."""
    seed = int(options.seeds.split(",")[0])
    folder = work / f"seed-{seed}"
    job = make_job(options, folder, seed)
    adapter = options.adapter.resolve() if options.adapter else None
    if adapter is None and options.only != "evaluate" and (folder / "retune" / "adapter").is_dir():
        adapter = folder / "retune" / "adapter"  # trained a moment ago
    chat = workloads.intent_chat(options.base)
    job |= {"answers": chat.answers, "end": chat.end, "adapter": str(adapter or ""), "batch_size": 8}
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = [chat.answers.index(row["answer_ids"][:-1]) for row in rows]
    results: list[dict[str, Any]] = []
    for method in options.methods.split(","):
        used = min(options.apart_rows, len(rows)) if method == "apart" else len(rows)
        part = folder / f"{method}.jsonl"
        part.write_text("".join(json.dumps(row) + "\n" for row in rows[:used]), encoding="utf-8")
        told = {**job, "method": method, "rows": str(part)}
        result = run("retune", "generate.py", told, folder / f"evaluate-{method}")
        found = result["predictions"]
        first = results[0]["predictions"] if results else found
        result |= {
            "method": method,
            "rows": used,
            "seconds": result["seconds"] * len(rows) / used,
            "accuracy": share(found, gold),
            "agreement": share(found, first),
            "unparsed": found.count(-1) / used,
        }
        results.append(result)
        record(work, {"options": vars(options), **result})
    return results


def share(found: list[int], expected: list[int]) -> float:
    """Share of equal values, as far as there are any."""
    return sum(a == b for a, b in zip(found, expected, strict=False)) / len(found)


def count_tokens(rows: Path) -> int:
    """Prompt and answer tokens of all rows."""
    parsed = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    return sum(len(row["prompt_ids"]) + len(row["answer_ids"]) for row in parsed)


def run(environment: str, driver: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a driver in an environment, which is made where it is missing."""
    return run_with(interpreter(environment), driver, {"scratch": str(folder), **job}, folder)


def run_with(python: Path, driver: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a driver as a process; what it prints last is its result. Raises `SystemExit` where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(driver).stem
    told, log = folder / f"{name}.json", folder / f"{name}.log"
    told.write_text(json.dumps(job, ensure_ascii=False, indent=1), encoding="utf-8")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(job["threads"]),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    done = subprocess.run(
        [str(python), str(TOOLS / driver), str(told)], env=environment, capture_output=True, text=True, check=False
    )
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    lines = done.stdout.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        raise SystemExit(f"{driver} ended with code {done.returncode}; the end of {log}:\n{done.stderr[-1500:]}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def interpreter(environment: str) -> Path:
    """Python of a tool's environment, made from requirements-TOOL.txt where it is missing or the file has changed."""
    if environment == "retune":
        return Path(sys.executable)
    requirements = HERE / f"requirements-{environment}.txt"
    folder = CACHE / environment
    python = folder / "bin" / "python"
    made_from = folder / "made-from.txt"
    if made_from.is_file() and made_from.read_bytes() == requirements.read_bytes():
        return python
    print(f"installing {requirements.name} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-r", requirements], check=True)
    if environment == "llamafactory":
        # Its torchaudio does not load with this torch, and with torchvision alone it fails too; text needs neither,
        # but the name torchaudio is imported.
        subprocess.run([*pip, "uninstall", "--yes", "torchvision", "torchaudio"], check=True)
        empty = next((folder / "lib").glob("python*")) / "site-packages" / "torchaudio"
        empty.mkdir()
        (empty / "__init__.py").touch()
    shutil.copy(requirements, made_from)
    return python


def record(work: Path, result: dict[str, Any]) -> None:
    """Append a result to results.jsonl."""
    with (work / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")


if __name__ == "__main__":
    main()
