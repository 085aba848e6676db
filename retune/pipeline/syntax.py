"""What a module does, as text: its syntax tree without what changes nothing when it runs."""

from __future__ import annotations

import ast
from typing import Any

NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores", "annotation", "returns"}
"""Fields of syntax trees that follow from the place, or that nothing reads when the module runs."""

DOCUMENTED = {ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef}

FOR_TYPES = {"__future__", "typing", "typing_extensions", "collections.abc"}
"""Modules whose imports compute nothing: where a name of theirs is used, the use itself counts."""

WORDS_OF_FIELDS = {"ClassVar", "InitVar", "KW_ONLY"}
"""Names that mean something to `dataclasses` in the annotation of a field."""


def syntax(tree: ast.Module) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """A module's syntax as text, and its import statements; neither holds what stands under `if TYPE_CHECKING:`.

    Like `ast.dump`, and a few times faster, without docstrings, annotations of functions and variables, the order of
    import statements that follow each other, and what is empty or follows from the place (so it is the same in every
    minor version of Python). The fields of a class keep their names and order, and those of a class with a base (a
    schema may read them) their annotations.
    """
    imports: list[ast.Import | ast.ImportFrom] = []
    out: list[str] = []
    write = out.append

    def dump(value: Any, fields: bool = False) -> None:
        """Write a value; `fields`: it stands in the body of a class whose annotations are read."""
        if isinstance(value, list):
            write("[")
            body(value, fields)
            write("]")
        elif not isinstance(value, ast.AST):
            write(repr(value))
        elif isinstance(value, ast.Constant):
            write(repr(value.value))
        elif isinstance(value, ast.If) and _is_type_checking(value.test):
            body(value.orelse, fields)
        elif isinstance(value, ast.AnnAssign):
            annotated(value, fields)
        else:
            node(value)

    def body(values: list[Any], fields: bool) -> None:
        run: list[ast.Import | ast.ImportFrom] = []
        for one in values:
            if isinstance(one, ast.Import | ast.ImportFrom):
                run.append(one)
                continue
            flush(run)
            dump(one, fields)
        flush(run)

    def flush(run: list[ast.Import | ast.ImportFrom]) -> None:
        imports.extend(run)
        write(" ".join(sorted(text for one in run for text in _imported(one))))
        run.clear()

    def annotated(value: ast.AnnAssign, fields: bool) -> None:
        """`x: int = 1` is `x = 1`; without a value it is nothing, but in a class, where it makes a field."""
        if value.value is not None:
            node(ast.Assign(targets=[value.target], value=value.value))
        elif in_class[-1]:
            write("Field(")
            dump(value.target)
            write(")")
        if in_class[-1] and (fields or _names(value.annotation) & WORDS_OF_FIELDS):
            dump(value.annotation)

    in_class = [False]

    def node(value: ast.AST) -> None:
        kind = type(value)
        is_class = isinstance(value, ast.ClassDef)
        scope = is_class or isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if scope:
            in_class.append(is_class)
        write(kind.__name__)
        write("(")
        for name in kind._fields:
            if name in NO_MEANING:
                continue
            inner: Any = getattr(value, name, None)
            if name == "body" and kind in DOCUMENTED:
                inner = _without_docstring(inner) or ([] if kind is ast.Module else [ast.Pass()])
            if inner is not None and inner != []:
                write(name)
                dump(inner, isinstance(value, ast.ClassDef) and name == "body" and _reads_annotations(value))
        write(")")
        if scope:
            in_class.pop()

    dump(tree)
    return " ".join(part for part in out if part), imports


def _imported(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """A text for each name that a statement imports; none where they are for types alone."""
    if isinstance(statement, ast.Import):
        return [f"import({one.name},{one.asname})" for one in statement.names if one.name not in FOR_TYPES]
    if statement.level == 0 and statement.module in FOR_TYPES:
        return []
    start = "." * statement.level + (statement.module or "")
    return [f"import({start},{one.name},{one.asname})" for one in statement.names]


def _names(tree: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(tree) if isinstance(inner, ast.Name)}


def _reads_annotations(value: ast.ClassDef) -> bool:
    """Whether a class has a base that may read the annotations of its fields, as a schema does."""
    return any(not (isinstance(base, ast.Name) and base.id in ("NamedTuple", "Protocol")) for base in value.bases)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """A body without its docstring; it may be empty then, where one that never had a docstring holds `pass`."""
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def prefixes(name: str) -> list[str]:
    """`a.b.c` -> a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def imported_names(statement: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """The full names that an import statement in a module of `package` may load."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    start = package[: len(package) - statement.level + 1] if statement.level else []
    module = ".".join([*start, *([statement.module] if statement.module else [])])
    return [module if alias.name == "*" else f"{module}.{alias.name}" for alias in statement.names]
