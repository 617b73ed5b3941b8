"""Make torchvision importable where its compiled operators cannot be loaded.

A torchvision built for CUDA next to a CPU-only torch cannot load its library, goes on without it, and then
fails at import because it describes operators (nms, qnms) that nobody defined (pytorch/vision issue 9085).
Nothing here calls these operators, so their bare definitions are enough. They are added as a FRAGMENT of
torchvision's namespace and only where they are missing: a torchvision that is whole stays as it is.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_definitions: list[Any] = []  # the definitions last as long as the object that made them


def prepare_torchvision() -> None:
    """Call this before the first import of torchvision, or of what imports it; once is enough."""
    import torch

    spec = find_spec("torchvision")
    if _definitions or spec is None or spec.origin is None:
        return
    try:
        for library in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(library))
    except OSError as error:
        logger.debug("torchvision's operators cannot be loaded: %s", error)
    missing = [schema for schema in _SCHEMAS if not hasattr(torch.ops.torchvision, schema.split("(")[0])]
    if missing:
        fragment = torch.library.Library("torchvision", "FRAGMENT")
        for schema in missing:
            fragment.define(schema)
        _definitions.append(fragment)
        logger.debug("torchvision is used without its compiled operators")
