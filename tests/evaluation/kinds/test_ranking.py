"""Kind `ranking` measured as DVC runs it: calibrate, evaluate, compare with a chain, and the report."""

import contextlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import ndcg_score

from retune.data.kinds import ranking as kind
from retune.data.split import summary
from retune.errors import RetuneError
from retune.evaluation.kinds import ranking
from retune.params import Params
from retune.report import inputs, markdown, page
from retune.training import dvclive_log
from retune.training.record import Training
from stages.calibrate import calibrate
from stages.compare import compare
from stages.evaluate import evaluate
from tests.support.markdown_tables import tables
from tests.support.stage_run import run

MODELS = {"bm25": ("linear", 1.0), "weak": ("embedder", 2.0), "strong": ("encoder", 6.0)}
HOSTILE = "<script>alert(1)</script>"
SPEC = Params(errors=3)


def rows_of(seed: int, queries: int) -> pl.DataFrame:
    """Queries of five documents each, in topics of two; the last query has a single document."""
    random = np.random.default_rng(seed)
    rows = []
    for q in range(queries):
        for d in range(1 if q == queries - 1 else 5):
            relevance = float(random.choice([0.0, 0.33, 0.67, 1.0]))
            row = {
                "id": f"{seed}-{q}-{d}",
                "group": f"g{q // 2}",
                "query": f"问题{q} {HOSTILE}",
                "document": f"文档{d}",
            }
            rows.append(row | {"relevance": relevance, "weight": float(random.uniform(0.5, 1.5)), "origin": "original"})
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=seed)


def project(root: Path) -> None:
    splits = {name: rows_of(i, n) for i, (name, n) in enumerate([("calibration", 30), ("test", 41)], start=1)}
    parts = [rows.with_columns(split=pl.lit(name)) for name, rows in splits.items()]
    every = pl.concat([*parts, splits["test"].with_columns(split=pl.lit("train"), id=pl.col("id") + "t")]).lazy()
    shares = Params(dev=0.1, calibration=0.2, test=0.4, balance="none")
    counts = summary(every, 0, shares, set(), kind)
    counts["splits"]["dev"] |= counts["splits"]["test"]
    write(root / "data/splits/retrieval/summary.json", counts)
    for number, (name, (_, strength)) in enumerate(MODELS.items()):
        random = np.random.default_rng(number)
        for split, rows in splits.items():
            rows.write_parquet(root / f"data/splits/retrieval/{split}.parquet")
            scores = strength * rows["relevance"].to_numpy() + random.normal(size=len(rows))
            table = rows.select("id", score=pl.Series(scores), truncated=pl.lit(False)).reverse()
            path = root / f"data/predictions/retrieval/{name}/{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.write_parquet(path)
    chains = {"both": {"first": "weak", "second": "strong", "candidates": 2}}
    source = {"name": "made-up", "kind": "sample", "generator": "retrieval", "license": "none needed"}
    task = {
        "kind": "ranking", "source": source, "calibration": {"kind": "ranking"}, "chains": chains,
        "split": {"dev": 0.1, "calibration": 0.2, "test": 0.4}, "models": list(MODELS),
        "evaluation": {"kind": "ranking", "seed": 1, "bootstrap": 100, "confidence": 0.95, "errors": 3, "limit": None},
    }  # fmt: skip
    task["comparison"] = {"models": list(MODELS), "chains": chains, **task["evaluation"]}
    models = {
        name: {"task": "retrieval", "kind": "ranking", "learner": learner, "base": "scratch", "base_name": "scratch"}
        for name, (learner, _) in MODELS.items()
    }
    bases = {"scratch": {"name": "scratch", "kind": "none", "license": "not applicable"}}
    write(
        root / "params-resolved.json",
        {"seed": 1, "bases": bases, "tasks": {"retrieval": task}, "models": models, "code": {}},
    )
    empty = {"records": 9, "rows": 9, "rejected": 0, "duplicates": 0, "conflicts": 0, "reasons": {}}
    write(root / "data/converted/retrieval/summary.json", empty)
    write(root / "reports/explore/retrieval/exploration.json", {"facts": [], "leaks": [], "warnings": []})


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    project(root)
    with contextlib.chdir(root):
        for name in MODELS:
            history = [{"step": 1, "eval_ndcg": 0.8}]
            Path("reports/training", name).mkdir(parents=True)
            dvclive_log.write(Training(history), Path("reports/training", name))
            for stage in (calibrate, evaluate):
                run(stage, name)
        run(compare, "retrieval")
    return root


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_the_metrics_of_a_model_are_those_of_its_scores(built):
    rows = pl.read_parquet(built / "data/splits/retrieval/test.parquet")
    rows = rows.join(pl.read_parquet(built / "data/predictions/retrieval/weak/test.parquet"), on="id")
    wanted = [
        ndcg_score([part["relevance"]], [part["score"]], k=5)
        for _, part in rows.group_by("query")
        if len(part) > 1 and part["relevance"].max() > 0
    ]
    found = read(built / "reports/metrics/weak.json")["test"]
    assert found["ndcg@5"]["value"] == pytest.approx(np.mean(wanted))
    assert found["ndcg@10"]["low"] < found["ndcg@10"]["value"] < found["ndcg@10"]["high"]
    assert found["rows"] == len(rows)
    folder = built / "reports/evaluations/retrieval/weak"
    counted = read(folder / "details/queries.json")
    assert (counted["queries"], counted["single"]) == (41, 1)


