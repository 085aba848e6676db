"""Change one value of params.yaml in its place; comments, order and style stay, as with `dvc exp run -S`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from retune.errors import RetuneError


def set_value(path: Path, keys: tuple[str, ...], value: Any) -> None:
    """Write `value` at `keys`; a mapping that lacks is made. Raises `RetuneError` where something else stands there."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    data = at = yaml.load(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        if key not in at:
            at[key] = CommentedMap()
            at[key].fa.set_flow_style()
        at = at[key]
        if not isinstance(at, dict):
            raise RetuneError(f"{path}: {'.'.join(keys)} cannot be set, since `{key}` is {at!r} and no mapping")
    at[keys[-1]] = value
    text = io.StringIO()
    yaml.dump(data, text)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text.getvalue(), encoding="utf-8")
    part.replace(path)
