"""Retune: a declarative build system for fine-tuned text models, on DVC."""

import importlib
import logging
import os
import warnings
from typing import Any

__version__ = "0.1.0"

# Before torch loads its OpenMP: its threads spin while they wait for each other, and as soon as another process wants
# a core too, a training step takes many times as long. Ours spin for some microseconds and then sleep: falling asleep
# at once would cost a quiet machine a fifth of a small model's step. PASSIVE is for libraries without such a count.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Said by packages at every start, of an optional kernel, of their own call of an old name, and of a path that is right.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated")
warnings.filterwarnings("ignore", message=".*base_model_name_or_path.* was renamed")


def load(folder: Any) -> Any:
    """The model of a project's folder `models/NAME`, to predict and classify with; see `retune.inference.Model`."""
    # By name, not by an import statement: every stage imports this package, and none of them depends on inference.
    return importlib.import_module("retune.inference").load(folder)
