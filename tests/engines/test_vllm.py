"""vLLM behind our routes: its command line, and labels read from its log-probabilities as `retune.load` reads logits.

The server is one of ours that answers as vLLM 0.33 does (tests.support.vllm_server).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from retune import inference
from retune.engines import export, vllm
from retune.engines.endpoint import Endpoint
from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.inference import Model
from tests.support import ROOT, exported_llm, llm_fit
from tests.support.served import Service
from tests.support.vllm_server import VllmServer, parser

pytestmark = pytest.mark.slow

ROWS = exported_llm.ROWS.select("text_a", "text_b")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def folders(tiny: Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An export of each form."""
    place = tmp_path_factory.mktemp("exports")
    return {form: exported_llm.export(tiny, form, place / form.replace(" ", "_")) for form in exported_llm.FORMS}


@pytest.fixture(scope="module")
def server(folders: dict[str, Path]) -> Iterator[VllmServer]:
    """vLLM with the merged model, under its name."""
    from transformers import AutoModelForCausalLM

    found = VllmServer({"small": AutoModelForCausalLM.from_pretrained(folders["merged"]).eval()})
    yield found
    found.close()


@pytest.fixture(autouse=True)
def fresh(server: VllmServer) -> None:
    server.requests.clear()
    server.status, server.tells, server.key = None, True, ""


def behind(folder: Path, url: str, token: str = "") -> Model:
    """The model of an export, answered for by the engine at an address."""
    read = export.read(folder)
    predictor: Any = vllm.Vllm(read, Endpoint(url, token))
    return Model(read.name, read.card.spec, predictor, dict(read.card.calibration), folder)


@pytest.mark.parametrize("form", list(exported_llm.FORMS))
def test_probabilities_and_decisions_are_those_of_retune_load(
    form: str, folders: dict[str, Path], server: VllmServer
) -> None:
    own, theirs = (model.predict(ROWS) for model in (inference.load(folders[form]), behind(folders[form], server.url)))
    assert theirs["label"].to_list() == own["label"].to_list()
    assert len(set(own["label"])) == 2
    assert np.abs(theirs["prob_1"].to_numpy() - own["prob_1"].to_numpy()).max() < 1e-5
    assert theirs["truncated"].to_list() == own["truncated"].to_list()


def test_answers_that_part_more_than_once_are_read_at_each_place(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    answers = {"0": "AB", "1": "AC", "2": "BA"}
    tiny = exported_llm.untrained(
        tmp_path, {"temperature": 0.7}, labels=list(answers), prompt={**llm_fit.PROMPT, "answers": answers}
    )
    folder = exported_llm.export(tiny, "merged", tmp_path / "export")
    server = VllmServer({"small": AutoModelForCausalLM.from_pretrained(folder).eval()})
    model = behind(folder, server.url)
    own, theirs = inference.load(folder).predict(ROWS), model.predict(ROWS)
    for label in answers:
        assert np.abs(theirs[f"prob_{label}"].to_numpy() - own[f"prob_{label}"].to_numpy()).max() < 1e-5
    assert len(server.requests) == len(vllm.Vllm(export.read(folder), Endpoint(server.url)).trie.nodes) > 1
    server.close()


def test_more_answers_than_one_request_may_name_are_asked_in_parts(
    folders: dict[str, Path], server: VllmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "AT_ONCE", 1)
    own, theirs = (
        model.predict(ROWS) for model in (inference.load(folders["merged"]), behind(folders["merged"], server.url))
    )
    assert [one["logprobs"] for one in server.requests] == [1, 1]
    assert np.abs(theirs["prob_1"].to_numpy() - own["prob_1"].to_numpy()).max() < 1e-5


def test_our_routes_stand_in_front(folders: dict[str, Path], server: VllmServer) -> None:
    own = inference.load(folders["decision"])
    service = Service(behind(folders["decision"], server.url))
    row = ROWS.to_dicts()[0]
    expected = own.predict([row])[0]
    found = service.post("/similar", {"pairs": [list(row.values())], "probabilities": True})["results"][0]
    assert found["label"] == expected["label"]
    assert found["probabilities"]["1"] == pytest.approx(expected["prob_1"], abs=1e-5)
    aligned = service.post("/align", {"question": row["text_a"], "chunk": row["text_b"]})
    assert aligned["answer"] == exported_llm.ANSWERS[expected["label"]]
    asked = {"state": row, "questions": {"same": {"type": "noul"}}}
    said = service.post("/v1/systemone", asked)["answers"]["same"]
    assert said["noul"] == pytest.approx(expected["prob_1"], abs=1e-5)
    service.close()


@pytest.mark.parametrize(
    ("status", "told"), [(500, 502), (400, 502), (404, 502), (429, 503), (503, 503)], ids=lambda one: str(one)
)
def test_a_failing_engine_is_told_without_what_it_says(
    status: int, told: int, folders: dict[str, Path], server: VllmServer
) -> None:
    service = Service(behind(folders["merged"], server.url))
    server.status = status
    error = service.post("/similar", {"pairs": [["花呗", "借呗"]]}, told)["error"]
    assert error["message"] == f"the engine answered with status {status}: its log says why"
    assert error["code"] == "engine_failed"
    service.close()


def test_an_engine_that_is_gone_is_told(folders: dict[str, Path]) -> None:
    service = Service(behind(folders["merged"], "http://127.0.0.1:9"))
    error = service.post("/similar", {"pairs": [["花呗", "借呗"]]}, 503)["error"]
    assert error["message"] == "the engine can't be reached (ConnectError): try again soon"
    service.close()


def test_a_server_that_does_not_know_the_option_is_told(folders: dict[str, Path], server: VllmServer) -> None:
    """One that leaves `logprob_token_ids` out gives its likeliest tokens, among which the answers need not be."""
    service = Service(behind(folders["merged"], server.url))
    server.tells = False
    error = service.post("/similar", {"pairs": [["花呗", "借呗"]]}, 502)["error"]
    assert "is it vLLM 0.33 or newer?" in error["message"]
    service.close()


def test_the_token_opens_it(folders: dict[str, Path], server: VllmServer) -> None:
    server.key = "0123456789abcdef"
    assert Endpoint(server.url, server.key).models() == ["small"]
    with pytest.raises(RetuneError, match="refuses the token: set that of the engine as RETUNE_ENGINE_TOKEN"):
        Endpoint(server.url).models()
    assert len(behind(folders["merged"], server.url, server.key).predict(ROWS)) == len(ROWS)


def test_the_command_line_of_each_form(folders: dict[str, Path]) -> None:
    given = {}
    for form, folder in folders.items():
        words = vllm.command([export.read(folder)], "127.0.0.1", 8010)
        assert words[:2] == ["vllm", "serve"]
        given[form] = parser().parse_args(words[2:])
    merged, adapter = given["merged"], given["adapter"]
    assert (merged.model_tag, merged.served_model_name) == (str(folders["merged"]), ["small"])
    assert not merged.enable_lora
    assert (adapter.model_tag, adapter.served_model_name) == (str(folders["adapter"] / "base"), ["tiny"])
    assert adapter.lora_modules == [f"small={folders['adapter']}"]
    assert given["decision"].lora_modules == [f"small={folders['decision'] / 'adapter'}"]
    assert (adapter.max_lora_rank, adapter.max_loras, adapter.dtype, adapter.port) == (8, 1, "float32", 8010)
    longest = max(len(export.read(folders["adapter"]).chat.answers[code]) for code in range(2))
    assert adapter.max_model_len == 120 + longest + 1
    assert Path(adapter.chat_template).is_file()
    assert given["merged decision"].lora_modules is None
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]["vllm"]["command"]
    words = vllm.command([export.read(folders["decision"])], "127.0.0.1", 8010)
    options = {word for word in words if word.startswith("--")}
    assert {word.partition("=")[0] for word in compose if word.startswith("--")} == options


