"""The encoders that come with the package: small networks of ours, and those that a pool trained further."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_seedlab.core import InputError
from napari_seedlab.learn import canonical, training
from napari_seedlab.models.seed_encoder import SeedEncoder, SeedEncoderConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_seedlab.learn.canonical import Canonical
    from napari_seedlab.learn.encoders import SeedImage

VERSION = 1  # of what is done around the networks
BATCH = 16  # seeds; always as many, so that a seed's vector does not depend on who stands beside it
SIZES: dict[str, dict[str, Any]] = {
    "volume": {"widths": (24, 48, 96), "n_vector": 2, "shells": (0, 1, 2, 4)},
    "cube": {"widths": (48, 64, 96), "n_vector": 8, "band_step": 4},
    "picture": {"widths": (32, 64, 128), "n_vector": 96, "shells": ()},
}  # of the networks: few numbers where few seeds of a kind are told by them
PRETEXTS = {"volume": "blemishes"}  # what teaches the learnt numbers last; "looks" the others
KINDS = {"hsi": ("cube",)}  # networks by modality; (picture, volume) for the others
VIEWS = {2: ((), (2,), (3,), (2, 3)), 3: ((), (2, 3), (2, 4), (3, 4))}  # mirrored axes of (n, c, *cells)


class NetworkEncoder:
    """Encodes seeds by a network of each kind of picture that it may meet; fulfils ``Encoder``.

    The vector is the mean over four views of the seed mirrored along its own axes, whose signs mean nothing,
    and six numbers of size and outline.

    Parameters
    ----------
    name : str
        Such as ``bundled``.
    networks : mapping of kind to SeedEncoder
        Those that one pool may need.
    precision : str
        ``auto`` takes bfloat16 where the hardware has it; or ``float32``, ``bfloat16``.
    """

    def __init__(self, name: str, networks: Mapping[str, SeedEncoder], precision: str = "auto") -> None:
        self.name = name
        self.networks = {kind: prepared(network) for kind, network in networks.items()}
        # bfloat16 moves a vector by less than a hundredth of its spread: not part of the key, so that what
        # was learnt on one machine serves on another
        self.key = f"{name}-{VERSION}.{canonical.VERSION}-{weights_hash(networks)}"
        self._is_bfloat16 = (
            training.is_bfloat16_fast(torch.device("cpu")) if precision == "auto" else precision == "bfloat16"
        )

    @property
    def n_columns(self) -> int:
        """Length of a vector; those of a network that has fewer end in zeros."""
        return max(network.n_columns for network in self.networks.values()) + canonical.N_FORM

    def encode(self, seeds: Sequence[SeedImage]) -> npt.NDArray[np.float32]:
        """Vectors (n, n_columns) float32 of n seeds, row by row; zeros for a seed without a voxel."""
        out = np.zeros((len(seeds), self.n_columns), np.float32)
        kinds = np.asarray([canonical.kind_of(seed) for seed in seeds])
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            for first in range(0, len(rows), BATCH):
                part = rows[first : first + BATCH]
                views = [canonical.canonical(seeds[i], kind) for i in part.tolist()]
                vectors = self._vectors(self._network(kind), views)
                out[part, : vectors.shape[1]] = vectors
        return out

    def _network(self, kind: str) -> SeedEncoder:
        if kind not in self.networks:
            known = " and ".join(self.networks)
            raise InputError(f"encoder {self.name}", f"knows {known}s, not {kind}s", "Choose another encoder")
        return self.networks[kind]

    def _vectors(self, network: SeedEncoder, views: list[Canonical]) -> npt.NDArray[np.float32]:
        n = len(views)
        padded = [*views, *[views[0]] * (BATCH - n)]
        crops = torch.from_numpy(np.stack([v.crop for v in padded]))
        masks = torch.from_numpy(np.stack([v.mask for v in padded]))
        form = np.stack([v.form for v in views])
        learnt = encode_views(network, crops, masks, self._is_bfloat16)[:n].numpy()
        vectors = np.concatenate([learnt, form], 1)
        is_empty = masks[:n].flatten(1).amax(1).numpy() == 0
        vectors[is_empty] = 0
        return np.asarray(np.nan_to_num(vectors), np.float32)


@torch.inference_mode()
def encode_views(
    network: SeedEncoder, crops: torch.Tensor, masks: torch.Tensor, is_bfloat16: bool
) -> torch.Tensor:
    """Vectors (n, n_columns) from the mirrored views of crops (n, c, *cells) and masks (n, 1, *cells)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
        found: torch.Tensor = network(crops, masks, VIEWS[network.config.n_dims])
    return found


def _layout(network: SeedEncoder) -> torch.memory_format:
    """Channels last: faster on a CPU."""
    return torch.channels_last_3d if network.config.n_dims == 3 else torch.channels_last


def prepared(network: SeedEncoder) -> SeedEncoder:
    """The network as it is used for encoding, never trained again."""
    network.eval().requires_grad_(False).to(memory_format=_layout(network))
    return network


def new_network(kind: str, random_state: int, **sizes: Any) -> SeedEncoder:
    """An untrained network for crops of this kind."""
    n_dims = 3 if kind == "volume" else 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        return SeedEncoder(SeedEncoderConfig(n_dims, canonical.CHANNELS[kind], **(sizes or SIZES[kind])))


def weights_hash(networks: Mapping[str, SeedEncoder]) -> str:
    """Short hash of all weights and running statistics."""
    digest = hashlib.sha256()
    for kind in sorted(networks):
        for name, tensor in sorted(networks[kind].state_dict().items()):
            digest.update(f"{kind} {name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_network(path: Path, network: SeedEncoder, kind: str, facts: Mapping[str, Any]) -> None:
    """Publish a network; its sizes and kind stand among the facts. Weights are kept as float16."""
    if not training.is_finite(network):
        raise training.not_finite(path.stem)
    sizes = {
        name: getattr(network.config, name)
        for name in ("widths", "n_vector", "n_mixed", "band_step", "shells")
    }
    whole = network.state_dict()
    halves = {k: v.half() if v.is_floating_point() and "running" not in k else v for k, v in whole.items()}
    training.save_tensors(path, halves, {**facts, "kind": kind, "sizes": sizes})


def load_network(path: Path) -> tuple[str, SeedEncoder]:
    """Kind and network of :func:`save_network`.

    Raises
    ------
    InputError
        The file is something else, or of another version.
    """
    tensors, facts = training.load_tensors(path)
    try:
        sizes = {k: tuple(v) if isinstance(v, list) else int(v) for k, v in facts["sizes"].items()}
        kind = str(facts["kind"])
        network = new_network(kind, 0, **sizes)
        network.load_state_dict({k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(path.name, "holds no encoder of this version", "Train the encoder again") from error
    return kind, network


def bundled_path(kind: str) -> Path:
    """The weights that come with the package."""
    return Path(str(resources.files("napari_seedlab") / "weights" / f"{kind}.safetensors"))


@cache
def bundled_encoder(modality: str) -> NetworkEncoder:
    """The encoder ``bundled`` for ``ct``, ``image`` or ``hsi``."""
    kinds = KINDS.get(modality, ("picture", "volume"))
    return NetworkEncoder("bundled", dict(load_network(bundled_path(kind)) for kind in kinds))
