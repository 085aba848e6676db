"""Mistakes in the declarations of `tests.support.declarations`, and what is said of each."""

P, D, M, Q = "params.yaml", "data/catalog.yaml", "models/catalog.yaml", "prompts/questions.yaml"

MISTAKES = {
    # ---- one key
    "unknown top key": (
        (P, "lora: {", "lorra: {"),
        "params.yaml:26: lorra: there is no key `lorra`; did you mean `lora`?",
    ),
    "unknown key in a default": (
        (P, "batch_size", "batchsize"),
        "training.batchsize: there is no key `batchsize`; did you mean `batch_size`?",
    ),
    "unknown key in a model": (
        (P, "{epochs: 2}", "{epoch: 2}"),
        "params.yaml:23: models.chatty.training.epoch: there is no key `epoch`; did you mean `epochs`?",
    ),
    "unknown key of a model": (
        (P, "base: llm\n", "base: llm\n    optimiser: adam\n"),
        "models.chatty.optimiser: there is no key `optimiser` (known: task, learner,",
    ),
    "unknown key of a task": (
        (P, "prompt: questions", "promt: questions"),
        "tasks.questions.promt: there is no key `promt`; did you mean `prompt`?",
    ),
    "unknown key of a source": (
        (D, "generator: sim", "size: 3\n  generator: sim"),
        "data/catalog.yaml:4: sample.size: there is no key `size`",
    ),
    "unknown key of a column": (
        (D, "text_a: a,", "text_a: {frm: a},"),
        "sample.tables.0.columns.text_a.frm: there is no key `frm`; did you mean `from`?",
    ),
    "unknown key of a checkpoint": (
        (M, "none: {kind: none,", "none: {kind: none, poling: cls,"),
        "none.poling: there is no key `poling`; did you mean `pooling`?",
    ),
    "unknown key of a prompt": (
        (Q, "system:", "sistem:"),
        "prompts/questions.yaml:1: sistem: there is no key `sistem`; did you mean `system`?",
    ),
    "a key that is no more": (
        (P, "batch_size: 8", "batch_size: 8, gradient_accumulation: 4"),
        "training.gradient_accumulation: is no more: batch_size counts the rows of a step, which takes as many forward "
        "passes as packed_tokens asks for; write batch_size: 32 (8 x 4), and take this line out",
    ),
    "the same in a model": (
        (P, "{epochs: 2}", "{epochs: 2, gradient_accumulation: 2}"),
        "params.yaml:23: models.chatty.training.gradient_accumulation: is no more: batch_size counts the rows of a "
        "step, which takes as many forward passes as packed_tokens asks for; write batch_size: 16 (8 x 2)",
    ),
    "missing key": ((P, "    kind: pair\n", ""), "tasks.questions.kind: is missing"),
    "text for a number": (
        (P, "batch_size: 8", "batch_size: '8'"),
        "training.batch_size: is the text '8', but must be a whole number",
    ),
    "fraction for a whole number": (
        (P, "batch_size: 8", "batch_size: 8.5"),
        "training.batch_size: is 8.5, but must be a whole number",
    ),
    "truth for a number": ((P, "epochs: 1,", "epochs: true,"), "training.epochs: is true, but must be a number"),
    "list for a mapping": ((P, "lora: {r: 16}", "lora: [16]"), "lora: is [16], but must be a mapping"),
    "below the limit": (
        (P, "{epochs: 2}", "{epochs: -1}"),
        "models.chatty.training.epochs: is -1, but must be greater than or equal to 0",
    ),
    "infinite": (
        (P, "{epochs: 2}", "{epochs: .inf}"),
        "models.chatty.training.epochs: is inf, but must be a finite number",
    ),
    "not among the allowed": (
        (P, "name: focal", "name: focl"),
        "models.cross.loss.name: is the text 'focl', but must be 'cross_entropy' or 'focal'; did you mean `focal`?",
    ),
    "endpoint without an address": (
        (P, "  chatty:", "  remote: {task: questions, learner: api, base: scratch, api: {model: m}}\n  chatty:"),
        "models.remote.api.url: is missing; give the endpoint's, such as http://localhost:8000/v1",
    ),
    "key in an address": (
        (P, "lora: {r: 16}", "api: {url: 'https://key@host/v1'}"),
        "api.url: is the text 'https://key@host/v1', but must match",
    ),
    "endpoint with a checkpoint": (
        (
            P,
            "  chatty:",
            "  remote: {task: questions, learner: api, base: llm, api: {url: http://h, model: m}}\n  chatty:",
        ),
        "models.remote.base: `llm` is a huggingface checkpoint, which api can't read; give one of kind none",
    ),
    "unknown learner": (
        (P, "learner: encoder", "learner: encoders"),
        "is the text 'encoders', but must be 'linear', 'encoder', 'embedder', 'llm' or 'api'; did you mean `encoder`?",
    ),
    "dot in a name": ((P, "  cross:", "  cross.v2:"), "models.cross.v2: a name may have letters, digits, _ and - only"),
    "n-grams backwards": (
        (P, "base: scratch}", "base: scratch, linear: {ngrams: [3, 1]}}"),
        "models.plain.linear.ngrams: is [3, 1], but the first length must not exceed the second",
    ),
    "splits above one": (
        (P, "kind: pair", "kind: pair\n    split: {test: 0.9}"),
        "tasks.questions.split: dev + calibration + test must stay below 1",
    ),
    # ---- names
    "unknown checkpoint": (
        (P, "encoder: small", "encoder: smal"),
        "bases.encoder: there is no checkpoint `smal` in models/catalog.yaml; did you mean `small`?",
    ),
    "unknown source": (
        (P, "source: sample", "source: sampel"),
        "tasks.questions.source: there is no source `sampel` in data/catalog.yaml; did you mean `sample`?",
    ),
    "unknown prompt": (
        (P, "prompt: questions", "prompt: question"),
        "tasks.questions.prompt: there is no prompt `question` in prompts/; did you mean `questions`?",
    ),
    "unknown task": (
        (P, "{task: questions, learner: linear", "{task: question, learner: linear"),
        "models.plain.task: there is no task `question`; did you mean `questions`?",
    ),
    "unknown role": (
        (P, "base: llm\n", "base: lm\n"),
        "models.chatty.base: there is no role `lm` under `bases`; did you mean `llm`?",
    ),
    "unknown generator": (
        (D, "generator: similarity", "generator: similar"),
        "sample.generator: there is no module `similar` in retune/sources/samples; did you mean `similarity`?",
    ),
    "unknown column": (
        (D, "text_a: a,", "text_c: a, text_a: a,"),
        "sample.tables.0.columns.text_c: there is no column `text_c` of kind pair; did you mean",
    ),
    "unknown encoding": (
        (D, "file: rows.csv", "file: rows.csv\n      encoding: big-6"),
        "files.tables.0.encoding: there is no encoding `big-6`; did you mean `big5`?",
    ),
    "row that is none": (
        (D, "file: rows.csv", "file: rows.csv\n      header_row: 0"),
        "header_row: is 0, but must be greater than or equal to 1",
    ),
    "expression that reads a file": (
        (D, "columns: {text_a: a", "where: (SELECT a FROM read_csv('x'))\n      columns: {text_a: a"),
        "sample.tables.0.where: `SELECT` looks elsewhere, and an expression sees one record alone",
    ),
    "expression that compares a text with a number": (
        (D, "text_a: a, ", "text_a: {sql: a > 3}, "),
        "sample.tables.0.columns.text_a.sql: cannot compare string with numeric",
    ),
    "labels that nobody wrote down": (
        (P, "kind: pair\n", "kind: classification\n    labels: auto\n"),
        "tasks.questions.labels: `auto` stands for the labels that the data has: `retune check --write` writes them",
    ),
    # ---- catalog entries
    "missing column": ((D, "text_a: a, ", ""), "sample.tables.0.columns: has no `text_a`, which kind pair needs"),
    "url without hash": (
        (D, "kind: path", "kind: url\n  url: https://example.org/rows.zip"),
        "files: a url entry needs `sha256`",
    ),
    "field of another kind": ((D, "kind: path", "kind: path\n  repo: a/b"), "files.repo: is not read by a path entry"),
    "hash that is none": (
        (D, "kind: path", "kind: url\n  url: https://example.org/r\n  sha256: abc"),
        "files.sha256: is the text 'abc', but must match ^[0-9a-f]{64}$",
    ),
    "hub without revision": ((D, "  revision: main\n", ""), "hub: a huggingface entry needs `revision`"),
    # ---- combinations
    "section of another learner": (
        (P, "loss: {name: focal}", "lora: {r: 8}"),
        "models.cross.lora: the learner encoder does not read this section, only training, loss, hardware; take it out",
    ),
    "4-bit and full": (
        (P, "{epochs: 2}", "{epochs: 2}\n    quantization: {bits: 4}\n    lora: {method: full}"),
        "models.chatty.quantization.bits: 4-bit weights can't be trained in full",
    ),
    "4-bit default and full": (
        (P, "lora: {r: 16}", "lora: {method: full}\nquantization: {bits: 4}"),
        "models.chatty.quantization.bits: 4-bit weights can't be trained in full",
    ),
    "llm without a prompt": (
        (P, "    prompt: questions\n", ""),
        "models.chatty.learner: llm needs a prompt, but tasks.questions has none",
    ),
    "linear with a checkpoint": (
        (P, "learner: linear, base: scratch", "learner: linear, base: encoder"),
        "models.plain.base: `encoder` is a huggingface checkpoint, which linear can't read",
    ),
    "encoder without a checkpoint": (
        (P, "learner: encoder\n    base: encoder", "learner: encoder\n    base: scratch"),
        "models.cross.base: `scratch` is empty (kind none), but encoder needs a pretrained checkpoint",
    ),
    "flash attention on the cpu": (
        (P, "lora: {r: 16}", "hardware: {device: cpu, attention: flash_attention_2}"),
        "models.cross.hardware.attention: flash_attention_2 needs device: cuda, not cpu",
    ),
    "float16 on the cpu": (
        (P, "{epochs: 2}", "{epochs: 2}\n    hardware: {device: cpu, dtype: float16}"),
        "models.chatty.hardware.dtype: float16 is for GPUs",
    ),
    "several processes on one Apple GPU": (
        (P, "{epochs: 2}", "{epochs: 2}\n    hardware: {device: mps, processes: 2}"),
        "models.chatty.hardware.processes: is 2, but an Apple GPU serves one process",
    ),
    "weights that wait in an Apple GPU's own memory": (
        (P, "{epochs: 2}", "{epochs: 2}\n    hardware: {device: mps, sharding: offload}"),
        "models.chatty.hardware.sharding: is offload, but an Apple GPU shares the machine's memory; take none",
    ),
    "divided weights that are trained": (
        (P, "{epochs: 2}", "{epochs: 2}\n    hardware: {sharding: offload}\n    lora: {method: full}"),
        "models.chatty.lora.method: is full, but hardware.sharding offload divides frozen weights: take an adapter",
    ),
    "attack beyond its radius": (
        (P, "name: focal", "adversarial: pgd, epsilon: 0.1"),
        "models.cross.loss.pgd_step_size: is 0.3, above loss.epsilon (0.1)",
    ),
    "size of real data": (
        (P, "source: sample", "source: hub\n    size: 3"),
        "tasks.questions.size: only a sample has a size, and hub is a huggingface source",
    ),
    "two equal answers": (
        (Q, '"1": yes', '"1": no'),
        "prompts/questions.yaml:3: answers.0: `no` is the answer of more than one label",
    ),
    "share of a label that there is not": (
        (P, "    prompt: questions", "    prompt: questions\n    augmentation: {synonym: {'2': 0.5}}"),
        "tasks.questions.augmentation.synonym.2: there is no label `2` of task questions (known: 0, 1)",
    ),
    "share above one": (
        (P, "lora: {", "augmentation: {synonym: 1.5}\nlora: {"),
        "augmentation.synonym: is 1.5, but must be a mapping or less than or equal to 1",
    ),
    "one length of n-grams": (
        (P, "lora: {", "linear: {ngrams: [1]}\nlora: {"),
        "linear.ngrams: has 1 entry, but must have at least 2 entries",
    ),
    "no penalty to choose": (
        (P, "lora: {", "linear: {c: []}\nlora: {"),
        "linear.c: is [], but must be a number or a list of at least 1 entry",
    ),
    "too many labels": (
        (P, "kind: pair", f"kind: classification\n    labels: [{', '.join(f'l{n}' for n in range(500))}]"),
        "tasks.questions.labels: has 500 labels, but 2 to 200 are possible; merge the rare ones, by a `map` of "
        "`columns.label` in data/catalog.yaml",
    ),
    "balance of another name": (
        (P, "lora: {", "split: {balance: some}\nlora: {"),
        "split.balance: is the text 'some', but must be",
    ),
    "answers of other labels": (
        (Q, '"1": yes', '"2": yes'),
        "prompts/questions.yaml:3: answers: lacks `1` and has the unknown `2`, unlike the labels of task questions",
    ),
    "prompt without a column": (
        (Q, "{text_b}", "{text_c}"),
        "prompts/questions.yaml:2: user: does not contain {text_b}",
    ),
    "tolerance of no task": (
        (P, "lora: {", "gate: {question: {worse_by: 0.1}}\nlora: {"),
        "params.yaml:26: gate.question: there is no task `question`; did you mean `questions`?",
    ),
    "tolerance below zero": (
        (P, "lora: {", "gate: {questions: {worse_by: -0.1}}\nlora: {"),
        "params.yaml:26: gate.questions.worse_by: is -0.1, but must be greater than or equal to 0",
    ),
    "unknown key of a tolerance": (
        (P, "lora: {", "gate: {questions: {worseby: 0.1}}\nlora: {"),
        "gate.questions.worseby: there is no key `worseby`; did you mean `worse_by`?",
    ),
    # ---- YAML itself
    "key twice": (
        (P, "  llm: chat", "  llm: chat\n  llm: small"),
        "params.yaml:6: bases.llm: stands twice (first in line 5); keep one",
    ),
    "anchor": ((P, "{epochs: 2}", "&two {epochs: 2}"), "params.yaml:23: `&two`: anchors and aliases are not allowed"),
    "merge key": ((P, "lora: {r: 16}", "lora:\n  <<: {r: 16}"), "params.yaml:27: `<<`: merge keys are not allowed"),
    "model named by a number": (
        (P, "  untuned: {", "  2024: {"),
        'params.yaml:13: models.2024: DVC reads no text here, and would make no stages; put the name in quotes: "2024"',
    ),
    "task named by a date": ((P, "  questions:\n", "  2024-01-01:\n"), "`2024-01-01`: DVC reads a date here; put it"),
    "date as a label": ((P, "lora: {r: 16}", "lora: {r: 2023-05-09}"), "`2023-05-09`: DVC reads a date here; put it"),
    "reserved name": ((P, "  plain: {", "  bases: {"), "models.bases: models/bases is the folder of the pretrained"),
    "interpolation": ((P, "r: 16", "r: '${seed}'"), "params.yaml:26: `${seed}`: `${` is not allowed"),
    "not YAML": ((P, "lora: {r: 16}", "lora: {r: 16"), "params.yaml:27: not YAML"),
    "tag": ((P, "r: 16", "r: !!python/name:os.system 16"), "lora.r: the tag"),
    "tab": ((P, "  llm: chat", "\tllm: chat"), "params.yaml:5: not YAML"),
}
"""Mistake -> (file, old, new), and what its line must hold."""