def test_adapters_over_one_base_share_a_server_and_others_do_not(
    tiny: Built, folders: dict[str, Path], tmp_path: Path
) -> None:
    other = exported_llm.export(dataclasses.replace(tiny, name="other"), "adapter", tmp_path / "other")
    both = [export.read(folder) for folder in (folders["decision"], other)]
    found = parser().parse_args(vllm.command(both, "127.0.0.1", 8010)[2:])
    assert found.lora_modules == [f"small={folders['decision'] / 'adapter'}", f"other={other}"]
    assert found.max_loras == 2
    alike = exported_llm.export(dataclasses.replace(tiny, name="tiny"), "adapter", tmp_path / "alike")
    named = parser().parse_args(vllm.command([export.read(alike)], "127.0.0.1", 8010)[2:])
    assert named.served_model_name == ["tiny-base"]  # a request for the model must not reach its base
    config = other / "base/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_theta": 1.0}))
    with pytest.raises(RetuneError, match="other and small stand on different bases"):
        vllm.command(both, "127.0.0.1", 8010)
    with pytest.raises(RetuneError, match="small is merged, a model of its own"):
        vllm.command([export.read(folders["merged"]), both[0]], "127.0.0.1", 8010)


def test_a_base_of_the_hub_is_named_with_its_commit(folders: dict[str, Path]) -> None:
    read = export.read(folders["adapter"])
    card = type(read.card)({**read.card, "reads": type(read.card)(merged=False, base=["owner/base", "a" * 40])})
    words = vllm.command([dataclasses.replace(read, card=card)], "127.0.0.1", 8010)
    assert words[2:5] == ["owner/base", "--revision", "a" * 40]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "small is a DoRA adapter"),
        ({"modules_to_save": ["lm_head"]}, "small trained whole layers"),
        ({"r": 1024}, "small has rank 1024, more than the 512"),
    ],
    ids=["dora", "layers", "rank"],
)
def test_an_adapter_that_vllm_can_not_serve_is_told(
    change: dict[str, Any], said: str, tiny: Built, tmp_path: Path
) -> None:
    folder = exported_llm.export(tiny, "adapter", tmp_path / "export")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RetuneError, match=f"{said}.*export it with `merge: true`"):
        vllm.command([export.read(folder)], "127.0.0.1", 8010)
