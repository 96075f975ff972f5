"""Any vision backbone of the package ``transformers``, from a folder that somebody put there.

Nothing is fetched from a network but by :func:`fetch`, which only an explicit wish calls. Weights are read
from safetensors alone, code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_seedlab.core import InputError, JobRequest, JobResult, NotReady, Progress, one_line
from napari_seedlab.learn import training, views

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import numpy.typing as npt

    from napari_seedlab.learn.encoders import SeedImage

VERSION = 1  # of what is done around the network
CHUNK = 16  # pictures that the network sees at once
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224  # pixels, where nothing says otherwise
FREE_SIZE = ("dinov2", "dinov3")  # begin of the kinds that take smaller pictures than they were trained on
WANTED = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
PIECE = 4096  # bytes read at a time


@dataclass(frozen=True)
class Preparation:
    """How pictures are given to a network: pixels per edge, mean and standard deviation per colour."""

    size: int = SIZE
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class PictureEncoder:
    """Encodes seeds by a network that knows photographs; fulfils ``Encoder``.

    A vector is the mean over the pictures of a seed (see :mod:`.views`).

    Parameters
    ----------
    name, key : str
        See ``Encoder``.
    load : callable
        Gives a preparation and a network: pictures (n, 3, size, size) in, vectors (n, d) out. Called when
        the first seed is to be encoded.
    """

    def __init__(self, name: str, key: str, load: Callable[[], tuple[Preparation, torch.nn.Module]]) -> None:
        self.name, self.key, self._load = name, key, load
        self._device = training.pick_device()
        self._is_bfloat16 = training.is_bfloat16_fast(self._device)

    @cached_property
    def _parts(self) -> tuple[Preparation, torch.nn.Module]:
        training.use_threads()
        preparation, network = self._load()
        return preparation, network.eval().requires_grad_(False).to(self._device)

    @property
    def preparation(self) -> Preparation:
        """How pictures are given to the network."""
        return self._parts[0]

    def encode(self, seeds: Sequence[SeedImage]) -> npt.NDArray[np.float32]:
        """Vectors (n, d) float32 of n seeds, row by row."""
        shown = [views.pictures_of(seed, self.preparation.size) for seed in seeds]
        counts = [len(each) for each in shown]
        found = self.vectors(torch.cat(shown))
        return np.stack([part.mean(0) for part in np.split(found, np.cumsum(counts)[:-1])])

    @torch.inference_mode()
    def vectors(self, pictures: torch.Tensor) -> npt.NDArray[np.float32]:
        """Vectors (n, d) of pictures (n, 3, size, size) in 0–1."""
        preparation, network = self._parts
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (preparation.mean, preparation.std))
        ready = (pictures - mean) / std
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_bfloat16):
            parts = [network(part.to(self._device)).float().cpu() for part in ready.split(CHUNK)]
        return np.asarray(torch.cat(parts).numpy(), np.float32)


class _Pooled(torch.nn.Module):
    """A backbone and one vector of what it says: class token and mean of the patches, or mean of the map."""

    def __init__(self, backbone: torch.nn.Module, n_patches: int) -> None:
        super().__init__()
        self.backbone, self._n_patches = backbone, n_patches

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        said = self.backbone(pixel_values=pictures).last_hidden_state
        if said.ndim == 4:  # (n, c, y, x)
            return said.mean((2, 3))
        n_other = said.shape[1] - self._n_patches  # class token and registers before the patches
        if self._n_patches and 1 <= n_other <= 16:
            return torch.cat([said[:, 0], said[:, n_other:].mean(1)], 1)
        return said.mean(1)


def hf_encoder(path: Path) -> PictureEncoder:
    """The encoder ``hf`` from a folder with ``config.json`` and ``*.safetensors``.

    Raises
    ------
    InputError
        The folder is missing or holds pickles only; later, when the first seed is encoded, where it holds no
        network for pictures, weights are missing or have another shape.
    NotReady
        Then too, where the package ``transformers`` is not installed.
    """
    folder = Path(path)
    _refuse_other_folders(folder)
    key = f"hf-{VERSION}.{views.VERSION}-{_hash_of(folder)}"
    return PictureEncoder("hf", key, lambda: _network_of(folder))


def _network_of(folder: Path) -> tuple[Preparation, torch.nn.Module]:
    config = _config_of(folder)
    preparation = _preparation_of(folder, config)
    patch = getattr(config, "patch_size", None)
    n_patches = (preparation.size // patch) ** 2 if isinstance(patch, int) else 0
    return preparation, _Pooled(_backbone_of(folder, config), n_patches)


def _refuse_other_folders(folder: Path) -> None:
    remedy = "Choose a folder with config.json and safetensors"
    if not folder.is_dir():
        raise InputError(folder.name, "is no folder" if folder.exists() else "is not there", remedy)
    if not (folder / "config.json").is_file():
        raise InputError(folder.name, "holds no config.json", remedy)
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
        cause = (
            f"holds {pickles[0]}, which may run code, and no safetensors" if pickles else "holds no weights"
        )
        raise InputError(folder.name, cause, remedy)


def _transformers() -> Any:
    try:
        import transformers
    except Exception as error:  # a broken part of it is as good as none
        cause = f"needs the package transformers ({one_line(str(error))})"
        raise NotReady("encoder hf", cause, "Install napari-seedlab[backbones]") from error
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def _config_of(folder: Path) -> Any:
    transformers = _transformers()
    remedy = "Choose the folder of a vision backbone"
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a foreign file makes of it
        raise InputError(folder.name, f"cannot be read ({_short(error)})", remedy) from error
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    if kind is None or (kind.main_input_name != "pixel_values" and not hasattr(config, "vision_config")):
        raise InputError(
            folder.name, f"holds {config.model_type or 'a model'}, which sees no pictures", remedy
        )
    return getattr(config, "vision_config", config)


def _backbone_of(folder: Path, config: Any) -> torch.nn.Module:
    """The network with its weights; every one of them must be there and of its shape."""
    transformers = _transformers()
    options = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    remedy = "Fetch or save the model again"
    try:
        model, facts = transformers.AutoModel.from_pretrained(
            folder, output_loading_info=True, dtype=torch.float32, **options
        )
    except Exception as error:
        raise InputError(folder.name, f"has weights that do not fit ({_short(error)})", remedy) from error
    model = getattr(model, "vision_model", model)
    missing = sorted(k for k in facts["missing_keys"] if "pooler" not in k and "text_model" not in k)
    wrong = sorted(str(entry[0]) for entry in facts["mismatched_keys"])
    if wrong:
        raise InputError(folder.name, f"has weights of another shape, such as {wrong[0]}", remedy)
    if missing:
        cause = f"lacks {len(missing)} of its weights, such as {missing[0]}"
        raise InputError(folder.name, cause, remedy)
    return model


def _preparation_of(folder: Path, config: Any) -> Preparation:
    from napari_seedlab.files import read_json

    own = (
        read_json(folder / "preprocessor_config.json")
        if (folder / "preprocessor_config.json").is_file()
        else {}
    )
    size = (
        _edge(own.get("crop_size"))
        or _edge(own.get("size"))
        or _edge(getattr(config, "image_size", None))
        or SIZE
    )
    if str(config.model_type).startswith(FREE_SIZE):
        size = min(size, SIZE)
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int):
        size = max(patch, size // patch * patch)
    mean, std = own.get("image_mean") or IMAGENET_MEAN, own.get("image_std") or IMAGENET_STD
    return Preparation(size, tuple(map(float, mean)), tuple(map(float, std)))


def _edge(said: Any) -> int:
    """Pixels per edge from a number, a pair or a mapping; 0 where it says nothing."""
    if isinstance(said, dict):
        said = said.get("height") or said.get("shortest_edge")
    if isinstance(said, list | tuple):
        said = said[0] if said else 0
    return int(said) if isinstance(said, int | float) and 0 < said <= 4096 else 0


def _hash_of(folder: Path) -> str:
    """Changes with the settings and each tensor of the weights, a piece of which is read; copies share it."""
    digest = hashlib.blake2b(digest_size=8)
    files = [
        folder / "config.json",
        folder / "preprocessor_config.json",
        *sorted(folder.glob("*.safetensors")),
    ]
    for path in (p for p in files if p.is_file()):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
        with path.open("rb") as stream:
            for start in _pieces_of(path):
                stream.seek(start)
                digest.update(stream.read(PIECE))
    return digest.hexdigest()


def _pieces_of(path: Path) -> list[int]:
    """Where the bytes lie that tell a file from another: all, or the header and the middle of each tensor."""
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return list(range(0, size, PIECE))
    with path.open("rb") as stream:
        end = 8 + int.from_bytes(stream.read(8), "little")
        try:
            header = json.loads(stream.read(min(end - 8, size)))
            places = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
            pieces = [end + max(int(first), (int(first) + int(last) - PIECE) // 2) for first, last in places]
        except (ValueError, LookupError, TypeError, AttributeError):  # it is refused when it is loaded
            return [0]
    return [*range(0, min(end, size), PIECE), *(min(max(piece, 0), size) for piece in pieces)]


def _short(error: Exception) -> str:
    line = one_line(str(error)) or type(error).__name__
    return line if len(line) <= 120 else f"{line[:117]}…"


def run_look(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: whether a folder holds a backbone; params ``path``. Values: key, length, model."""
    request = _request(folder)
    yield Progress(0, 1, "reading the backbone")
    return JobResult(_facts(Path(str(request.params["path"]))))


