"""Write a CycloneDX bill of materials of an export: model, files, data, libraries, licenses.

https://cyclonedx.org; by its own library, but for the model card, which that has not yet
(https://github.com/CycloneDX/cyclonedx-python-lib/issues/912). The same export gives the same file.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency as Edge
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tfresnet.deploy.provenance import Provenance
from tfresnet.deploy.records import Report
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.metadata import ModelMetadata
from tfresnet.system import dependencies
from tfresnet.system.dependencies import UNKNOWN, Dependency
from tfresnet.system.files import digest_of

FILE = "bom.cdx.json"
MODEL, DATA = "model", "data"
FAMILY = "convolutional neural network"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tfresnet:export")


def text(made_of: Provenance, metadata: ModelMetadata, report: Report) -> str:
    """Return the bill of materials of a finished export as JSON, version 1.6.

    Args:
        made_of: digests of code, data and record.
        metadata: what every file says about itself.
        report: the results.
    """
    libraries = dependencies.installed()
    bom = bill_of(_model(made_of, metadata))
    own = library_of(Dependency("tfresnet", made_of.tfresnet, "Apache-2.0", ()))
    files = [_file(artifact) for artifact in report.artifacts]
    parts = [_data(made_of, report), own, *files, *map(library_of, libraries)]
    for part in parts:
        bom.components.add(part)
    root = bom.metadata.component
    assert root
    bom.register_dependency(root, [_named(parts, DATA), own])
    for file in files:
        bom.register_dependency(file, [root])
    connect(bom, own, libraries)
    return finished(bom, {"modelCard": _card(made_of, metadata, report)})


def connect(bom: Bom, root: Component, libraries: Sequence[Dependency]) -> None:
    """Tell which library needs which; the root is what needs them all."""
    parts = {part.name: part for part in bom.components}
    needed = {name for library in libraries for name in library.needs}
    bom.register_dependency(root, [parts[x.name] for x in libraries if x.name not in needed])
    for library in libraries:
        edge = Edge(parts[library.name].bom_ref, [Edge(parts[n].bom_ref) for n in library.needs])
        bom.dependencies.discard(Edge(parts[library.name].bom_ref))
        bom.dependencies.add(edge)


def library_of(found: Dependency) -> Component:
    """Return an installed package as a component, with its license."""
    url = PackageURL("pypi", name=found.name, version=found.version)
    known = found.license != UNKNOWN
    return Component(
        type=ComponentType.LIBRARY,
        name=found.name,
        version=found.version,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[_license(found.license)] if known else [],
    )


def _license(name: str) -> Any:
    """Return a license by its SPDX identifier or expression, else by its name."""
    try:
        return LicenseFactory().make_from_string(name)
    except ValueError:
        return DisjunctiveLicense(name=name)


def bill_of(component: Component) -> Bom:
    """Return an empty bill of a component; without a time, which would make each another one."""
    bom = Bom(metadata=BomMetaData(component=component))
    bom.metadata.timestamp = None  # type: ignore[assignment]  # it is left out then
    return bom


def finished(bom: Bom, root: dict[str, Any] | None = None) -> str:
    """Return a bill of materials as JSON whose serial number follows from its content.

    Args:
        bom: the bill.
        root: keys to add to what it is of.
    """
    bom.serial_number = NAMESPACE
    values = json.loads(JsonV1Dot6(bom).output_as_string())
    values["metadata"]["component"] |= root or {}
    content = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    values["serialNumber"] = uuid.uuid5(NAMESPACE, content).urn
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _model(made_of: Provenance, metadata: ModelMetadata) -> Component:
    """Return the network that the files were made of."""
    facts = {
        "parameters": metadata.parameters,
        "macs": metadata.macs,
        **{key: made_of.run.get(key) for key in ("seed", "epochs", "commit", "weights_sha256")},
        "code_sha256": made_of.code_sha256,
        **{f"record:{name}": digest for name, digest in made_of.record.items()},
    }
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=str(metadata.preset),
        version=str(metadata.weights_sha256)[:12],
        description=f"{metadata.arch}, trained with tfresnet",
        bom_ref=MODEL,
        properties=_properties(facts),
    )


def _file(artifact: ArtifactRecord) -> Component:
    """Return an exported file with its digest; a folder has none."""
    path = Path(artifact.path)
    facts = {"format": artifact.format, "quantization": artifact.quantization}
    return Component(
        type=ComponentType.FILE,
        name=path.name,
        bom_ref=f"file:{path.name}",
        hashes=_hashes(path),
        properties=_properties(facts | {"failures": "; ".join(artifact.failures) or None}),
    )


def _hashes(path: Path) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest_of(path))] if path.is_file() else []


def _data(made_of: Provenance, report: Report) -> Component:
    """Return what the model was trained and measured on."""
    data = made_of.data
    folder = data.folder
    facts = {
        "held_out:n": report.n,
        "held_out:sha256": data.held_out.get("sha256"),
        "calibration:count": data.calibration.get("count"),
        "calibration:sha256": data.calibration.get("sha256"),
        "folder:files": folder and folder.files,
        "folder:sha256": folder and folder.sha256,
    }
    return Component(
        type=ComponentType.DATA,
        name=str(data.section.get("dataset")),
        bom_ref=DATA,
        properties=_properties(facts),
    )


def _card(made_of: Provenance, metadata: ModelMetadata, report: Report) -> dict[str, Any]:
    """Return the model card of CycloneDX: what it does, with which data, how well."""
    spec, output = metadata.spec, metadata.output
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": output.task,
            "architectureFamily": FAMILY,
            "modelArchitecture": str(metadata.arch),
            "datasets": [{"ref": DATA}],
            "inputs": [{"format": f"{metadata.input_type} {'x'.join(map(str, spec.shape))}"}],
            "outputs": [{"format": metadata.output_kind}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {"type": a.metric, "value": f"{a.value:.4f}", "slice": Path(a.path).name}
                for a in report.artifacts
            ]
        },
    }


def _properties(facts: dict[str, Any]) -> Iterable[Property]:
    return [
        Property(name=f"tfresnet:{name}", value=str(value))
        for name, value in facts.items()
        if value is not None
    ]


def _named(parts: Sequence[Component], ref: str) -> Component:
    return next(part for part in parts if part.bom_ref.value == ref)
