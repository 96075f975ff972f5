"""What a network of seeds gets: its kind, its crops, the changes at random, its first weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import torch

from napari_seedlab import files
from napari_seedlab.core import InputError, Progress
from napari_seedlab.learn import crops_io, training
from napari_seedlab.models.screening_cnn import ScreeningCNN, ScreeningCNNConfig
from napari_seedlab.models.seed_cnn import SeedCNN, SeedCNNConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.learn.crops_io import ScanInput, SeedCrops

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.integer]
    Net = SeedCNN | ScreeningCNN

SPREAD = 0.25  # of the values inside a usual seed, in units of its scan
CHUNK_BYTES = 64 * 2**20  # of crops that are classified at a time
LARGEST_SHARE = 0.8  # of the free memory, that crops may take
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}  # a third faster than the usual order
OWN = {  # what each kind of network brings, where nothing else is asked for: planes, volumes
    "seed": {
        "size": (72, 32), "peak_rate": (3e-3, 3e-3), "dropout": (0.3, 0.3),
        "fold_steps": (100, 100), "final_steps": (200, 200), "batch": (16, 16),
    },
    "screening": {
        "size": (72, 24), "peak_rate": (1e-3, 3e-3), "dropout": (0.5, 0.5),
        "fold_steps": (300, 100), "final_steps": (400, 200), "batch": (32, 16),
    },
}  # fmt: skip
DROPS_FROM, DROPS_FULLY = (
    0.3,
    0.8,
)  # of all steps: where the baseline begins to drop units, and drops them all


@dataclass(frozen=True)
class NetSettings:
    """Which network is trained, and how.

    ``screening`` is the baseline of Dürr & Sick 2016 on planes, and its twin with global pooling on volumes.
    What is 0, or below for the dropout, follows from the kind and from what it sees, see :meth:`filled`.
    """

    kind: str = "seed"  # or screening
    size: int = 0  # cells per edge of a crop
    fold_steps: int = 0  # optimiser steps of each comparison fold
    final_steps: int = 0  # of the network that is kept, on all answers
    batch: int = 0
    peak_rate: float = 0  # largest learning rate
    weight_decay: float = 1e-2
    widths: tuple[int, ...] = (16, 32, 64)  # channels of the blocks of the seed network
    dropout: float = -1.0
    device: str = "auto"  # or cpu, cuda
    precision: str = "auto"  # or float32, bfloat16; auto asks the hardware

    def filled(self, n_dims: int) -> NetSettings:
        """With all that is not chosen set for planes (2) or volumes (3).

        Raises
        ------
        InputError
            There is no such kind.
        """
        if self.kind not in OWN:
            raise InputError(f"network {self.kind!r}", "is not known", f"Use {' or '.join(OWN)}")
        own = {name: values[n_dims - 2] for name, values in OWN[self.kind].items()}
        wanted = {name: getattr(self, name) for name in own}
        kept = {name: v for name, v in wanted.items() if v > 0 or (name == "dropout" and v == 0)}
        return replace(self, **{**own, **kept}, widths=tuple(self.widths))


class Shape(NamedTuple):
    """What the crops of a network are: channels without the mask, and 2 or 3 dimensions."""

    n_channels: int
    n_dims: int


def shape_of(scans: Sequence[ScanInput]) -> Shape:
    """The one shape that the crops of all scans have.

    Raises
    ------
    InputError
        They are not alike.
    """
    crops_io.check_alike(scans)
    return Shape(scans[0].n_channels, 2 if scans[0].is_flat else 3)


def new_model(
    settings: NetSettings,
    n_classes: int,
    random_state: int,
    shape: Shape = Shape(1, 3),  # noqa: B008
) -> Net:
    """An untrained network with weights drawn from the random state."""
    settings = settings.filled(shape.n_dims)
    model: Net
    n_inputs = shape.n_channels + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        if settings.kind == "screening" and shape.n_dims == 2:
            model = ScreeningCNN(ScreeningCNNConfig(n_classes, n_inputs, settings.size, settings.dropout))
        else:
            config = SeedCNNConfig(n_classes, n_inputs, settings.widths, settings.dropout, shape.n_dims)
            model = SeedCNN(config)
    return model.to(memory_format=FORMATS[shape.n_dims])  # type: ignore[no-any-return]


def started(model: Net, folder: Path) -> Net:
    """Give a network the weights of an earlier project's, where ``start.npz`` of the job has some that fit.

    All but the last layer is taken over where kind, widths and channels are the same, and then what was
    learnt of the classes of the same name. The archive holds ``weight.NAME``, the class ``names`` of the
    earlier network's outputs and the ``wanted`` names of this one's.
    """
    if not (folder / "start.npz").is_file():
        return model
    given = files.load_arrays(folder / "start.npz")
    theirs = {k.removeprefix("weight."): v for k, v in given.items() if k.startswith("weight.")}
    own = model.state_dict()
    *inner, weight, bias = own  # the last layer comes last
    if any(name not in theirs or theirs[name].shape != tuple(own[name].shape) for name in inner):
        return model
    own.update({name: torch.from_numpy(theirs[name]) for name in inner})
    place = {str(name): i for i, name in enumerate(given["names"].tolist())}
    for i, name in enumerate(given["wanted"].tolist()):
        if name in place:
            for part in (weight, bias):
                own[part][i] = torch.from_numpy(np.asarray(theirs[part][place[name]]))
    model.load_state_dict(own)
    return model


class Cutter:
    """Cuts seeds out of alike scans for a network, with all their channels; a few at a time.

    Parameters
    ----------
    scans : sequence of ScanInput
        As :func:`shape_of` lets pass.
    size : int
        Cells along each edge.
    """

    def __init__(self, scans: Sequence[ScanInput], size: int) -> None:
        self.scans, self.shape, self._size = scans, shape_of(scans), size
        self._scaling: dict[int, crops_io.Scaling] = {}
        self._tables = [crops_io.rows(s.table, s.table.seed > 0) for s in scans]

    @property
    def seeds(self) -> npt.NDArray[np.int64]:
        """Seeds of all rows, scan after scan."""
        return np.concatenate([t.seed for t in self._tables])

    def n_bytes(self, n: int) -> int:
        """Memory that `n` crops take: channels in two bytes, the mask in one."""
        return n * (2 * self.shape.n_channels + 1) * int(self._size**self.shape.n_dims)

    def cut(self, rows: Ints) -> Generator[Progress, None, SeedCrops]:
        """The crops of `rows`, in ascending order; the progress says how much memory they take.

        Raises
        ------
        InputError
            They would take more than most of the free memory.
        """
        need, free = self.n_bytes(len(rows)), int(psutil.virtual_memory().available)
        if need > LARGEST_SHARE * free:
            cause = f"of {self.shape.n_channels} channels take {_room(need)}, {_room(free)} are free"
            raise InputError(
                f"{len(rows):,} labelled seeds",
                cause,
                "Close other programs, or use a machine with more memory",
            )
        parts = list(self._parts(rows))
        cut = crops_io.cut_channels(parts, self._size, self._scale)
        while True:
            try:
                report = next(cut)
            except StopIteration as end:
                crops: SeedCrops = end.value
                return crops
            yield replace(report, message=f"Cutting out {len(rows):,} seeds, {_room(need)} of memory")

    def chunks(self) -> Iterator[npt.NDArray[np.int64]]:
        """All rows in parts that take little memory, from the lowest seed of each scan to the highest."""
        first, most = 0, max(32, CHUNK_BYTES // self.n_bytes(1))
        for table in self._tables:
            order = first + crops_io.upwards(table)
            yield from (order[i : i + most] for i in range(0, len(order), most))
            first += len(table)

    def _parts(self, rows: Ints) -> Iterator[ScanInput]:
        first, wanted = 0, np.sort(rows)
        for scan, table in zip(self.scans, self._tables, strict=True):
            own = wanted[(wanted >= first) & (wanted < first + len(table))] - first
            if len(own):
                yield replace(scan, table=crops_io.rows(table, own))
            first += len(table)

    def _scale(self, part: ScanInput) -> crops_io.Scaling:
        """One scaling for a scan, from all its seeds."""
        if part.scan not in self._scaling:
            whole = next(s for s in self.scans if s.scan == part.scan)
            measure = crops_io.plane_scaling if whole.is_flat else crops_io.scan_scaling
            self._scaling[part.scan] = measure(whole)
        return self._scaling[part.scan]


def _room(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def network_input(crops: Floats, masks: npt.NDArray[np.bool_]) -> torch.Tensor:
    """Values around a usual seed's, and the mask as the last channel: (n, c + 1, *cells) float32.

    Values are relative to the scan, not to the seed: how dense or bright a seed is may tell its class.

    Parameters
    ----------
    crops : (n, c, *cells) float
        In units of the scan: 1 = a usual seed.
    masks : (n, *cells) bool
        Cells of the seeds.
    """
    inside = masks[:, None]
    values = np.where(inside, (crops.astype(np.float32) - 1) / np.float32(SPREAD), 0).clip(-8, 8)
    return torch.from_numpy(np.concatenate([values, inside.astype(np.float32)], 1).astype(np.float32))


def augmented(inputs: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn, mirror and slightly change gamma, brightness and noise of each crop; realistic changes only.

    All channels are turned and lit alike. The last channel is the mask.
    """
    out = torch.empty_like(inputs)
    n_dims = inputs.ndim - 2
    for i, crop in enumerate(inputs):
        axes = (0, *(1 + rng.permutation(n_dims)).tolist())
        flips = [axis for axis in range(1, n_dims + 1) if rng.random() < 0.5]
        turned = crop.permute(axes).flip(flips)
        values, mask = turned[:-1], turned[-1]
        unit = ((values + 8) / 16) ** float(rng.uniform(0.9, 1.1))
        noise = torch.from_numpy(rng.standard_normal(values.shape, np.float32)) * float(rng.uniform(0, 0.15))
        out[i, :-1] = (unit * 16 - 8 + float(rng.normal(0, 0.1)) + noise) * mask
        out[i, -1] = mask
    return out


