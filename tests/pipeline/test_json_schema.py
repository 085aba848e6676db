"""JSON schemas for editors: what Retune accepts they accept, and they know each key and the usual mistakes."""

import json
import re
import shlex

import jsonschema
import pytest
from dvc.utils.hydra import apply_overrides

from retune.pipeline import json_schema
from retune.pipeline.declarations import DATA, MODELS, PARAMS
from retune.pipeline.keys import all_keys
from retune.pipeline.yaml_file import read
from tests.support import ROOT
from tests.support.checkout import lay_out
from tests.support.command_line import printed

PROFILES = sorted(path for path in (ROOT / "profiles").iterdir() if path.is_file() and path.name[0] != ".")


@pytest.fixture(scope="module")
def validators():
    """Name of the schema's file -> its validator."""
    found = {}
    for name, schema in json_schema.schemas().items():
        jsonschema.Draft7Validator.check_schema(schema)
        found[name] = jsonschema.Draft7Validator(schema)
    return found


def mistakes(validators, file: str, data) -> list[str]:
    return [error.json_path for error in validators[json_schema.FILES[file]].iter_errors(data)]


def test_the_files_of_this_project_are_valid(validators):
    for file in (PARAMS, DATA, MODELS):
        assert mistakes(validators, file, read(ROOT, file).data) == []
    for prompt in sorted((ROOT / "prompts").glob("*.yaml")):
        assert mistakes(validators, "prompts/*.yaml", read(ROOT, f"prompts/{prompt.name}").data) == [], prompt.name


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_params_with_the_overrides_of_a_profile_are_valid(profile, validators, tmp_path):
    lay_out(tmp_path)
    words = shlex.split(profile.read_text(encoding="utf-8"))[1::2]
    apply_overrides(tmp_path / PARAMS, words)
    assert mistakes(validators, PARAMS, read(tmp_path, PARAMS).data) == []


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        (PARAMS, ("training", "learning_rat"), 1e-5),  # a misspelt key
        (PARAMS, ("models", "similarity_llm", "training", "learning_rat"), 1e-5),
        (PARAMS, ("training", "max_length"), 4),  # below its limit
        (PARAMS, ("models", "similarity_llm", "training", "batch_size"), 0),
        (PARAMS, ("tasks", "intent", "split", "dev"), 1.5),
        (PARAMS, ("training", "schedule"), "liner"),  # no such choice
        (PARAMS, ("tasks", "similarity", "kind"), "pairs"),
        (PARAMS, ("seed",), "42"),  # text, not a number
        (PARAMS, ("tasks",), {}),
        (PARAMS, ("tasks", "a.b"), {"kind": "pair", "source": "afqmc"}),  # a dot in a name
        (DATA, ("afqmc", "pth"), "x"),
        (DATA, ("afqmc", "path"), None),  # needed by its kind
        (DATA, ("afqmc", "url"), "https://x"),  # of another kind
        (DATA, ("afqmc", "tables", "0", "format"), "xls"),
        (MODELS, ("macbert-base", "pooling"), "max"),
        (MODELS, ("macbert-base", "revision"), None),
    ],
)
def test_a_typical_mistake_is_marked(file, keys, value, validators):
    data = json.loads(json.dumps(read(ROOT, file).data))
    inner = data
    for key in keys[:-1]:
        inner = inner[int(key)] if key.isdecimal() else inner.setdefault(key, {})
    inner.pop(keys[-1], None)
    if value is not None:
        inner[keys[-1]] = value
    assert mistakes(validators, file, data) != []


def test_every_key_of_retune_keys_is_in_a_schema_with_what_it_means(validators):
    for key in all_keys():
        schema = validators[json_schema.FILES[key.file.replace("NAME.yaml", "*.yaml")]].schema
        found = [schema]
        for step in re.findall(r"\[\]|[^.\[\]]+", key.path):
            found = [inner for one in found for inner in _below(one, step, schema)]
        assert any("description" in one for one in found), f"{key.file}: {key.path}"


def _below(node: dict, step: str, root: dict) -> list[dict]:
    """What stands under a key (`NAME`: any; `[]`: an entry) in a node, its branches and what it refers to."""
    branches, queue = [], [node]
    while queue:
        one = queue.pop()
        branches.append(one)
        queue += one.get("anyOf", [])
        if "$ref" in one:
            queue.append(root["$defs"][one["$ref"].rpartition("/")[2]])
    found = []
    for one in branches:
        if step == "[]" and isinstance(one.get("items"), dict):
            found.append(one["items"])
        elif step == "NAME" and isinstance(one.get("additionalProperties"), dict):
            found.append(one["additionalProperties"])
        elif step in one.get("properties", {}):
            found.append(one["properties"][step])
    return found


def test_the_command_writes_them_and_says_how_editors_find_them(tmp_path):
    said = printed(tmp_path, "schema", "--out", "editor")
    written = {path.name for path in (tmp_path / "editor").iterdir()}
    assert written == set(json_schema.FILES.values())
    assert '"./editor/params.schema.json": [' in said
    assert "# yaml-language-server: $schema=editor/params.schema.json" in said
    schema = json.loads((tmp_path / "editor/params.schema.json").read_text(encoding="utf-8"))
    length = schema["$defs"]["Training"]["properties"]["max_length"]
    assert (length["minimum"], length["default"]) == (8, 128)
    assert "cut" in length["description"]
