"""What is known without computing: the cost of every architecture, and the measured results.

Both are files that ship with tfresnet; neither needs TensorFlow to be read.
"""

import json
from importlib import resources
from typing import Any


def costs() -> dict[str, dict[str, int]]:
    """Return ``parameters macs image_size`` of every architecture, at its native size.

    ``python -m tfresnet.models.zoo`` writes the file; a test holds it to what is built.
    """
    return json.loads((resources.files("tfresnet") / "models" / "costs.json").read_text())


def results() -> list[dict[str, Any]]:
    """Return the results that ``tfresnet record`` wrote, as they were when this was packaged."""
    files = (f for f in resources.files("tfresnet.results").iterdir() if f.name.endswith(".json"))
    return [json.loads(f.read_text()) for f in sorted(files, key=lambda f: f.name)]
