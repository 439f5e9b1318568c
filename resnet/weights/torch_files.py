"""State dicts of torch: safetensors files, and the pickles that torch.save writes.

Pickles are left to torch, which reads them without running what is in them (weights_only), where it is installed.
"""

from __future__ import annotations

import io
import logging
import re
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from resnet.errors import UserError
from resnet.weights.layouts import Stored

logger = logging.getLogger(__name__)

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # safetensors' names

# Where training scripts put the state dict in a checkpoint. Averaged weights come first, as in timm: it evaluates them.
NESTED = ("state_dict_ema", "state_dict", "model_state_dict", "model")

# Run where torch is, with the names of both files.
CONVERT = (
    "import sys, torch, safetensors.torch as s; "
    "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
    f"w = next((w[k] for k in {NESTED} if k in w), w); "
    "s.save_file({k: v.contiguous().clone() for k, v in w.items()}, sys.argv[2])"
)


def read_safetensors(content: bytes, path: Path) -> dict[str, Stored]:
    """The tensors of any safetensors file. Raises UserError where it is not a complete one."""
    try:
        tensors = deserialize(content)
    except SafetensorError as error:
        raise UserError(f"{path} is cut short or corrupt ({error}). Get the file again.") from None
    return {
        name: Stored(tuple(tensor["shape"]), dtype, partial(_numbers, tensor["data"], dtype, tensor["shape"]))
        for name, tensor in tensors
        for dtype in [DTYPES.get(tensor["dtype"], tensor["dtype"])]
    }


def _numbers(data: bytes, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype == "bfloat16":  # the upper half of a float32; NumPy has no such type
        upper = np.frombuffer(data, "<u2").astype(np.uint32)
        return (upper << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def read_pickle(content: bytes, path: Path) -> dict[str, Stored]:
    """The tensors of a file that torch.save wrote. Raises UserError without torch, and for what is not weights."""
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a file of torch, which is not installed here. Convert it where torch and safetensors are:\n"
            f"{conversion(path)}"
        ) from None
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise _refused(path, error) from None
    return {name: _stored(value, path) for name, value in state_dict(loaded, path).items()}


def _refused(path: Path, error: Exception) -> UserError:
    """Why torch did not read a file. Its own messages are pages that advise to load the file in unsafe ways."""
    if harmful := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return UserError(
            f"{path} holds more than weights ({harmful[1]}). Reading that could run code, so it is refused. Where you "
            "trust the file, save the weights alone with torch: torch.save(model.state_dict(), FILE)."
        )
    return UserError(f"{path} is cut short or corrupt: torch cannot read it. Get the file again.")


def conversion(path: Path) -> str:
    """The command that turns a file of torch into safetensors."""
    files = shlex.join([str(path), str(path.with_suffix(".safetensors"))])
    return f'python -c "{CONVERT}" {files}'


def state_dict(loaded: Any, path: Path) -> dict[str, Any]:
    """The state dict in what torch.load returned, by the names of its tensors."""
    if not isinstance(loaded, Mapping):
        raise UserError(
            f"{path} holds a {type(loaded).__name__}, not weights by name. Save them with "
            "torch.save(model.state_dict(), FILE)."
        )
    nested = [key for key in NESTED if isinstance(loaded.get(key), Mapping)]
    if not nested:
        return {str(name): value for name, value in loaded.items()}
    others = [str(key) for key in loaded if key != nested[0]]
    logger.info("%s is a checkpoint: %s is taken, not %s", path, nested[0], ", ".join(others) or "anything else")
    return {str(name): value for name, value in loaded[nested[0]].items()}


def _stored(value: Any, path: Path) -> Stored:
    import torch

    if not isinstance(value, torch.Tensor):
        return Stored((), type(value).__name__, partial(np.asarray, 0))
    return Stored(tuple(value.shape), str(value.dtype).removeprefix("torch."), partial(_dense, value, path))


def _dense(value: Any, path: Path) -> np.ndarray:
    import torch

    try:
        return value.detach().to(torch.float32).numpy()
    except (RuntimeError, TypeError):
        raise UserError(f"{path} holds tensors that are not plain arrays. Save them as dense tensors.") from None
