"""A trained network applied to all seeds of some scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_seedlab import files
from napari_seedlab.core import InputError, JobResult, Progress
from napari_seedlab.learn import crops_io, net, training
from napari_seedlab.models.seed_cnn import SeedCNN, SeedCNNConfig

if TYPE_CHECKING:
    from collections.abc import Generator


def load_net(path: Path, device: str = "auto") -> tuple[SeedCNN, net.NetSettings, float, tuple[int, ...]]:
    """A saved network, its settings, its temperature and the classes of its columns.

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
    settings = net.NetSettings(**{**stored, "widths": tuple(stored["widths"])})
    config = SeedCNNConfig(len(facts["class_ids"]), widths=settings.widths, dropout=settings.dropout)
    model = SeedCNN(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(path.name, "has weights of another network", "Train the model again") from error
    return model.to(training.pick_device(device)), settings, temperature, tuple(facts["class_ids"])


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: class probabilities of all seeds by a trained network.

    Reads ``request.json`` (params ``scans``, ``weights`` = path of ``net.safetensors``, absolute or in the
    folder, and optional ``device``); writes ``probabilities.npz`` (seed int64, p float32 (n, C)).
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    training.use_threads()
    path = folder / str(request.params.get("weights", "net.safetensors"))
    model, settings, temperature, class_ids = load_net(path, request.params.get("device", "auto"))
    scans = crops_io.read_scans(folder, request.params)
    crops = yield from crops_io.cut_seeds(scans, settings.size, crops_io.scan_scaling)
    seeds, p = yield from net.class_probabilities(model, crops, temperature)
    files.save_arrays(folder / "probabilities.npz", seed=seeds, p=p)
    return JobResult({"n_seeds": len(seeds), "class_ids": list(class_ids)}, ("probabilities.npz",))
