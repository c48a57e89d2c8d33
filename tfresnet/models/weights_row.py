"""Weights that have a name: a row of the tables of the Hugging Face hub and of Keras."""

from dataclasses import dataclass

from tfresnet.config.sections import ModelConfig
from tfresnet.models.names import TORCH_PIXELS, Pixels
from tfresnet.models.options import same_structure

Settings = tuple[tuple[str, str], ...]

APACHE, BSD, MIT = "apache-2.0", "bsd-3-clause", "mit"
KERAS = "keras/"  # what the names of Keras's begin with


@dataclass(frozen=True)
class NamedWeights:
    """Weights that were trained on ImageNet's 1,000 classes, with the network they are for.

    Attributes:
        name: of the repository on the hub, ``timm/resnet18.a1_in1k``, or ``keras/`` and that of the
            function in ``keras.applications``, in lower case.
        arch: our architecture.
        size: side of the images that it was trained for, in pixels.
        crop: share of the sides that its evaluation keeps, 0 to 1.
        top1: its published accuracy at that size and crop, in percent.
        settings: of the model section, where they are not those of all of these networks.
        pixels: mean and standard deviation that the network expects, 0 to 255.
        license: an SPDX identifier, in lower case.
        revision: a commit of the repository on the hub; None is the newest.
        sha256: of the file, in hexadecimal; None is that of the first download, see ``runs.hub``.
        md5: of the file, in hexadecimal, as Keras publishes it; None on the hub.
        file: its name in the repository, or its address under Keras's.
    """

    name: str
    arch: str
    size: int
    crop: float
    top1: float
    settings: Settings = ()
    pixels: Pixels = TORCH_PIXELS
    license: str = APACHE
    revision: str | None = None
    sha256: str | None = None
    md5: str | None = None
    file: str = "model.safetensors"

    @property
    def model(self) -> ModelConfig:
        """The network's structure: PyTorch's paddings and, unless said otherwise, its stem."""
        return ModelConfig.model_validate(
            {"arch": self.arch, "stem": "imagenet", "padding": "symmetric", **dict(self.settings)}
        )

    @property
    def is_keras(self) -> bool:
        """Whether Keras's server has the file, not the hub."""
        return self.name.startswith(KERAS)

    @property
    def url(self) -> str:
        """The page about the weights, for a person."""
        if self.is_keras:
            return "https://keras.io/api/applications/"
        return f"https://huggingface.co/{self.name}"

    def fits(self, config: ModelConfig) -> bool:
        """Return whether the network is the configured one in all that the configuration sets."""
        return same_structure(config, self.model)
