"""Train a ResNet in TensorFlow and leave with a model file that a device can run.

Importing this package loads no TensorFlow. It only states which Keras is meant
(Keras 2, that is ``tf_keras``, the one that tensorflow-model-optimization works
on), how talkative TensorFlow's C++ side is, and that it is to use oneDNN on every
x86 processor, not only on those with AVX-512 VNNI: training is then three times as
fast (benchmarks/dry_runs.py onednn). All must be set before TensorFlow is first imported,
and all can be overridden from the environment. If TensorFlow came first, and without oneDNN, a
warning says so.
"""

import importlib
import os
import platform
import sys
import warnings
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if sys.modules.get("tensorflow") and os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1":
        from tensorflow.python.util import _pywrap_util_port  # no public module tells

        if not _pywrap_util_port.IsMklEnabled():
            warnings.warn(
                "TensorFlow was imported before tfresnet, and without oneDNN: training is up to "
                "three times slower, with other weights for the same seed; import tfresnet first, "
                "or set TF_ENABLE_ONEDNN_OPTS=1",
                RuntimeWarning,
                stacklevel=2,
            )

__version__ = "0.1.0"
__all__ = ["evaluate", "export", "load", "train"]

# In a clone, tfresnet.deploy, .cli and .results stand beside this folder (setup.cfg). Python takes
# the clone's tfresnet/ there also where another one is installed, so it must find them itself.
_clone = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not os.path.isdir(os.path.join(__path__[0], "deploy")) and os.path.isfile(
    os.path.join(_clone, "deploy", "__init__.py")
):
    __path__.append(_clone)

if TYPE_CHECKING:
    from tfresnet.api import evaluate, export, load, train


def __dir__() -> list[str]:
    """Return the names of the API, for whom the Tab key asks."""
    return sorted([*__all__, "__version__", "deploy"])


def __getattr__(name: str) -> Any:
    """Import what belongs to the API, and TensorFlow with it, when it is first asked for."""
    if name == "deploy":
        return importlib.import_module("tfresnet.deploy")
    if name in __all__:
        importlib.import_module("tfresnet.system.native_stderr").quiet_tensorflow()
        globals()[name] = value = getattr(importlib.import_module("tfresnet.api"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
