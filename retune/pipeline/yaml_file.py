"""Strict reading of the project's YAML files: every problem is found, with its line.

YAML 1.2 scalars, as DVC reads them (`1e-5` is a number, `no` a string); the keys of a mapping are text as written.
Refused because they change values silently: a key that stands twice; in params.yaml anchors, aliases and merge keys,
and `${` (`dvc exp run -S` writes both out as fixed values), and what DVC reads as another type than Retune does (dates;
names of tasks and models that look like numbers, for which it makes no stages). The catalogs and prompts may have
anchors and merge keys: DVC does not read these files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

Keys = tuple[str, ...]
"""Keys and list positions (as text) from the top of a document."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(LOADER):  # type: ignore[misc, valid-type]
    """PyYAML's (C) loader with the scalars of YAML 1.2 instead of 1.1."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


SCALARS = {
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    "float": (
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    ),
}
for _name, (_pattern, _first) in SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)


DATE = re.compile(
    r"^\d{4}-\d\d-\d\d$"
    r"|^\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::?\d\d)?))?$"
)
"""What DVC's reader takes for a date, which it refuses as a parameter."""

NO_TEXT = re.compile(
    r"^(?!_)(?:[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[0-9_]*[0-9][0-9_]*"
    r"|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|~|[nN]ull|NULL|[tT]rue|TRUE|[fF]alse|FALSE)$"
)
"""What DVC's reader takes for a number, a truth value or nothing where it stands without quotes."""

FOR_DVC = "params.yaml"
"""The one file here that DVC reads too."""

DEEPEST = 50
"""Keys and positions above a value, at most."""

NAMED = ("tasks", "models", "bases")
"""Its sections whose names become names of stages."""


@dataclass
class Document:
    """A file's data, the line of each key, and the problems found while reading."""

    path: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, at: Keys) -> str:
        """`file:line` of a key, or of the nearest key above it."""
        while at and at not in self.lines:
            at = at[:-1]
        return f"{self.path}:{self.lines[at]}" if at in self.lines else self.path

    def problem(self, at: Keys, text: str) -> None:
        """Note what is wrong with the value at `at`."""
        self.problems.append(f"{self.place(at)}: {'.'.join(at) + ': ' if at else ''}{text}")


def read(folder: Path, name: str, instead: Path | None = None) -> Document:
    """Read `folder/name`, or a file instead of it, under that name.

    A file that can't be read gives a document whose `data` is None and that has a problem.
    """
    document = Document(name)
    try:
        text = (instead or folder / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        document.problems.append(f"{name}: the file is missing")
        return document
    except UnicodeDecodeError as error:
        document.problems.append(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8")
        return document
    try:
        if not _refused(text, document):
            loader = Loader(text)
            node = loader.get_single_node()
            document.data = None if node is None else _construct(node, (), document)
            if node is None:
                document.problems.append(f"{name}: the file is empty")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        document.problems.append(f"{place}: not YAML: {' '.join(p for p in (error.context, error.problem) if p)}")
        document.data = None
    except yaml.YAMLError as error:  # the C reader's errors have no mark
        document.problems.append(f"{name}: not YAML: {' '.join(str(error).split())}")
        document.data = None
    return document


def _refused(text: str, document: Document) -> bool:
    """Note what DVC would read otherwise or `-S` would write out; True where a link keeps the document from a walk."""
    if document.path != FOR_DVC:
        return False
    linked = False
    for token in yaml.scan(text, Loader=LOADER):
        place = f"{document.path}:{token.start_mark.line + 1}"
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            linked = True
            sign = "&" if isinstance(token, yaml.AnchorToken) else "*"
            document.problems.append(
                f"{place}: `{sign}{token.value}`: anchors and aliases are not allowed, since `dvc exp run -S` would"
                " write them out as fixed values; repeat the value"
            )
        elif isinstance(token, yaml.ScalarToken) and token.plain and token.value == "<<":
            document.problems.append(f"{place}: `<<`: merge keys are not allowed; repeat the keys")
        elif isinstance(token, yaml.ScalarToken) and token.plain and DATE.match(token.value):
            document.problems.append(f"{place}: `{token.value}`: DVC reads a date here; put it in quotes")
        elif isinstance(token, yaml.ScalarToken) and "${" in token.value:
            document.problems.append(
                f"{place}: `{token.value}`: `${{` is not allowed, since `dvc exp run -S` would write it out as a fixed"
                " value; write the value itself"
            )
    return linked


def _construct(node: Any, at: Keys, document: Document) -> Any:
    """The plain Python value of a YAML node; lines and problems go to the document."""
    document.lines.setdefault(at, node.start_mark.line + 1)
    if len(at) > DEEPEST:
        document.problem(at[:1], "an anchor stands within itself, or the values are nested too deeply")
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*at, str(i)), document) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, at, document)
    kind = node.tag.rpartition(":")[2]
    if kind == "str":
        return node.value
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() == "true"
    if kind == "int":
        return int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)
    if kind == "float":
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    document.problem(at, f"the tag {node.tag} is not known here; write a plain value")
    return None


def _mapping(node: Any, at: Keys, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            document.problems.append(f"{document.path}:{line}: a key must be plain text")
            continue
        name = key.value
        if name == "<<" and not key.style:
            merged = _merged(value, at, document)
            continue
        here = (*at, name)
        if name in data:
            twice = f"stands twice (first in line {document.lines[here]}); keep one"
            document.problems.append(f"{document.path}:{line}: {'.'.join(here)}: {twice}")
            continue
        if document.path == FOR_DVC and len(at) == 1 and at[0] in NAMED and not key.style and NO_TEXT.match(name):
            quoted = f'DVC reads no text here, and would make no stages; put the name in quotes: "{name}"'
            document.problems.append(f"{document.path}:{line}: {'.'.join(here)}: {quoted}")
        document.lines[here] = line
        data[name] = _construct(value, here, document)
    return merged | data


def _merged(node: Any, at: Keys, document: Document) -> dict[str, Any]:
    """What a merge key brings: a mapping, or several of which the first that has a key counts."""
    if document.path == FOR_DVC:
        return {}  # said already
    found: dict[str, Any] = {}
    for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(one, yaml.MappingNode):
            document.problem((*at, "<<"), "takes a mapping, or a list of mappings")
            continue
        found = _mapping(one, at, document) | found
    return found