@dataclass(frozen=True)
class Samples:
    """Crops that teach.

    Attributes
    ----------
    crops : SeedCrops
    rows : (n,) int64
        Which of its rows.
    columns : (n,) int64
        Place of the class of each.
    """

    crops: SeedCrops
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, picks: Ints, rng: np.random.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (n, c + 1, *cells) and class places (n,) of some samples, changed at random with `rng`."""
        chosen = self.rows[picks]
        inputs = network_input(self.crops.crops[chosen], self.crops.masks[chosen])
        inputs = inputs if rng is None else augmented(inputs, rng)
        return inputs, torch.from_numpy(np.asarray(self.columns[picks], np.int64))


def step_of(
    random_state: int, number: int, step: int, n: int, batch: int
) -> tuple[npt.NDArray[np.int64], int, np.random.Generator]:
    """Which of `n` samples a step takes, its number for dropout, and the stream that changes them."""
    rng = training.stream(random_state, number, step)
    dropout = int(rng.integers(2**31))
    return rng.choice(n, min(batch, n), replace=False), dropout, rng


def dropout_at(model: Net, share: float) -> None:
    """Let the baseline drop as many units as it should after `share` of its steps: none at first.

    Morerio et al., "Curriculum Dropout", ICCV 2017. With all of it from the first step, three layers of a
    network without batch norm stay at the loss of guessing for hundreds of steps.
    """
    if isinstance(model, ScreeningCNN):
        part = (share - DROPS_FROM) / (DROPS_FULLY - DROPS_FROM)
        for layer in model.head:
            if isinstance(layer, torch.nn.Dropout):
                layer.p = model.config.dropout * min(1.0, max(0.0, part))


def to_device(inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Inputs where a network is, in the order that its layers like."""
    return inputs.to(device).contiguous(memory_format=FORMATS[inputs.ndim - 2])


def settings_from(params: Mapping[str, Any], shape: Shape) -> NetSettings:
    """The settings of a request, filled for what the network sees."""
    return NetSettings(**params.get("settings", {})).filled(shape.n_dims)
