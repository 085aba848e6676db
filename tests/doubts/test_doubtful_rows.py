"""Flipped labels stand first, rows that were made stand nowhere, and one set of rows has one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from retune.doubts import doubtful_rows, views
from retune.params import Params
from tests.support import tiny_encoder

TOPICS = {"退款": "退款退货还钱赔付", "开通": "开通办理业务套餐", "话费": "话费余额账单扣钱"}
LABELS = list(TOPICS)


def rows(count: int = 300, flipped: int = 9) -> tuple[pl.DataFrame, set[str]]:
    """Texts of three topics, with which their labels go but for `flipped` ones, whose ids come too."""
    random = np.random.default_rng(0)
    table = []
    for number in range(count):
        label = LABELS[number % 3]
        text = "".join(random.choice(list(TOPICS[label]), 8)) + "".join(random.choice(list("我想请问一下"), 3))
        table.append((f"r{number}", f"g{number // 2}", text, label, "original"))
    frame = pl.DataFrame(table, schema=["id", "group", "text", "label", "origin"], orient="row")
    bad = set(frame["id"].sample(flipped, seed=1))
    other = pl.col("label").replace(dict(zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True)))
    return frame.with_columns(label=pl.when(pl.col("id").is_in(list(bad))).then(other).otherwise("label")), bad


def spec(doubts: int = 1000, *bases: str, kind: str = "classification") -> Params:
    readers = [Params(base=base) for base in bases]
    return Params(kind=kind, labels=LABELS if kind == "classification" else ["0", "1"], doubts=doubts, readers=readers)


def test_flipped_labels_come_first_with_the_label_that_they_had():
    frame, bad = rows()
    found = doubtful_rows.find(frame.lazy(), spec(), Path("none"))
    assert found is not None
    assert set(found.table["id"][: len(bad)]) == bad
    assert found.table["surety"].is_sorted()
    true = {row["id"]: LABELS[int(row["id"][1:]) % 3] for row in frame.to_dicts()}
    assert all(row["likeliest"] == true[row["id"]] for row in found.table.head(len(bad)).to_dicts())
    assert abs(found.summary["expected"] - len(bad)) <= 2
    assert found.summary["models"] == ["ngrams"]


def test_altered_rows_are_not_judged():
    frame, _ = rows()
    altered = frame.with_columns(pl.col("id") + "-swap", origin=pl.lit("swap"))
    both = doubtful_rows.find(pl.concat([frame, altered]).lazy(), spec(), Path("none"))
    alone = doubtful_rows.find(frame.lazy(), spec(), Path("none"))
    assert both is not None
    assert alone is not None
    assert both.table.equals(alone.table)


def test_of_many_rows_a_sample_by_hash_is_judged():
    frame, _ = rows()
    found = doubtful_rows.find(frame.lazy(), spec(100), Path("none"))
    again = doubtful_rows.find(frame.reverse().lazy(), spec(100), Path("none"))
    assert found is not None
    assert again is not None
    assert 60 < found.summary["looked_at"] < 140
    assert found.summary["rows"] == 300
    assert set(found.table["id"]) == set(again.table["id"])


def test_a_base_gives_a_second_view_that_counts(tmp_path):
    tiny_encoder.tiny_encoder(tmp_path / "encoder")
    frame, _ = rows()
    found = doubtful_rows.find(frame.lazy(), spec(1000, "scratch", "encoder"), tmp_path)
    again = doubtful_rows.find(frame.lazy(), spec(1000, "scratch", "encoder"), tmp_path)
    assert found is not None
    assert again is not None
    assert found.summary["models"] == ["ngrams", "embeddings"]
    assert found.table.equals(again.table)
    by = found.table.with_columns(
        (pl.col("by_ngrams").clip(1e-3) * pl.col("by_embeddings").clip(1e-3)).sqrt().alias("m")
    )
    assert np.allclose(by["m"], by["surety"])


def test_pairs_are_judged_in_both_views(tmp_path):
    tiny_encoder.tiny_encoder(tmp_path / "encoder")
    frame = tiny_encoder.pairs(64)
    group = pl.col("id").cast(pl.String)
    frame = frame.with_columns(id=group, group=group, origin=pl.lit("original"))
    found = doubtful_rows.find(frame.lazy(), spec(1000, "encoder", kind="pair"), tmp_path)
    assert found is not None
    assert (found.summary["judged"], found.summary["models"]) == (64, ["ngrams", "embeddings"])


def test_rows_of_one_label_are_not_judged():
    frame, _ = rows()
    assert doubtful_rows.find(frame.with_columns(label=pl.lit("退款")).lazy(), spec(), Path("none")) is None


def test_the_table_of_word_embeddings_is_the_one_of_the_model(tmp_path):
    from safetensors.numpy import load_file

    tiny_encoder.tiny_encoder(tmp_path)
    table = views.word_embeddings(tmp_path)
    (name,) = [key for key in load_file(tmp_path / "model.safetensors") if key.endswith("word_embeddings.weight")]
    assert np.array_equal(np.asarray(table), load_file(tmp_path / "model.safetensors")[name])
    assert views.word_embeddings(tmp_path / "none") is None
