"""Words in the names of fields and in labels that tell what is meant, in English and Chinese."""

from __future__ import annotations

from retune.propose.field import Field

LABEL = {
    "label", "labels", "target", "class", "category", "categories", "y", "gold", "intent", "sentiment", "duplicate",
    "verdict", "tag", "output", "completion", "response",
    "topic", "type", "emotion", "stance", "polarity", "match", "matched", "answer", "is_duplicate",
    "标签", "类别", "分类", "意图", "标注", "情感", "是否匹配", "是否相同", "是否重复", "结果", "类型",
}  # fmt: skip
SURE_LABEL = {"label", "labels", "target", "y", "标签", "标注", "class", "category", "gold", "类别", "分类"}
SCORE = {
    "score", "scores", "rating", "ratings", "stars", "star", "grade", "points", "mark", "marks", "quality",
    "评分", "得分", "分数", "打分", "星级", "等级", "总分",
}  # fmt: skip
RELEVANCE = {"relevance", "rel", "relevant", "relevancy", "similarity", "相关性", "相关度", "相似度"}
NO_LABEL = {
    "id", "idx", "index", "no", "number", "uuid", "guid", "run", "fold", "lang", "language", "source", "url", "link",
    "confidence", "price", "currency", "brand", "weight", "time", "date", "timestamp", "page", "length", "len",
    "version",
    "编号", "序号", "时间", "日期", "来源", "价格", "权重", "长度", "语言",
}  # fmt: skip
ID = {"id", "idx", "uuid", "guid", "key", "index", "编号", "序号", "no", "number", "pk", "hash", "unnamed"}
TEXT = {
    "text": 4, "sentence": 4, "query": 3, "content": 4, "utterance": 4, "question": 3, "review": 4, "comment": 4,
    "body": 4, "document": 4, "doc": 3, "passage": 3, "para": 3, "paragraph": 3, "article": 4, "abstract": 3,
    "message": 4, "input": 3, "prompt": 3, "description": 2, "essay": 4, "info": 2, "summary": 2, "title": 1,
    "name": 1, "headline": 1, "instruction": 1,
    "文本": 4, "内容": 4, "正文": 4, "句子": 4, "问题": 3, "评论": 4, "留言": 4, "对话": 4, "作文": 4,
    "标题": 1, "描述": 2,
}  # fmt: skip
QUERY = {"query", "question", "q", "search", "keyword", "问题", "查询", "检索词", "问句", "topic"}
DOCUMENT = {
    "doc", "document", "passage", "title", "text", "answer", "content", "para", "paragraph", "chunk", "candidate",
    "response", "reply", "product", "item", "body", "文档", "标题", "段落", "答案", "内容", "正文", "候选", "回答",
}  # fmt: skip
SIDES = (
    ("1", "2"), ("a", "b"), ("left", "right"), ("first", "second"), ("l", "r"), ("x", "y"), ("one", "two"), ("0", "1"),
    ("一", "二"), ("甲", "乙"), ("左", "右"),
)  # fmt: skip
TWINS = (("premise", "hypothesis"), ("text", "other"), ("source", "target"), ("original", "paraphrase"))
REASONING = {
    "reasoning", "rationale", "think", "thought", "thoughts", "explanation", "cot", "reason", "analysis", "rational",
    "推理", "思考", "解释", "理由", "分析", "依据",
}  # fmt: skip
SPLIT = {"split", "subset", "fold", "partition", "set", "划分", "数据集"}
WEIGHT = {"weight", "weights", "权重"}
GROUP = {
    "group", "family", "cluster", "session", "dialog", "dialogue", "conversation", "thread", "user", "author",
    "customer", "company", "patient", "document", "doc", "source", "topic", "speaker", "product", "case", "article",
    "组", "会话", "用户", "公司", "患者", "客户", "作者", "主题",
}  # fmt: skip
SURE_GROUP = {"group", "family", "cluster", "session", "company", "conversation", "patient", "topic", "组", "公司"}
DIMENSION = {"dimension", "aspect", "trait", "criterion", "criteria", "dim", "维度", "方面", "指标"}

POSITIVE = {
    "1", "yes", "true", "y", "t", "same", "match", "matched", "duplicate", "positive", "pos", "similar", "paraphrase",
    "equivalent", "entailment", "relevant", "是", "对", "相同", "一致", "对齐", "匹配", "相似", "同义", "重复", "正",
    "正例", "相关", "真", "aligned", "equal",
}  # fmt: skip
NEGATIVE = {
    "0", "-1", "no", "false", "n", "f", "different", "negative", "neg", "distinct", "unrelated", "否", "错", "不", "负",
    "负例", "假", "none",
}  # fmt: skip
NEGATIONS = ("not ", "not_", "non", "non-", "un", "no ", "ir", "dis", "不", "非", "无", "没")

SCALES = (
    ("bad", "medium", "great"), ("bad", "medium", "good"), ("bad", "fair", "good", "excellent"),
    ("poor", "fair", "good", "excellent"), ("poor", "average", "good"), ("low", "medium", "high"),
    ("low", "mid", "high"), ("weak", "medium", "strong"), ("bad", "ok", "good"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("very low", "low", "medium", "high", "very high"), ("beginner", "intermediate", "advanced"),
    ("差", "中", "好"), ("差", "中", "良", "优"), ("不及格", "及格", "良好", "优秀"),
    ("低", "中", "高"), ("差", "一般", "好"), ("不合格", "合格", "优秀"), ("f", "e", "d", "c", "b", "a"),
)  # fmt: skip
"""Words for grades, lowest first."""


def has(field: Field, words: set[str] | dict[str, int]) -> bool:
    """Whether the name of a field, or a word in it, is among `words`."""
    last = field.name.removeprefix("$join.").rpartition(".")[2].lower()
    return last in words or any(word in words for word in field.words)


def is_named(field: Field, words: set[str]) -> bool:
    """Whether the name of a field is one of `words`, and nothing more."""
    return field.name.removeprefix("$join.").lower() in words


def polarity(values: list[str]) -> dict[str, int] | None:
    """Of two values, which means 1 (the same) and which 0; None where no word tells."""
    if len(values) != 2:
        return None
    low = [value.strip().lower() for value in values]
    for here, there in ((0, 1), (1, 0)):
        a, b = low[here], low[there]
        negated = any(b == start + a or b == f"{start.strip()} {a}" for start in NEGATIONS)
        if negated or (a in POSITIVE and b in NEGATIVE) or (a == "1" and b in ("0", "-1", "2")):
            return {values[there]: 0, values[here]: 1}
    return None


def scale(values: list[str]) -> list[str] | None:
    """The values from the lowest grade to the highest, where all are words of one scale."""
    low = {value.strip().lower(): value for value in values}
    for words in SCALES:
        if len(values) >= 3 and low.keys() <= set(words):
            return [low[word] for word in words if word in low]
    return None
