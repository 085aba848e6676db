"""What the page says, in English and Chinese; the language is the first of the browser's that the table has."""

from __future__ import annotations

from typing import Any

LANGUAGES = {"en": "English", "zh": "中文"}

WORDS = {
    "title": ("Ask a model", "向模型提问"),
    "language": ("Language", "语言"),
    "model": ("Model", "模型"),
    "one": ("One input", "单条输入"),
    "file": ("A file", "文件"),
    "example": ("An example of the project", "项目中的示例"),
    "text": ("Text", "文本"),
    "text_a": ("First text", "第一段文本"),
    "text_b": ("Second text", "第二段文本"),
    "query": ("Query", "查询"),
    "documents": ("Documents, one on each line", "候选文档，每行一篇"),
    "document": ("Document", "文档"),
    "dimensions": ("Dimensions", "维度"),
    "ask": ("Ask", "提问"),
    "rank": ("Rank", "排序"),
    "assess": ("Score", "评分"),
    "upload": ("File: csv, tsv, json, jsonl, parquet or xlsx", "文件：csv、tsv、json、jsonl、parquet 或 xlsx"),
    "columns": ("Columns, where the file names them otherwise", "列名（文件中列名不同时填写）"),
    "columns_hint": ("{column}=FIELD, separated by commas", "{column}=字段名，用逗号分隔"),
    "columns_word": ("under Columns", "在“列名”中"),
    "run_file": ("Predict the file", "预测文件"),
    "answer": ("Answer", "结果"),
    "probabilities": ("Probabilities", "概率"),
    "more_labels": ("{count} more labels", "其余 {count} 个标签"),
    "chosen": ("chosen", "选中"),
    "pair_0": ("no match", "不匹配"),
    "pair_1": ("match", "匹配"),
    "unread": ("The answer names no label.", "回答中没有可识别的标签。"),
    "unsure": ("Unsure", "不确定"),
    "kept_back": (
        "The model is not sure enough to answer: beside is the label that it would give.",
        "模型把握不足，不给出答案；旁边是它倾向的标签。",
    ),
    "none_of_these": (
        "Probably none of these labels: the text is unlike those that the model knows.",
        "很可能不属于任何标签：该文本与模型见过的文本不同。",
    ),
    "cut": (
        "The input was longer than the model reads: it was cut, as in the training.",
        "输入超过模型可读长度，已按训练时的方式截断。",
    ),
    "reasoning": ("Reasoning", "推理过程"),
    "reason": ("Reason", "理由"),
    "wrote": ("The model wrote", "模型写出的答案"),
    "confusable": ("Easily confused with", "易混淆标签"),
    "confused": (
        "On {rows} calibration and test rows this answer was given {called} times, and right for {right} of them:",
        "在 {rows} 条校准和测试数据上，这一答案给出 {called} 次，其中 {right} 次正确：",
    ),
    "confused_one": (
        "{other}: taken for this answer {there} times, the other way round {back} times",
        "{other}：被误判为该答案 {there} 次，反向误判 {back} 次",
    ),
    "never_confused": (
        "On {rows} calibration and test rows no other label was mixed up with it. The next ones of this answer:",
        "在 {rows} 条校准和测试数据上没有标签与它混淆。本次回答的后续标签：",
    ),
    "runners_up": (
        "No calibration or test predictions lie beside this model. The next labels of this answer:",
        "该模型旁没有校准或测试预测。本次回答的后续标签：",
    ),
    "threshold": ("Threshold: from which probability on the label is {label}", "阈值：概率达到多少时判为 {label}"),
    "threshold_head": ("What the threshold does", "阈值的作用"),
    "threshold_none": (
        "Ask first: this shows what another threshold would answer.",
        "请先提问，此处将显示不同阈值下的答案。",
    ),
    "at_own": ("At the model's own threshold, {value}", "模型自身阈值 {value}"),
    "at_chosen": ("At {value}", "阈值 {value}"),
    "this_input": ("this input", "本条输入"),
    "own_threshold": ("the model's threshold", "模型阈值"),
    "your_threshold": ("the slider", "滑块"),
    "precision": ("Precision", "精确率"),
    "recall": ("Recall", "召回率"),
    "measured": ("Measured for {label} on {rows} calibration rows.", "在 {rows} 条校准数据上对 {label} 计算。"),
    "unmeasured": (
        "No calibration predictions lie beside this model, so there is no precision and recall.",
        "该模型旁没有校准预测，无法给出精确率和召回率。",
    ),
    "place": ("Place", "名次"),
    "score": ("Score", "得分"),
    "relevance": ("Relevance", "相关度"),
    "expected": ("Expected", "期望值"),
    "dimension": ("Dimension", "维度"),
    "of_scale": ("{low} to {high}", "{low} 至 {high}"),
    "distribution": ("Distribution", "分布"),
    "download": ("Download", "下载"),
    "kept": ("kept for an hour", "保留一小时"),
    "done": (
        "{file}: {rows} records, {empty} without a prediction, {cut} cut to the model's length.",
        "{file}：共 {rows} 条记录，{empty} 条没有预测，{cut} 条被截断。",
    ),
    "first_rows": ("The first {count} lines", "前 {count} 行"),
    "error": ("Not answered", "未能回答"),
    "empty": ("{what} is empty: write something there.", "“{what}”为空，请填写。"),
    "too_long": (
        "{what} has {length} characters, more than the {limit} that are read at a time.",
        "“{what}”有 {length} 个字符，超过上限 {limit}。",
    ),
    "too_many_documents": (
        "There are {count} documents, more than the {limit} that are ranked at a time.",
        "共有 {count} 篇文档，超过单次上限 {limit}。",
    ),
    "no_dimension": ("Choose at least one dimension.", "请至少选择一个维度。"),
    "name_fields": ("Say under Columns where they are: {columns}.", "请在“列名”中填写：{columns}。"),
    "no_file": ("Choose a file first.", "请先选择文件。"),
    "gone": ("The file is no longer here: upload it again.", "文件已被删除，请重新上传。"),
    "too_large": (
        "{file} has {size} MiB, more than the {limit} that a file may have (--max-file).",
        "{file} 有 {size} MiB，超过文件大小上限 {limit} MiB（--max-file）。",
    ),
    "too_many_rows": (
        "{file} has more than the {limit} records that are predicted here (--max-rows): use `retune predict`.",
        "{file} 的记录数超过上限 {limit}（--max-rows），请使用 `retune predict`。",
    ),
    "packed": (
        "{file} is compressed or unpacks to too much: unpack it first.",
        "{file} 是压缩文件或解压后过大，请先解压。",
    ),
    "column_form": ("{given}: write it as NAME=FIELD.", "{given}：请写成 列名=字段名。"),
    "failed": ("The page failed; its log says where.", "页面出错，详情见服务器日志。"),
}  # fmt: skip
"""Key -> the English and the Chinese text; names in braces are filled in."""


def say(language: str, key: str, **values: Any) -> str:
    """A text of the table with its values."""
    return WORDS[key][list(LANGUAGES).index(language)].format(**values)


def preferred(header: str) -> str:
    """The language of a header `Accept-Language` that the table has, by its weights; English where it has none."""
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")):
        name, _, weight = part.partition(";")
        try:
            worth = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES and worth > 0:
            found.append((-worth, place, language))
    return min(found)[2] if found else "en"
