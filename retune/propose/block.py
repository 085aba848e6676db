"""A proposal as YAML in the style of the project's files, and put into them: other lines and comments stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml

from retune import atomic_file, yaml_edit
from retune.errors import RetuneError
from retune.pipeline.declarations import DATA, PARAMS
from retune.pipeline.yaml_file import DATE, LOADER, NO_TEXT, SCALARS
from retune.propose.draft import Draft

MARK = "RETUNE-ADD-TASK-STANDS-HERE"
WIDTH = 118


class Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2, or DVC's reader, would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: params.yaml must have none."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists stand indented under their key, as the project writes them."""
        super().increase_indent(flow, False)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """In one line where that is short; PyYAML itself gives each quoted text a line of its own."""
        node = super().represent_mapping(tag, mapping, flow_style)
        return _short(node, [part for pair in node.value for part in pair])

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """Likewise."""
        node = super().represent_sequence(tag, sequence, flow_style)
        return _short(node, node.value)


Node = TypeVar("Node", bound=yaml.CollectionNode)


def _short(node: Node, parts: list[yaml.Node]) -> Node:
    scalars = all(isinstance(part, yaml.ScalarNode) for part in parts)
    node.flow_style = scalars and sum(len(part.value) + 2 for part in parts) < WIDTH - 20
    return node


def _text(dumper: Dumper, value: str) -> yaml.Node:
    other = NO_TEXT.match(value) or DATE.match(value) or any(pattern.match(value) for pattern, _ in SCALARS.values())
    style = '"' if "\n" in value else "'" if other else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


Dumper.add_representer(str, _text)


def text(value: Any, indent: int = 0) -> str:
    """YAML of a mapping: blocks, whose innermost lists and mappings stand in one line where that is short."""
    done = yaml.dump(
        value, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=WIDTH - indent, default_flow_style=None
    )
    return "".join(f"{' ' * indent}{line}" for line in done.splitlines(keepends=True))


def edited(root: Path, draft: Draft) -> dict[str, str]:
    """File -> its text with the proposal in it. Raises `RetuneError` where a name is taken."""
    catalog, params = (_lines(root / name) for name in (DATA, PARAMS))
    entries = [(PARAMS, ("tasks", draft.name), draft.task)]
    entries += [(PARAMS, ("models", name), model) for name, model in draft.models.items()]
    for file, said, keys in ((DATA, catalog, (draft.name,)), *((file, params, keys) for file, keys, _ in entries)):
        at = yaml.load(said, LOADER)
        for key in keys:
            at = at.get(key) if isinstance(at, dict) else None
        if at is not None:
            raise RetuneError(f"{file} has `{'.'.join(keys)}` already: `--name` takes another name")
    for _, keys, value in entries:
        params = _put(params, keys, value, PARAMS)
    new = {DATA: _put(catalog, (draft.name,), draft.source, DATA, blank=True), PARAMS: params}
    return {name: _ended(said, root / name) for name, said in new.items()}


def _lines(path: Path) -> str:
    """The text of a file, its lines ending as YAML and the edits here know them."""
    return path.read_bytes().decode("utf-8").replace("\r\n", "\n")


def _ended(said: str, path: Path) -> str:
    """The text with the line ends of the file."""
    return said.replace("\n", "\r\n") if b"\r\n" in path.read_bytes() else said


def _put(said: str, keys: tuple[str, ...], value: Any, place: str, blank: bool = False) -> str:
    """The text with a new entry as a block; where the mapping around it is in one line, in that line."""
    if yaml.compose(said, yaml.SafeLoader) is None:  # a catalog without an entry
        return said + text({keys[0]: value})
    marked = yaml_edit.replaced(said, keys, MARK, place=place)
    line = re.search(rf"(?m)^( *){re.escape(keys[-1])}: {MARK}\n", marked)
    if line is None:
        return yaml_edit.replaced(said, keys, value, place=place)
    block = text({keys[-1]: value}, len(line[1]))
    return marked[: line.start()] + ("\n" if blank else "") + block + marked[line.end() :]


def replace(root: Path, texts: dict[str, str]) -> None:
    """Write all files or none: what was replaced is put back where a later one can't be written."""
    before = {name: (root / name).read_bytes() for name in texts}
    done: list[str] = []
    try:
        for name, new in texts.items():
            with atomic_file.replacing(root / name) as part:
                part.write_bytes(new.encode("utf-8"))
            done.append(name)
    except OSError as error:
        for written in done:
            with atomic_file.replacing(root / written) as part:
                part.write_bytes(before[written])
        raise RetuneError(f"{root / name} can't be written, nothing was changed: {error}") from None
