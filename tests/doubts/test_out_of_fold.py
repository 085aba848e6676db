"""No row is judged by a model that saw its group, nor by one that never saw its label."""

from __future__ import annotations

import numpy as np

from retune.doubts import out_of_fold


class Remembers:
    """A classifier that knows the labels of the rows that it saw, by their only feature."""

    def fit(self, features, codes):
        self.seen = dict(zip(features[:, 0].tolist(), codes.tolist(), strict=True))
        self.classes_ = np.unique(codes)
        return self

    def predict_proba(self, features):
        assert not self.seen.keys() & set(features[:, 0].tolist()), "a row is judged by a model that saw it"
        return np.full((len(features), len(self.classes_)), 1 / len(self.classes_))


def test_a_group_is_on_one_side():
    codes = np.arange(40) % 2
    groups = [f"g{row // 4}" for row in range(40)]
    folds = out_of_fold.folds_of(codes, groups)
    assert sorted(row for _, held in folds for row in held) == list(range(40))
    for fit, held in folds:
        assert not {groups[row] for row in fit} & {groups[row] for row in held}
    features = np.arange(40)[:, None].astype(float)
    found = out_of_fold.probabilities(features, codes, 2, folds, lambda rows: Remembers())
    assert (found == 0.5).all()


def test_a_label_of_one_group_is_not_judged_instead_of_doubted():
    codes = np.array([0, 1] * 10 + [2, 2])
    groups = [f"g{row}" for row in range(20)] + ["alone", "alone"]
    folds = out_of_fold.folds_of(codes, groups)
    found = out_of_fold.probabilities(np.arange(22.0)[:, None], codes, 4, folds, lambda rows: Remembers())
    assert np.isnan(found[20:]).all()
    assert not np.isnan(found[:20]).any()
    assert (found[:20, 3] == 0).all(), "a label without any row has no probability"


def test_one_group_or_one_label_gives_no_folds():
    assert out_of_fold.folds_of(np.array([0, 1, 0]), ["g", "g", "g"]) == []
    assert out_of_fold.folds_of(np.array([1, 1, 1]), ["a", "b", "c"]) == []
    assert out_of_fold.folds_of(np.zeros(0, dtype=np.int64), []) == []
