"""Learners of kind `ranking` on tiny models: they learn, come back, and open in sentence-transformers as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retune.data import queries
from retune.errors import RetuneError
from retune.evaluation import ranking_metrics
from retune.learners.bm25.search import words
from retune.learners.llm_reranker.predict import load as load_llm_reranker
from retune.learners.retriever.mining import mine
from retune.params import loads
from tests.support import llm_fit
from tests.support.ranking_fit import fit, judged, load, spec_of
from tests.support.tiny_encoder import tiny_encoder
from tests.support.tiny_llm import tiny_llm

pytestmark = pytest.mark.slow

NEURAL = pytest.mark.parametrize("learner", ["embedder", "encoder"])


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tiny_encoder(tmp_path_factory.mktemp("base"))
    source = json.loads((folder / "SOURCE.json").read_text())
    (folder / "SOURCE.json").write_text(json.dumps(source | {"passage_prefix": "的: "}))
    return folder


def ndcg(rows: pl.DataFrame, scores: np.ndarray) -> float:
    found = ranking_metrics.per_query(queries.codes(rows), queries.relevance(rows), scores)
    return ranking_metrics.mean(found["ndcg@10"])


@NEURAL
def test_it_learns_to_rank_and_predicts_what_it_measured_on_dev(learner, base, tmp_path):
    out, record = fit(spec_of(learner), base, tmp_path)
    series = [r["eval_ndcg"] for r in record.history if "eval_ndcg" in r]
    rows = judged(12)
    table = load(learner, out).predict(rows)
    assert table.schema == {"id": pl.String, "score": pl.Float64, "truncated": pl.Boolean}
    assert table["id"].equals(rows["id"])
    assert ndcg(rows, table["score"].to_numpy()) == pytest.approx(max(series), abs=1e-9)
    assert max(series) > ndcg(rows, np.zeros(len(rows))) + 0.1


@pytest.mark.parametrize(
    "lora", [None, {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}]
)
def test_the_embedder_opens_in_sentence_transformers_with_the_same_vectors(lora, base, tmp_path):
    from sentence_transformers import SentenceTransformer

    out, _ = fit(spec_of("embedder", lora=lora, max_length=16), base, tmp_path)
    rows = judged(12)
    opened = SentenceTransformer(str(out), device="cpu")
    first = opened.encode_query(rows["query"].to_list())
    second = opened.encode_document(rows["document"].to_list())
    cosines = (first * second).sum(-1)
    assert load("embedder", out).predict(rows)["score"].to_numpy() == pytest.approx(cosines, abs=1e-5)


@pytest.mark.parametrize(
    "lora", [None, {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}]
)
def test_the_reranker_opens_in_sentence_transformers_with_the_same_scores(lora, base, tmp_path):
    from sentence_transformers import CrossEncoder

    out, _ = fit(spec_of("encoder", {"reranker": "listnet"}, lora, max_length=12), base, tmp_path)
    rows = judged(12)
    table = load("encoder", out).predict(rows)
    scores = CrossEncoder(str(out), device="cpu").predict(list(zip(rows["query"], rows["document"], strict=True)))
    assert table["truncated"].any()
    assert table["score"].to_numpy() == pytest.approx(scores, abs=1e-5)


@NEURAL
def test_no_document_is_longer_than_the_base_has_positions_for(learner, base, tmp_path):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    rows = judged(12).with_columns(
        document=pl.when(pl.col("id") == "0-1").then(pl.lit("花呗" * 100)).otherwise("document")
    )
    out, record = fit(spec_of(learner, epochs=0.3, max_length=1024), base, tmp_path, rows)
    assert any("cut at 128 tokens, for which the base has positions" in message for message in record.messages)
    assert load(learner, out).predict(rows).filter("truncated")["id"].to_list() == ["0-1"]
    opened = CrossEncoder if learner == "encoder" else SentenceTransformer
    assert opened(str(out), device="cpu").max_seq_length == 128


def test_an_untuned_embedder_scores_with_the_prefixes_of_its_base(base, tmp_path):
    from sentence_transformers import SentenceTransformer

    out, record = fit(spec_of("embedder", epochs=0), base, tmp_path)
    opened = SentenceTransformer(str(base), device="cpu")
    first, second = opened.encode(["query: 花呗怎么还款", "的: 花呗的怎么还款"], normalize_embeddings=True)
    assert load("embedder", out).predict(judged(1))["score"][0] == pytest.approx(float(first @ second), abs=1e-5)
    assert record.history == [{"step": 0, "epoch": 0.0, **record.history[0]}]


def test_hard_negatives_are_near_the_query_unjudged_and_clearly_below_its_best_document():
    cosines = np.array([0.9, 0.88, 0.7, 0.8, 0.6, 0.5])
    relevance = np.array([1.0, 0.0])
    assert mine(cosines, np.array([0, 4]), relevance, 2, 0.05) == [3, 2]
    assert mine(cosines, np.array([0, 4]), np.array([0.3, 0.0]), 2, 0.05) == []


def test_every_part_of_the_embedder_s_loss_reaches_its_weights(base, tmp_path):
    spec = spec_of("embedder", {"hard": 1.0, "dimensions": [8, 16]}, epochs=1)
    out, record = fit(spec, base, tmp_path)
    assert all(np.isfinite(r["loss"]) for r in record.history if "loss" in r)
    plain, _ = fit(spec_of("embedder", epochs=1), base, tmp_path / "plain")
    one, other = (load("embedder", folder).predict(judged(4))["score"].to_numpy() for folder in (out, plain))
    assert np.abs(one - other).max() > 1e-4


@NEURAL
def test_the_model_card_names_data_metrics_licence_and_no_path(learner, base, tmp_path):
    out, _ = fit(spec_of(learner, epochs=1), base, tmp_path)
    card = (out / "README.md").read_text(encoding="utf-8")
    for part in ("made-up", "| ndcg |", "none needed", "training.learning_rate | 0.003", "96 judged documents"):
        assert part in card
    assert str(tmp_path) not in card
    assert str(base) not in card


def test_a_query_with_one_document_trains_the_embedder_and_not_the_reranker(base, tmp_path):
    rows = judged(8).unique("query", keep="first", maintain_order=True)
    _, record = fit(spec_of("embedder", epochs=1), base, tmp_path, rows)
    assert record.resources["rows"] == 8
    with pytest.raises(RetuneError, match="no training query of task t"):
        fit(spec_of("encoder", epochs=1), base, tmp_path / "encoder", rows)


def test_a_reranker_without_training_is_refused(base, tmp_path):
    with pytest.raises(RetuneError, match="a new layer to train"):
        fit(spec_of("encoder", epochs=0), base, tmp_path)


def test_bm25_prefers_the_document_with_the_query_s_rare_words(base, tmp_path):
    out, record = fit(spec_of("linear"), base, tmp_path)
    rows = judged(4)
    assert ndcg(rows, load("linear", out).predict(rows)["score"].to_numpy()) > ndcg(rows, np.zeros(len(rows))) + 0.1
    assert set(record.history[0]) == {"step", "eval_ndcg", "eval_spearman"}
    unknown = rows.with_columns(query=pl.lit("zzz"))
    assert load("linear", out).predict(unknown)["score"].to_list() == [0.0] * len(rows)
    assert words("花呗a", [1, 2]) == ["花", "呗", "a", "花呗", "呗a"]


def test_bm25_without_a_common_ngram_warns_and_names_the_key(base, tmp_path):
    blind = loads(json.dumps({**spec_of("linear"), "bm25": {"ngrams": [9, 9], "k1": 1.5, "b": 0.75}}))
    _, record = fit(blind, base, tmp_path / "blind")
    assert "bm25.ngrams (here [9, 9])" in record.warnings[0]
    _, record = fit(spec_of("linear"), base, tmp_path / "sound")
    assert record.warnings == []


def test_bm25_is_lucene_s_with_the_training_documents_and_each_row_alone_has_the_same_score(base, tmp_path):
    import bm25s

    out, _ = fit(spec_of("linear"), base, tmp_path)
    model, rows = load("linear", out), judged(4)
    found = model.predict(rows)["score"].to_numpy()
    alone = [model.predict(rows[i : i + 1])["score"][0] for i in range(len(rows))]
    assert found.tolist() == alone, "the rows beside it are no part of the collection"
    options, documents = model.options, model.documents
    engine = bm25s.BM25(k1=options.k1, b=options.b, method="lucene")
    engine.index([words(text, options.ngrams) for text in documents], show_progress=False)
    query = rows["query"][0]
    asked = [word for word in words(query, options.ngrams) if word in engine.vocab_dict]
    frame = pl.DataFrame({"id": [str(i) for i in range(len(documents))], "query": query, "document": documents})
    known = model.predict(frame)["score"].to_numpy()
    assert known == pytest.approx(engine.get_scores(asked), rel=1e-5)
    assert known.max() > 0


def test_whole_queries_are_chosen():
    rows = judged(12)
    chosen = queries.choose(rows, 10, 3)
    assert chosen.group_by("query").len()["len"].to_list() == [4, 4]
    assert len(queries.choose(rows, 1, 3)) == 4
    assert queries.choose(rows, 48, 3).equals(rows)
    assert set(queries.choose(rows, 10, 3)["id"]) <= set(queries.choose(rows, 30, 3)["id"])


def test_the_llm_ranks_by_the_log_odds_of_yes(tmp_path):
    folder = tmp_path / "llm"
    folder.mkdir()
    llm_base = tiny_llm(folder)
    prompt = {"system": "答吗？", "user": "问题：{query}\n文档：{document}", "answers": {"0": "否", "1": "是"}}
    spec = llm_fit.spec_of(
        kind="ranking", prompt=prompt, training__select="ndcg", training__epochs=1, training__truncation="end"
    )
    out, record = fit(spec, llm_base, tmp_path)
    assert {"eval_loss", "eval_ndcg", "eval_spearman"} <= set(record.history[-1])
    table = load_llm_reranker(out, llm_base, spec.hardware).predict(judged(3))
    assert table["score"].is_finite().all()
    assert table.columns == ["id", "score", "truncated"]