def test_how_many_queries_count_and_pooled_spearman_stand_beside_the_metrics(built):
    from scipy.stats import spearmanr

    rows = pl.read_parquet(built / "data/splits/retrieval/test.parquet")
    rows = rows.join(pl.read_parquet(built / "data/predictions/retrieval/weak/test.parquet"), on="id")
    found = read(built / "reports/metrics/weak.json")["test"]
    several = rows.group_by("query").agg(pl.len(), pl.col("relevance").max())
    counted = len(several.filter((pl.col("len") > 1) & (pl.col("relevance") > 0)))
    assert (found["queries"], found["queries_counted"]) == (41, counted)
    pooled = found["pooled_spearman"]
    assert pooled["value"] == pytest.approx(spearmanr(rows["relevance"], rows["score"]).statistic)
    assert pooled["low"] < pooled["value"] < pooled["high"]
    result = read(built / "reports/comparisons/retrieval/comparison.json")
    assert result["ignorant"]["pooled_spearman"]["value"] == 0.0
    assert any(f"Only {counted} of 41 test queries count" in said for said in result["warnings"])


@pytest.mark.slow
def test_fewer_than_100_counted_queries_warn_in_log_comparison_summary_and_page(built, capsys):
    rows = pl.read_parquet(built / "data/splits/retrieval/test.parquet")
    several = rows.group_by("query").agg(pl.len(), pl.col("relevance").max())
    counted = len(several.filter((pl.col("len") > 1) & (pl.col("relevance") > 0)))
    said = f"Only {counted} of 41 test queries count in the metrics of a ranking"
    with contextlib.chdir(built):
        for stage, instance in ((evaluate, "weak"), (compare, "retrieval")):
            run(stage, instance)
    log = capsys.readouterr().err
    assert log.count(said) == 1
    assert f"{counted} queries of 41 counted" in log
    tasks = inputs.read(Params(json.loads((built / "params-resolved.json").read_text(), object_hook=Params)), built)
    text, html = markdown.render(tasks), page.render(tasks)
    assert f"> [!WARNING]\n> retrieval: {said}" in text
    assert f"{counted} of 41 queries counted;" in text
    assert f'<p class="warning"><b>Warning, retrieval:</b> {said}' in html
    pooled = f"{read(built / 'reports/metrics/weak.json')['test']['pooled_spearman']['value']:.3f}"
    heads, *rows_shown = tables(text)[0]
    weak = dict(zip(heads, next(row for row in rows_shown if row[0].strip() == "weak"), strict=True))
    assert weak[" Pooled Spearman "].strip(" *").startswith(pooled)
    assert "Pooled Spearman" in html
    assert f'<span class="value">{pooled}</span>' in html


def test_from_100_counted_queries_on_nothing_is_warned_of():
    def of(queries: int, alone: int) -> ranking.RankingAnswers:
        """Queries with a relevant document and another one, and some with a single document."""
        codes = np.concatenate([np.repeat(np.arange(queries), 2), queries + np.arange(alone)])
        relevance = np.concatenate([np.tile([1.0, 0.0], queries), np.ones(alone)])
        return ranking.answered(relevance, np.ones(len(codes)), codes, relevance, relevance)

    assert ranking.cautions(of(100, 50), SPEC) == []
    (some,) = ranking.cautions(of(99, 50), SPEC)
    assert some.startswith("Only 99 of 149 test queries count in the metrics of a ranking: the others have a single")
    (every,) = ranking.cautions(of(99, 0), SPEC)
    assert every.startswith("Only 99 test queries count in the metrics of a ranking: ")
    assert "others" not in every


def test_calibration_is_the_weighted_regression_of_relevance_on_the_score(built):
    rows = pl.read_parquet(built / "data/splits/retrieval/calibration.parquet")
    rows = rows.join(pl.read_parquet(built / "data/predictions/retrieval/strong/calibration.parquet"), on="id")
    slope, bias = np.polyfit(rows["score"], rows["relevance"], 1, w=np.sqrt(rows["weight"]))
    fitted = read(built / "data/calibrations/retrieval/strong.json")
    assert (fitted["scale"], fitted["bias"]) == (pytest.approx(slope), pytest.approx(bias))
    metrics = {name: read(built / f"reports/metrics/{name}.json")["test"]["mse"]["value"] for name in MODELS}
    assert metrics["strong"] < metrics["weak"] < metrics["bm25"]


