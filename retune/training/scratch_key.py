"""What of a training stays in its scratch folder, so that another of its checkpoints becomes the model at once.

`training.checkpoint` and `training.keep_checkpoints` say which weights are taken and which stay, and change nothing in
the training itself: a training that differs in them alone finds the folder of the one before. Where that is gone (it is
local to a checkout, and no output of the build), the same inputs train the same weights again.
"""

from __future__ import annotations

from retune.params import Params

CHECKPOINT_KEYS = ("checkpoint", "keep_checkpoints")


def identity(spec: Params) -> Params:
    """The parameters that a training depends on."""
    if "training" not in spec:
        return spec
    return Params(
        spec | {"training": {key: value for key, value in spec.training.items() if key not in CHECKPOINT_KEYS}}
    )


def outlives_training(spec: Params) -> bool:
    """Whether the scratch folder stays when the training is done."""
    return bool(spec.get("training", {}).get("keep_checkpoints", "best") != "best")