def run_fetch(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: fetch a backbone from the hub, by the wish of the user; params ``model`` such as "org/name".

    Writes the files of the backbone into the folder ``backbone`` and checks them as :func:`run_look` does.
    """
    request = _request(folder)
    model = str(request.params["model"])
    yield Progress(0, 2, f"fetching {model}")
    names = fetch(model, folder / "backbone")
    yield Progress(1, 2, "reading the backbone")
    facts = _facts(folder / "backbone")
    return JobResult({**facts, "model": model, "names": names}, tuple(f"backbone/{name}" for name in names))


def fetch(model: str, to: Path) -> list[str]:
    """Fetch the settings and safetensors of a model from the hub into a folder; the names of the files.

    Raises
    ------
    InputError
        There is no network, no such model, or it holds no safetensors.
    """
    _transformers()
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(model, local_dir=to, allow_patterns=list(WANTED), max_workers=2)
    except Exception as error:  # network, name, rights: whatever it is, it is one line
        cause = f"could not be fetched ({type(error).__name__}: {_short(error)})"
        raise InputError(model, cause, "Check the name and the network, or open a folder") from error
    return sorted(p.name for p in to.iterdir() if p.is_file())


def _facts(path: Path) -> Mapping[str, Any]:
    encoder = hf_encoder(path)
    size = encoder.preparation.size
    length = int(encoder.vectors(torch.zeros(1, 3, size, size)).shape[1])
    return {"key": encoder.key, "length": length, "size": size, "path": str(path)}


def _request(folder: Path) -> JobRequest:
    from napari_seedlab.files import read_json

    return JobRequest.from_json(read_json(folder / "request.json"))
