"""The encoder ``own``: the bundled one, taught further by the seeds of a pool, without their labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_seedlab.core import InputError, JobResult, NotReady, Progress
from napari_seedlab.imaging.features import GreyLevels, describe_picture, describe_seed, describe_spectrum
from napari_seedlab.learn import bundled, canonical, crops_io, pretrain, training
from napari_seedlab.learn.blemishes import blemished
from napari_seedlab.learn.embedding import ScanView, read_seeds, scan_levels

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import numpy.typing as npt

    from napari_seedlab.learn.encoders import SeedImage

LEAST_SEEDS = 16
RESULT = "encoder.safetensors"
CHECKPOINTS = {"looks": "training.safetensors", "blemishes": "training-blemishes.safetensors"}  # by pretext
N_LOOKS = 2
DESCRIBE = {"hsi": describe_spectrum, "image": describe_picture}  # describe_seed for the others


@dataclass(frozen=True)
class OwnSettings:
    """How an encoder is taught by a pool."""

    n_steps: int = 300
    batch: int = 32  # seeds, each seen twice
    peak_rate: float = 5e-4
    max_seeds: int = 4000  # that teach it, drawn at random; each takes up to 200 KiB
    precision: str = "auto"


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: teach the bundled encoder by the seeds of some scans of one modality.

    Parameters in the request: ``scans`` and optionally ``levels``, as for
    :func:`napari_seedlab.learn.embedding.run`; ``settings``, entries of :class:`OwnSettings`. A training that
    was stopped goes on from its checkpoint, see :data:`CHECKPOINTS`.

    Writes ``encoder.safetensors``, to be read by :func:`own_encoder`. Values:
    kind, key, n_seeds, n_steps, random_state, parent (key of the bundled encoder), ``recognised`` (before,
    after), see :func:`recognised`.

    Raises
    ------
    NotReady
        Fewer than 16 seeds of one kind.
    InputError
        A setting is unknown.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = _settings(request.params.get("settings", {}))
    training.use_threads()
    yield Progress(0, 0, "Opening the scans")
    kind, looks = yield from _looks(folder, request.params, settings, request.random_state)
    parent = bundled.load_network(bundled.bundled_path(kind))[1]
    pretext = bundled.PRETEXTS.get(kind, "looks")
    before = recognised(bundled.prepared(parent), looks, pretext)
    network = bundled.load_network(bundled.bundled_path(kind))[1]
    plan = pretrain.PretrainSettings(
        settings.n_steps,
        min(settings.batch, len(looks)),
        settings.peak_rate,
        precision=settings.precision,
        pretext=pretext,
    )
    trainer = pretrain.new_trainer(network, looks, plan, request.random_state)

    def report(n_done: int, loss: float) -> Progress:
        return Progress(n_done, settings.n_steps, f"Learning from seeds, loss {loss:.3f}")

    yield from trainer.run(folder / CHECKPOINTS[pretext], report)
    facts = {
        "parent": bundled.weights_hash({kind: parent}),
        "n_seeds": len(looks),
        "n_steps": settings.n_steps,
        "random_state": request.random_state,
        "recognised": [before, recognised(bundled.prepared(network), looks, pretext)],
        "versions": training.versions(torch.device("cpu"), trainer.is_bfloat16),
    }
    bundled.save_network(folder / RESULT, network, kind, facts)
    key = own_encoder(folder / RESULT).key
    return JobResult({**facts, "kind": kind, "key": key, "settings": asdict(settings)}, (RESULT,))


def own_encoder(path: Path) -> bundled.NetworkEncoder:
    """The encoder ``own`` from the file of :func:`run`; seeds of another kind are left to the bundled one."""
    kind, network = bundled.load_network(Path(path))
    others = [k for k in ("picture", "volume") if kind != "cube" and k != kind]
    rest = {k: bundled.load_network(bundled.bundled_path(k))[1] for k in others}
    return bundled.NetworkEncoder("own", {kind: network, **rest})


def _settings(given: Mapping[str, Any]) -> OwnSettings:
    try:
        return OwnSettings(**given)
    except TypeError as error:
        known = ", ".join(OwnSettings.__dataclass_fields__)
        raise InputError("settings", f"are not known ({error})", f"Use {known}") from error


def _looks(
    folder: Path, params: Mapping[str, Any], settings: OwnSettings, random_state: int
) -> Generator[Progress, None, tuple[str, pretrain.Looks]]:
    """What a pool teaches: two cuts of each of its seeds, and the descriptors of each."""
    scans = crops_io.read_scans(folder, params)
    places = [(scan, row) for scan, one in enumerate(scans) for row in np.flatnonzero(one.table.seed > 0)]
    rng = np.random.default_rng([random_state, 12])
    chosen = [places[i] for i in sorted(rng.permutation(len(places))[: settings.max_seeds].tolist())]
    pace, found, done = training.Pace(), _Found(), 0
    for scan, one in enumerate(scans):
        yield Progress(done, len(chosen), "Reading grey levels")
        view = ScanView(one.modality, one.image, one.regions, one.table, one.voxel_size_um)
        given = params.get("levels", {}).get(str(one.scan))
        levels = GreyLevels(*map(float, given)) if given else scan_levels(view)
        for item in read_seeds(view, levels, np.asarray([row for s, row in chosen if s == scan], np.int64)):
            found.add(item.image, rng)
            done += 1
            if pace.is_due():
                yield Progress(done, len(chosen), "Cutting out seeds")
    return found.result()


class _Found:
    """Cuts and descriptors, by kind of seed."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[npt.NDArray[Any], ...]]] = {}

    def add(self, seed: SeedImage, rng: np.random.Generator) -> None:
        if not seed.mask.any():
            return
        kind = canonical.kind_of(seed)
        cut = [canonical.canonical(seed, kind, canonical.Wobble.draw(rng)) for _ in range(N_LOOKS)]
        crops = np.stack([c.crop for c in cut]).astype(np.float16)
        masks = np.round(255 * np.stack([c.mask for c in cut])).astype(np.uint8)
        describe = DESCRIBE.get(seed.modality, describe_seed)
        told = describe(seed.image, seed.mask, seed.levels, seed.scale_um)
        self._parts.setdefault(kind, []).append((crops, masks, told))

    def result(self) -> tuple[str, pretrain.Looks]:
        """The kind that most seeds are of, and their looks."""
        n = {kind: len(parts) for kind, parts in self._parts.items()}
        kind = max(n, key=lambda k: n[k], default="")
        if n.get(kind, 0) < LEAST_SEEDS:
            cause = f"are {n.get(kind, 0)}, {LEAST_SEEDS} are needed"
            raise NotReady("the seeds of this pool", cause, "Split another scan, or use the bundled encoder")
        crops, masks, told = (np.stack(part) for part in zip(*self._parts[kind], strict=True))
        return kind, pretrain.Looks(crops, masks, pretrain.standardised(told))


