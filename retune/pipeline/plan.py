"""What a build has to do, as a graph of units of work: which stages, behind which others, and for about how long.

A unit is a chain of stages that one run of DVC builds, since DVC takes a second to start: stages of which each needs
nothing but the one before, and what that needed. The one to start next is the one with the longest way behind it
(list scheduling by critical path: Graham 1969, Kohler 1975).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retune.pipeline import impact, instances
from retune.pipeline.instances import Instance

START = 1.3
"""Seconds in which DVC starts: a stage that takes less is worth no unit of its own."""

GUESSED = {"teach": 30.0, "train": 5.0, "predict": 3.0, "export": 10.0, "download_base": 20.0}
"""Seconds of a stage that never ran here, on a processor, with rows as many as those of the samples; others: 0.5."""
GUESSED_MODEL = {
    ("train", "llm"): 120.0,
    ("predict", "llm"): 90.0,
    ("export", "llm"): 80.0,
    ("train", "encoder"): 70.0,
    ("train", "embedder"): 70.0,
    ("predict", "encoder"): 12.0,
    ("predict", "embedder"): 12.0,
    ("export", "encoder"): 30.0,
    ("export", "embedder"): 25.0,
}


@dataclass
class Unit:
    """Stages that are built one behind the other, when those of all units that it needs are."""

    stages: list[Instance]
    seconds: float
    needs: set[str] = field(default_factory=set)
    way: float = 0.0  # seconds from its start to the end of all that waits for it, were there no end of workers

    @property
    def name(self) -> str:
        """Its first stage's."""
        return self.stages[0].address


@dataclass(frozen=True)
class Plan:
    """The units of a build, by name; `known` of its `stages` have run here before, the others' times are guesses.

    `behind` of the stages need others of them and nothing else is new to them: they run where results differ. The
    others take `sure` seconds, one after the other.
    """

    units: dict[str, Unit]
    stages: int
    known: int
    behind: int
    sure: float

    def seconds(self, jobs: int, waiting: Iterable[str], running: Mapping[str, float] | None = None) -> float:
        """How long the units that wait and run take at least, `jobs` at a time; `running`: unit -> seconds so far."""
        spent = {**dict.fromkeys(waiting, 0.0), **(running or {})}
        left = [(self.units[name], min(seconds, self.units[name].seconds)) for name, seconds in spent.items()]
        whole = sum(unit.seconds - seconds for unit, seconds in left)
        return max(whole / jobs, max((unit.way - seconds for unit, seconds in left), default=0.0))

    def words(self, jobs: int) -> str:
        """What will happen, for people."""
        if not self.units:
            return "nothing is stale"
        most, guessed = impact.duration(self.seconds(jobs, self.units)), self.stages - self.known
        own = self.stages - self.behind
        said = f"{own} {'stage' if own == 1 else 'stages'} to build, {jobs} at a time"
        if self.behind:
            said += (
                f", and {self.behind} behind them where results differ: {impact.duration(self.sure / jobs)} to {most}"
            )
        else:
            said += f": about {most}"
        if guessed == self.stages:
            return f"{said}, a guess, since none of them ran here before"
        return said + (f", {guessed} of them a guess, since they never ran here" if guessed else ", as last time")


def of(
    folder: Path, every: Sequence[Instance], goals: Iterable[str], stale: Mapping[str, bool], values: Mapping[str, Any]
) -> Plan:
    """The plan for those of `every` instance that the `goals` (addresses; none: all) come from and that DVC has to do.

    These are the `stale` ones (address -> whether something is new to itself), and those whose outputs are not in the
    folder: DVC takes them from its cache, or makes them anew. `values`: what tasks, models and exports are.
    """
    wanted = _closure(every, set(goals))
    ours = [one for one in every if one.address in wanted and one.stage not in ("resolve", "watch")]
    absent = {one.address for one in ours if not all((folder / out).exists() for out in one.outs)}
    chosen = [one for one in ours if one.address in stale or one.address in absent]
    sure = [one.address for one in chosen if stale.get(one.address) or one.address in absent]
    before = _before(chosen)
    last = {one.address: impact.last_seconds(folder, one.stage, one.key) for one in chosen}
    seconds = {one.address: _guess(one, values) if (found := last[one.address]) is None else found for one in chosen}
    units = _chains(chosen, before, seconds)
    home = {stage.address: unit for unit in units for stage in unit.stages}
    for unit in units:
        unit.needs = {home[name].name for stage in unit.stages for name in before[stage.address]} - {unit.name}
    for unit in reversed(units):  # those behind it come later
        unit.way = unit.seconds + max((other.way for other in units if unit.name in other.needs), default=0.0)
    known, behind = sum(one is not None for one in last.values()), len(chosen) - len(sure)
    by_name = {unit.name: unit for unit in units}
    return Plan(by_name, len(chosen), known, behind, sum(seconds[name] for name in sure))


def _closure(every: Sequence[Instance], goals: set[str]) -> set[str]:
    """The addresses of the goals and of all that they are made from; of everything without goals."""
    if not goals:
        return {one.address for one in every}
    found = {one.address: one for one in every if one.address in goals}
    for one in reversed(every):  # each stands behind those whose outputs it reads
        if any(instances.overlap(dep, out) for other in found.values() for dep in other.deps for out in one.outs):
            found[one.address] = one
    return set(found)


def _before(chosen: Sequence[Instance]) -> dict[str, set[str]]:
    """For each stage those that it needs itself; not those that one of these needs in turn."""
    ancestors: dict[str, set[str]] = {}
    direct: dict[str, set[str]] = {}
    for place, one in enumerate(chosen):
        behind = {
            other.address
            for other in chosen[:place]
            if any(instances.overlap(dep, out) for dep in one.deps for out in other.outs)
        }
        farther = {name for other in behind for name in ancestors[other]}
        ancestors[one.address] = behind | farther
        direct[one.address] = behind - farther
    return direct


def _chains(chosen: Sequence[Instance], before: Mapping[str, set[str]], seconds: Mapping[str, float]) -> list[Unit]:
    """The stages in chains: one goes on with a stage that waits for its last alone, if no other does or if short."""
    waiting = {name: sum(name in needed for needed in before.values()) for name in before}
    ends: dict[str, Unit] = {}
    units = []
    for one in chosen:
        address, needed = one.address, before[one.address]
        last = next(iter(needed)) if len(needed) == 1 else ""
        unit = ends.get(last)
        if unit and (waiting[last] == 1 or seconds[address] < START):
            del ends[last]
            unit.stages.append(one)
        else:
            unit = Unit([one], START)
            units.append(unit)
        unit.seconds += seconds[address]
        ends[address] = unit
    return units


def _guess(one: Instance, values: Mapping[str, Any]) -> float:
    model = values.get("exports", {}).get(one.key, {}).get("model", "") if one.stage == "export" else one.key
    spec = values.get("models", {}).get(model, {})
    trains = one.stage != "train" or spec.get("training", {}).get("epochs", 0) > 0
    plain = GUESSED.get(one.stage, 0.5)
    return GUESSED_MODEL.get((one.stage, spec.get("learner", "")), plain) if trains else plain
