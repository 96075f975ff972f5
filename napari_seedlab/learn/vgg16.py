"""FC7 of a VGG16 whose weights somebody has: read without running code, kept as safetensors."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress
from napari_seedlab.learn import views
from napari_seedlab.learn.hf import PictureEncoder, Preparation
from napari_seedlab.models.vgg16 import VGG16, VGG16Config

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    Tensors = Mapping[str, torch.Tensor]

VERSION = 1  # of what is done around the network
SIZE = 224
READ = 2**20  # bytes at a time


def vgg16_encoder(path: Path, sizes: Mapping[str, Any] | None = None) -> PictureEncoder:
    """The encoder ``vgg16`` from a safetensors file that :func:`run_convert` wrote, or one of the same names.

    `sizes` are the fields of a :class:`VGG16Config`, where they are not those of the paper.

    Raises
    ------
    InputError
        The file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path.name, "is not there", "Open the weights again")
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as stream:
        while part := stream.read(READ):
            digest.update(part)
    key = f"vgg16-{VERSION}.{views.VERSION}-{digest.hexdigest()}"
    return PictureEncoder(
        "vgg16", key, lambda: (Preparation(SIZE), network_of(load_weights(path), path.name, _config(sizes)))
    )


def network_of(tensors: Tensors, name: str, config: VGG16Config | None = None) -> VGG16:
    """The network with these weights.

    Parameters
    ----------
    tensors : mapping of str to tensor
        At least those that the network names; of any floating type.
    name : str
        Of the file, for refusals.
    config : VGG16Config, optional
        Sizes, those of the paper where left out.

    Raises
    ------
    InputError
        A weight is missing or has another shape; names the first.
    """
    with torch.device("meta"):
        network = VGG16(config or VGG16Config())
    remedy = "Choose the state dictionary of a VGG16 without batch normalisation"
    chosen = {}
    for key, wanted in network.state_dict().items():
        found = tensors.get(key)
        if found is None:
            raise InputError(name, f"lacks the weight {key}", remedy)
        if found.shape != wanted.shape:
            cause = f"has {key} of shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
            raise InputError(name, cause, remedy)
        chosen[key] = found.float()
    network.load_state_dict(chosen, assign=True)
    return network


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, from ``.safetensors`` or from a state dictionary (``.pth``, ``.pt``).

    Raises
    ------
    InputError
        The file is missing, is neither, or wants to run code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise InputError(path.name, "is no file" if path.exists() else "is not there", "Choose another file")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(path.name, "is no safetensors file", "Choose another file") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        cause = "holds more than weights and may run code; it was not read"
        raise InputError(path.name, cause, "Choose a plain state dictionary or safetensors") from error
    except Exception as error:  # whatever a foreign file makes of it
        raise InputError(path.name, "is no file of weights", "Choose another file") from error
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise InputError(path.name, "is no state dictionary", "Choose another file")
    return found


def run_convert(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: read the weights of a VGG16 (params ``path``) and write those needed as ``vgg16.safetensors``."""
    from safetensors.torch import save

    from napari_seedlab.files import atomic_write, read_json

    request = JobRequest.from_json(read_json(folder / "request.json"))
    path = Path(str(request.params["path"]))
    yield Progress(0, 2, "reading the weights")
    config = _config(request.params.get("config"))
    network = network_of(load_weights(path), path.name, config)
    yield Progress(1, 2, "writing them as safetensors")
    atomic_write(
        folder / "vgg16.safetensors", save({k: v.contiguous() for k, v in network.state_dict().items()})
    )
    return JobResult({"model": path.name, "length": config.n_hidden}, ("vgg16.safetensors",))


def _config(said: Any) -> VGG16Config:
    """Sizes of the network; those of the paper where nothing is said."""
    if not said:
        return VGG16Config()
    return VGG16Config(tuple(said["widths"]), int(said["n_hidden"]), int(said["n_cells"]))