@torch.inference_mode()
def recognised(network: Any, looks: pretrain.Looks, pretext: str = "looks", n_most: int = 256) -> float:
    """How well a network does what teaches it.

    Share of seeds whose second look is nearest to their own first one, in standardised vectors; where
    blemishes teach, share of seeds of which it tells rightly whether one was put in (into every other one).
    """
    rows = np.arange(min(len(looks), n_most))
    if pretext == "blemishes":
        return _blemishes_told(network, looks, rows)
    vectors = []
    for number in range(N_LOOKS):
        parts = []
        for first in range(0, len(rows), bundled.BATCH):
            part = rows[first : first + bundled.BATCH]
            rng = training.stream(13, number, first)
            crops, masks = pretrain.seen(looks, part, np.full(len(part), number), rng, 1.0)
            parts.append(bundled.encode_views(network, crops, masks, is_bfloat16=False))
        vectors.append(torch.cat(parts))
    spread = vectors[0].std(0).clamp(min=1e-6)
    nearest = torch.cdist(vectors[1] / spread, vectors[0] / spread).argmin(1)
    return float((nearest == torch.arange(len(rows))).float().mean())


def _blemishes_told(network: Any, looks: pretrain.Looks, rows: npt.NDArray[np.integer]) -> float:
    n_right = 0
    for first in range(0, len(rows), bundled.BATCH):
        part, rng = rows[first : first + bundled.BATCH], training.stream(13, N_LOOKS, first)
        is_put = part % 2 == 0
        crops, masks = pretrain.mirrored(looks, part, np.zeros(len(part), np.int64), rng)
        crops, masks, change = blemished(crops, masks, is_put, rng)
        crops, masks = pretrain.disturbed(crops, masks, rng)
        found = bundled.encode_views(network, crops, masks, is_bfloat16=False)[:, 0]
        n_right += int(((found > 0) == (change > 0)).sum())
    return n_right / len(rows)
