"""An encoder as one ONNX graph, in float32 or with 8-bit weights: how it is written, read and run.

The same weights give the same bytes: a graph keeps no traces of the machine that wrote it, and the numbers of 8 bits do
not ask which instructions the processor has. They use 7 of the 8 bits, since an AVX2 processor adds two products in 16
bits, where 8 could overflow: so the same file answers alike with and without VNNI.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from retune.errors import RetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "onnx/model.onnx"
"""Where sentence-transformers and transformers.js look for it."""

TOGETHER = 1_500_000_000
"""Bytes of weights that are kept in the file of the graph, which may have 2 GB; more lie beside it."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")

NEEDS = ("onnx", "onnxruntime", "onnxscript")


class OneOutput(nn.Module):
    """A model of which only the `output` counts."""

    def __init__(self, model: PreTrainedModel, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The output of padded token ids [rows, tokens]."""
        more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)[self.output]
        return found


def need(*names: str) -> None:
    """Raise one `RetuneError` where a package of the extra `onnx` is missing."""
    for name in names or NEEDS:
        try:
            import_module(name)
        except ImportError:
            raise RetuneError(f"ONNX needs `{name}`, which is not installed: `pip install -e '.[onnx]'`") from None


def write(model: PreTrainedModel, given: dict[str, torch.Tensor], output: str, file: Path) -> None:
    """Write the graph of `output` of a model, for any number of rows and tokens; `given` are inputs as an example.

    Weights beyond `TOGETHER` bytes lie beside it, in `model.onnx_data`.
    """
    import onnx_ir

    with _quiet():
        program = torch.onnx.export(
            OneOutput(model.eval(), output),
            (),
            kwargs=given,
            input_names=list(given),
            output_names=[output],
            dynamic_shapes={name: {0: "rows", 1: "tokens"} for name in given},
            dynamo=True,
            verbose=False,
        )
    graph: Any = program.model
    _forget(graph)
    file.parent.mkdir(exist_ok=True)
    onnx_ir.save(graph, file, external_data=_beside(graph, file))


def quantise(file: Path) -> None:
    """Give a graph weights of 8 bits in linear layers, a scale for each column, and embeddings; inputs as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quant_utils, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=file.parent) as place:
        whole = Path(place) / file.name
        beside = file.with_name(f"{file.name}_data")
        external = beside.is_file()
        for one in (file, beside) if external else (file,):
            one.rename(whole.with_name(one.name))
        graph = onnx.load(whole, load_external_data=False)
        weights = {one.name for one in graph.graph.initializer}
        shapes = [one for one in graph.graph.value_info if one.name not in weights]
        del graph.graph.value_info[:]  # of weights that are transposed on the way, which are not the shapes any more
        graph.graph.value_info.extend(shapes)
        quant_utils.add_pre_process_metadata(graph)  # onnxruntime would ask for it
        onnx.save(graph, whole)
        quantize_dynamic(
            whole,
            file,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=external,
        )


def _forget(graph: Any) -> None:
    """Take out the places in the code that each operation came from."""
    for part in (graph.graph, *graph.functions.values()):
        for node in part.all_nodes():
            node.doc_string = None
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*part.inputs, *getattr(part, "initializers", {}).values()):
            value.metadata_props.clear()
        part.metadata_props.clear()
    graph.metadata_props.clear()


def _beside(graph: Any, file: Path) -> str | None:
    size = sum(value.const_value.nbytes for value in graph.graph.initializers.values())
    return f"{file.name}_data" if size > TOGETHER else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and its remarks about packages that no encoder needs."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def tensors(file: Path) -> dict[str, np.ndarray]:
    """The weights of a graph by their names."""
    import onnx
    from onnx import numpy_helper

    found = onnx.load(file).graph.initializer
    return {one.name: numpy_helper.to_array(one) for one in found}


def session(file: Path, threads: int) -> Any:
    """A graph that is ready to run, on the processor."""
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
