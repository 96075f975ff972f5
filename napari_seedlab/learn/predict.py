"""A trained network applied to all seeds of some scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, Progress
from napari_seedlab.learn import crops_io, net, training
from napari_seedlab.learn.net_input import Cutter, NetSettings, Shape, new_model

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch


class SavedNet(NamedTuple):
    """A network, its settings, the shape of its crops, its temperature and the classes of its columns."""

    model: torch.nn.Module
    settings: NetSettings
    shape: Shape
    temperature: float
    class_ids: tuple[int, ...]


def load_net(path: Path, device: str = "auto") -> SavedNet:
    """A saved network.

    Raises
    ------
    InputError
        The file holds something else.
    """
    tensors, facts = training.load_tensors(path)
    if facts.get("kind") != "net":
        raise InputError(path.name, "holds no network for seeds", "Choose a network trained here")
    stored = dict(facts["settings"])
    temperature = float(stored.pop("temperature"))
    shape = Shape(**facts.get("shape", {"n_channels": 1, "n_dims": 3}))
    settings = NetSettings(**stored).filled(shape.n_dims)
    model = new_model(settings, len(facts["class_ids"]), 0, shape)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(path.name, "has weights of another network", "Train the model again") from error
    model = model.to(training.pick_device(device))
    return SavedNet(model, settings, shape, temperature, tuple(facts["class_ids"]))


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: class probabilities of all seeds by a trained network.

    Reads ``request.json`` (params ``scans``, ``weights`` = path of ``net.safetensors``, absolute or in the
    folder, and optional ``device``); writes ``probabilities.npz`` (seed int64, p float32 (n, C)).

    Raises
    ------
    InputError
        The scans are not such as the network was trained on.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    training.use_threads()
    path = folder / str(request.params.get("weights", "net.safetensors"))
    saved = load_net(path, request.params.get("device", "auto"))
    cutter = Cutter(crops_io.read_scans(folder, request.params), saved.settings.size)
    if cutter.shape != saved.shape:
        cause = f"saw {_words(saved.shape)}, these scans are {_words(cutter.shape)}"
        raise InputError("the network", cause, "Train one on these scans")
    seeds, p = yield from net.class_probabilities(saved.model, cutter, saved.temperature)
    files.save_arrays(folder / "probabilities.npz", seed=seeds, p=p)
    return JobResult({"n_seeds": len(seeds), "class_ids": list(saved.class_ids)}, ("probabilities.npz",))


def _words(shape: Shape) -> str:
    return f"{'planes' if shape.n_dims == 2 else 'volumes'} of {shape.n_channels} channels"
