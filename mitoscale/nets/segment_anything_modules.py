"""The network's modules of the package segment-anything, without the rest of it.

The package imports torchvision as a whole when any part of it is imported, which takes longer than torch itself and 170 MB in each
worker. Its modules need torch alone, so they are imported below a package that is empty meanwhile.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

_PACKAGE = "segment_anything"


def _modeling() -> tuple[ModuleType, ModuleType, ModuleType]:
    """``modeling``, and of it ``common`` and ``image_encoder``."""
    whole = sys.modules.get(_PACKAGE)
    if whole is None:
        found = importlib.util.find_spec(_PACKAGE)
        if found is None:
            raise ImportError(f"the package {_PACKAGE} is missing; install mitoscale with its dependencies")
        empty = ModuleType(_PACKAGE)
        empty.__path__ = list(found.submodule_search_locations or [])
        sys.modules[_PACKAGE] = empty
    try:
        names = ("modeling", "modeling.common", "modeling.image_encoder")
        modeling, common, image_encoder = (importlib.import_module(f"{_PACKAGE}.{name}") for name in names)
        return modeling, common, image_encoder
    finally:
        if whole is None:
            del sys.modules[_PACKAGE]  # who wants the whole package later imports it


_modules, _common, _image_encoder = _modeling()

ImageEncoderViT = _modules.ImageEncoderViT
MaskDecoder = _modules.MaskDecoder
PromptEncoder = _modules.PromptEncoder
TwoWayTransformer = _modules.TwoWayTransformer
LayerNorm2d = _common.LayerNorm2d
Attention = _image_encoder.Attention
get_rel_pos = _image_encoder.get_rel_pos
