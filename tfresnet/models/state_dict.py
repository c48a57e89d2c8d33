"""The weights in what PyTorch's files hold: which dict they are in, and their plain names."""

from typing import Any

import numpy as np

from tfresnet.models.torch_pickle import Array, Refused, Tensor

# Under which keys training scripts put the weights.
ENTRIES = (
    "state_dict", "model", "net", "model_state", "model_state_dict", "ema", "state_dict_ema",
    "model_ema", "ema_state_dict", "network",
)  # fmt: skip
# What wrappers put before the names: DataParallel, Lightning, torch.compile and others.
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "encoder.", "_orig_mod.")
COUNTERS = "num_batches_tracked"


def arrays(loaded: Any, entry: str | None = None) -> dict[str, np.ndarray]:
    """Return the weights in ``loaded`` by their names there.

    Args:
        loaded: what a file holds, from :func:`.torch_file.read`.
        entry: the keys that lead to the weights, as ``state_dict_ema`` or ``ema.model``; None if
            there is only one dict of weights.

    Raises:
        Refused: there is none or several, or something else than tensors in it.
    """
    found = dict(_dicts(loaded, ""))
    if entry is not None:
        if entry not in found:
            raise Refused(f"no dict of weights called {entry!r} but {_listed(list(found))}")
        found = {entry: found[entry]}
    # Text in place of tensors is worth a message of its own, but only where there are no tensors.
    found = {path: state for path, state in found.items() if _has_tensors(state)} or found
    if not found:
        raise Refused(f"{_described(loaded)} (expected a dict of tensors, or one in {ENTRIES[0]})")
    if len(found) > 1:
        raise Refused(
            f"several dicts of weights, {_listed(list(found))} (choose one: "
            f"tfresnet convert-weights --entry {next(iter(found))})"
        )
    (state,) = found.values()
    return {name: _array(name, value) for name, value in state.items()}


def plain(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the same weights without what wrappers put before their names.

    Raises:
        Refused: two of them have the same name then, or one is no array of floats.
    """
    result: dict[str, np.ndarray] = {}
    before: dict[str, str] = {}
    for name, array in weights.items():
        if array.dtype.kind != "f" and not name.endswith(COUNTERS):
            raise Refused(f"{array.dtype} in {name} (expected floats)")
        short = name
        while prefix := next((p for p in PREFIXES if short.startswith(p)), ""):
            short = short.removeprefix(prefix)
        if short in result:
            raise Refused(f"two networks: {before[short]} and {name}")
        result[short], before[short] = array, name
    return result


def _dicts(value: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the dicts of weights in a dict, each with the keys that lead to it."""
    if not isinstance(value, dict):
        return []
    inside: list[tuple[str, dict[str, Any]]] = []
    for key in ENTRIES:
        for dotted, state in _dicts(value.get(key), f"{path}.{key}" if path else key):
            if not any(state is other for _, other in inside):
                inside.append((dotted, state))
    if inside:
        return inside
    return [(path, value)] if _has_tensors(value) or (value and path) else []


def _has_tensors(state: dict[str, Any]) -> bool:
    return any(isinstance(value, (Tensor, Array)) for value in state.values())


def _array(name: Any, value: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise Refused(f"weights without names ({name!r})")
    if not isinstance(value, (Tensor, Array)):
        raise Refused(f"{_described(value)} in place of a tensor, {name}")
    return value.array()


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict of {_listed(list(value))}" if value else "an empty dict"
    return "nothing" if value is None else f"a {type(value).__name__.lower()}"


def _listed(keys: list[Any], most: int = 5) -> str:
    texts = [repr(key) if key == "" or not isinstance(key, str) else key for key in keys[:most]]
    return ", ".join(texts) + (", ..." if len(keys) > most else "")