def test_a_score_against_the_relevance_is_calibrated_to_its_mean():
    rows = pl.DataFrame({"relevance": [1.0, 0.0], "score": [0.0, 1.0], "weight": [1.0, None], "parsed": [True, True]})
    fitted = ranking.calibrate(rows, SPEC)
    assert (fitted["scale"], fitted["bias"]) == (0.0, 0.5)
    assert fitted["messages"]
    with pytest.raises(RetuneError, match="scored none of 2"):
        ranking.calibrate(rows.with_columns(parsed=pl.lit(False)), SPEC)
    with pytest.raises(RetuneError, match="not finite"):
        ranking.calibrate(rows.with_columns(score=pl.lit(float("nan"))), SPEC)


@pytest.mark.slow
def test_a_random_order_is_what_constant_scores_give(built):
    result = read(built / "reports/comparisons/retrieval/comparison.json")
    random = np.random.default_rng(0)
    rows = pl.read_parquet(built / "data/splits/retrieval/test.parquet")
    given = ranking.answers(
        rows.with_columns(score=pl.lit(0.0), parsed=pl.lit(True)), {"scale": 0.0, "bias": 0.0}, SPEC, {}
    )
    drawn = []
    for _ in range(300):
        shuffled = ranking.answered(*given[:3], random.normal(size=len(rows)), given.estimates)
        drawn.append(ranking.measure(shuffled, np.ones(len(rows)))["ndcg@10"])
    assert result["ignorant"]["ndcg@10"]["value"] == pytest.approx(np.mean(drawn), abs=0.01)


def answers_of(relevance: list[float], scores: list[float]) -> ranking.RankingAnswers:
    n = len(relevance)
    ones = np.ones(n)
    return ranking.answered(np.array(relevance), ones, np.zeros(n, dtype=np.int64), np.array(scores), ones / 2)


def test_a_chain_reorders_the_first_model_s_candidates_and_leaves_the_rest_below():
    relevance = [0.0, 1.0, 0.33, 0.67]
    first, second = answers_of(relevance, [4.0, 3.0, 2.0, 1.0]), answers_of(relevance, [0.1, 0.9, 0.2, 5.0])
    chain, saved = ranking.chained(first, second, 2)
    assert ranking.positions(chain).tolist() == [2, 1, 3, 4]
    assert saved == 0.5
    whole, saved = ranking.chained(first, second, 9)
    assert ranking.positions(whole).tolist() == ranking.positions(second).tolist()
    assert saved == 0.0


def test_wins_count_queries():
    a, b = answers_of([1.0, 0.0], [1.0, 0.0]), answers_of([1.0, 0.0], [0.0, 1.0])
    assert ranking.wins(a, b) == (1, 0, 0.0)
    assert ranking.wins(a, a) == (0, 0, 1.0)


def test_the_chain_stands_in_the_comparison_as_one_more_system(built):
    result = read(built / "reports/comparisons/retrieval/comparison.json")
    assert result["models"] == [*MODELS, "both"]
    assert len(result["pairs"]) == 6
    chain = result["chains"]["both"]
    assert chain["saved"] == pytest.approx(1 - 81 / 201)
    strong, weak = (read(built / f"reports/metrics/{name}.json")["test"] for name in ("strong", "weak"))
    assert weak["ndcg@10"]["value"] < chain["metrics"]["ndcg@10"]["value"] <= strong["ndcg@10"]["value"]


def test_an_unparsed_row_ranks_below_all_others():
    rows = pl.DataFrame({
        "group": ["g"] * 3, "query": ["q"] * 3, "relevance": [1.0, 0.0, 0.67], "weight": [1.0] * 3,
        "score": [None, -5.0, -4.0], "parsed": [False, True, True],
    })  # fmt: skip
    given = ranking.answers(rows, {"scale": 1.0, "bias": 0.0}, SPEC, {})
    assert ranking.positions(given).tolist() == [3, 2, 1]
    assert given.estimates.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_report_shows_the_query_log_and_escapes_the_texts(built):
    tasks = inputs.read(Params(json.loads((built / "params-resolved.json").read_text(), object_hook=Params)), built)
    html = page.render(tasks)
    assert HOSTILE not in html
    for part in ("Query log", "Worst queries of each model", "NDCG@10", "both", "random order"):
        assert part in html
    log = tasks[0].kind.view(tasks[0])["log"]
    assert {(entry["a"], entry["b"]) for entry in log} <= {(a, b) for a in [*MODELS, "both"] for b in [*MODELS, "both"]}
    query = log[0]["queries"][0]
    assert query["gain"] == pytest.approx(query["ndcg"][0] - query["ndcg"][1])
    shown = [[pair[side]["document"] for pair in query["ranks"]] for side in (0, 1)]
    assert sorted(shown[0]) == sorted(shown[1])
    moves = [pair[0]["move"] for pair in query["ranks"]]
    assert moves == [shown[1].index(text) - place for place, text in enumerate(shown[0])]
    text = markdown.render(tasks)
    assert "| both |" in text
    assert "NDCG@10" in text
