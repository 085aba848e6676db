"""Linear models as skops: scikit-learn's own objects in a file that runs nothing when it is read, unlike a pickle.

One text: a Pipeline with `predict_proba` (labels) or `predict` (scores). A pair: {vectors, labels}, the n-grams of a
text and the regression over |a - b|, a * b, the cosine and its square, which scikit-learn has no step for.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from retune.errors import RetuneError
from retune.exports.protocol import Built, Exported, decided
from retune.learners import tfidf
from retune.learners.tfidf_logistic.predict import TfidfClassifier
from retune.learners.tfidf_ridge.predict import TfidfScorer

if TYPE_CHECKING:
    from retune.params import Params

FILE = "model.skops"
SCHEMA = "schema.json"
PLACE = re.compile(r"(?<=\"__id__\": )\d+|(?<![\w.])\d+(?=\.npy)")
"""Where an object or an array was in memory."""

LOAD = ["from skops.io import load", "", f'model = load("{FILE}")']


def write(built: Built, out: Path) -> Exported:
    """Write model.skops; the temperature is in the weights."""
    linear = tfidf.load(built.folder, built.spec)
    form: dict[str, Any] = {"form": "skops", "library": "sklearn"}
    if built.spec.kind == "scoring":
        _dump(Pipeline([("vectors", _vectors(linear)), ("scores", _regression(linear, built.spec))]), out)
        low, high = built.spec.scores
        use = [*LOAD, f'scores = model.predict(["a document"]).clip({low}, {high})[0]']
        use += [f"found = dict(zip({list(built.spec.dimensions)!r}, scores, strict=True))"]
        return Exported(**form, opener="skops_scorer", tag="text-classification", use=use, fitted=built.fitted)
    temperature = built.fitted["temperature"]
    labels = _classifier(linear, built.spec, temperature)
    fitted = built.fitted | {"temperature": 1.0, "temperature_in_weights": temperature}
    pair = len(built.columns) > 1
    if pair:
        _dump({"vectors": _vectors(linear), "labels": labels}, out)
        use = ["import numpy as np", "from scipy import sparse", *LOAD]
        use += ['a, b = (model["vectors"].transform([text]) for text in ("one text", "another"))']
        use += ["cosine = a.multiply(b).sum(axis=1)"]
        use += ["features = sparse.hstack([abs(a - b), a.multiply(b), cosine, np.square(cosine)])"]
        use += ['probability = model["labels"].predict_proba(features)[0, 1]', *decided(built)]
    else:
        _dump(Pipeline([("vectors", _vectors(linear)), ("labels", labels)]), out)
        use = [*LOAD, 'labels, probabilities = model.predict(["a text"]), model.predict_proba(["a text"])']
        use += ["# the columns of probabilities are model.classes_"]
    opener = "skops_pair" if pair else "skops_classifier"
    return Exported(**form, opener=opener, tag="text-classification", use=use, fitted=fitted)


def _vectors(linear: tfidf.Linear) -> FeatureUnion:
    """The length-1 vectors of texts, of one sort of n-grams or of both, as `tfidf.joined` makes them."""
    units = linear.vectorizers
    weight = len(units) ** -0.5
    return FeatureUnion(list(units.items()), transformer_weights=dict.fromkeys(units, weight))


def _classifier(linear: tfidf.Linear, spec: Params, temperature: float) -> LogisticRegression:
    """The regression as fitted; of two labels scikit-learn keeps the difference of their rows alone."""
    coef, bias = linear.weights.T / temperature, linear.bias / temperature
    if len(spec.labels) == 2:
        coef, bias = coef[1:] - coef[:1], bias[1:] - bias[:1]
    found = LogisticRegression()
    found.coef_, found.intercept_ = np.ascontiguousarray(coef), bias
    found.classes_, found.n_features_in_ = np.array(spec.labels), coef.shape[1]
    return found


def _regression(linear: tfidf.Linear, spec: Params) -> LinearRegression:
    found = LinearRegression()
    found.coef_, found.intercept_ = np.ascontiguousarray(linear.weights.T), linear.bias
    found.n_features_in_ = linear.weights.shape[0]
    return found


def load(folder: Path, card: Params, hardware: Params) -> TfidfClassifier | TfidfScorer:
    """Read what `write` wrote."""
    model = _skops().load(folder / FILE)
    vectors, last = (model["vectors"], model["labels"]) if isinstance(model, dict) else (model[0], model[-1])
    weights, bias = last.coef_.T, last.intercept_
    if card.spec.kind != "scoring" and len(card.spec.labels) == 2:
        weights, bias = np.hstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    linear = tfidf.Linear(dict(vectors.transformer_list), weights, bias)
    return (TfidfScorer if card.spec.kind == "scoring" else TfidfClassifier)(linear, card.spec)


def tensors(file: Path) -> dict[str, np.ndarray]:
    """Weights and n-grams in a file that `write` wrote, by what they are."""
    model = _skops().load(file)
    vectors, last = (model["vectors"], model["labels"]) if isinstance(model, dict) else (model[0], model[-1])
    found: dict[str, np.ndarray] = {}
    for unit, vectorizer in vectors.transformer_list:
        found |= {f"the {unit} n-grams": vectorizer.get_feature_names_out(), f"idf of {unit}": vectorizer.idf_}
    return found | {"coef_": last.coef_, "intercept_": last.intercept_}


def token_ids(predictor: TfidfClassifier | TfidfScorer, rows: pl.DataFrame) -> None:
    """N-grams are no tokens."""


def _dump(model: Any, out: Path) -> None:
    """Write the file; skops names objects and arrays by their places in memory, and the zip has a time."""
    with zipfile.ZipFile(io.BytesIO(_skops().dumps(model))) as written:
        schema = written.read(SCHEMA).decode("utf-8")
        number: dict[str, str] = {}
        for place in PLACE.findall(schema):
            number.setdefault(place, str(len(number)))
        files = {SCHEMA: PLACE.sub(lambda match: number[match[0]], schema).encode("utf-8")}
        for name in written.namelist():
            if name != SCHEMA:
                files[PLACE.sub(lambda match: number[match[0]], name)] = written.read(name)
    with zipfile.ZipFile(out / FILE, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(files):
            file.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)


def _skops() -> Any:
    try:
        import skops.io
    except ImportError:
        raise RetuneError("linear models are exported by skops, which is not installed: `pip install skops`") from None
    return skops.io
