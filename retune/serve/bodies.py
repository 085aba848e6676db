"""What requests hold, with the examples that the OpenAPI document shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool

Filled = Annotated[str, Field(json_schema_extra={"minLength": 1, "pattern": r"\S"})]
"""A text of a request: the document says that it is not blank, and `Served.check` names the place of one that is."""
MODEL = Field(None, description="a served model; may be left out where only one can answer")


class Strict(BaseModel):
    """A body of our own routes: an unknown key is a mistake, and is told."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _example(**body: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [body]})


class Text(Strict):
    """One text to embed."""

    model_config = _example(text="怎么补卡", input_type="query")

    text: Filled
    input_type: Literal["query", "document"] = Field("query", description="many embedders read them differently")
    model: str | None = MODEL


class Texts(Strict):
    """Texts to embed."""

    model_config = _example(texts=["补卡带身份证", "流量怎么买"], input_type="document")

    texts: list[Filled] = Field(min_length=1)
    input_type: Literal["query", "document"] = Field("query", description="many embedders read them differently")
    model: str | None = MODEL


class QueryDoc(Strict):
    """A query and a document to score."""

    model_config = _example(query="怎么补卡", doc="补卡带身份证")

    query: Filled
    doc: Filled = Field(validation_alias=AliasChoices("doc", "document"))
    model: str | None = MODEL


class QueryDocs(Strict):
    """A query and documents to score."""

    model_config = _example(query="怎么补卡", docs=["补卡带身份证", "流量怎么买"])

    query: Filled
    docs: list[Filled] = Field(min_length=1, validation_alias=AliasChoices("docs", "documents"))
    model: str | None = MODEL


class Classify(Strict):
    """Texts to label."""

    model_config = _example(texts=["我想查一下话费"], probabilities=True)

    texts: list[Filled] = Field(min_length=1)
    probabilities: StrictBool = Field(False, description="tell the probability of every label")
    model: str | None = MODEL


class Similar(Strict):
    """Pairs of texts to label."""

    model_config = _example(pairs=[["花呗怎么还", "花呗如何还款"]], probabilities=False)

    pairs: list[tuple[Filled, Filled]] = Field(min_length=1)
    probabilities: StrictBool = Field(False, description="tell the probability of every label")
    model: str | None = MODEL


class Align(Strict):
    """A question and a text that may answer it."""

    model_config = _example(question="sv660n出现e100故障怎么办？", chunk="sv660系列变频器e100.1故障表示过电流")

    question: Filled
    chunk: Filled
    model: str | None = MODEL


class Assess(Strict):
    """A document to score."""

    model_config = _example(document="公司成立于2012年，主营工业机器人。", dimensions=["innovation"])

    document: Filled
    dimensions: list[str] | None = Field(None, min_length=1, description="default: all")
    model: str | None = MODEL


class Embeddings(BaseModel):
    """A request of OpenAI's clients; what these send beside, as `user`, is not read."""

    model_config = _example(model="retrieval_embedder", input=["补卡带身份证"], encoding_format="float")

    model: str
    input: Filled | list[Filled] = Field(description="texts; token ids are not read")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="of an embedder that was trained to be cut")
    input_type: Literal["query", "document", "passage", "search_query", "search_document"] = "query"


class Document(BaseModel):
    """A document as an object."""

    text: Filled


class Rerank(BaseModel):
    """A request of Cohere's and Jina's clients; what these send beside is not read."""

    model_config = _example(
        model="retrieval_reranker", query="怎么补卡", documents=["流量怎么买", "补卡带身份证"], top_n=1
    )

    model: str | None = MODEL
    query: Filled
    documents: list[Filled | Document] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1, description="default: all")
    return_documents: StrictBool = False


class SystemOne(BaseModel):
    """Typed questions about a state, as `transformers serve` answers them."""

    model_config = _example(
        model="similarity_decision",
        state={"text_a": "花呗如何还款", "text_b": "花呗怎么还钱"},
        questions={"same": {"type": "noul"}},
    )

    model: str | None = MODEL
    state: str | dict[str, Any] | list[Any]
    questions: dict[str, dict[str, Any]] = Field(min_length=1, max_length=64)
    assets: dict[str, Any] = Field(default_factory=dict, description="images, which no model here reads")
