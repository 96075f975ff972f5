"""Teach an encoder without labels: two looks at a seed agree, and tell what its undisturbed picture shows.

The loss is VICReg (Bardes, Ponce & LeCun, ICLR 2022) between two differently disturbed views of each seed,
plus the error of predicting the hand-made descriptors of its undisturbed picture from the disturbed ones. The
latter makes an encoder that sees through noise, blur and rings what the descriptors see without them.

An encoder of volumes then learns, with nothing held fixed, to say whether a blemish was put into a seed and
how much it changed (after CutPaste, Li et al., CVPR 2021): two numbers instead of those learnt before, which
told a head on fifty labels nothing that the plain ones did not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_seedlab.learn import training
from napari_seedlab.learn.blemishes import blemished, smooth_curves
from napari_seedlab.models.layers import AVERAGE
from napari_seedlab.models.seed_encoder import SeedEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Loss = Callable[[nn.Module, int, int], Tensor]

TARGET_LIMIT = 4.0  # standard deviations of a target
AGREE, SPREAD_OUT, APART = 10.0, 10.0, 0.5  # weights of the three terms of VICReg
TELL = 1.0  # weight of the error of the targets, of variance 1
PUT = 0.65  # share of seeds that get a blemish
LARGEST = 4.0  # change of brightness that a blemish counts with
SIZE = 6.0  # weight of the error of its size


@dataclass(frozen=True)
class Looks:
    """Seeds as an encoder learns from them.

    Attributes
    ----------
    crops : (n, v, c, *cells) float16
        v looks at each of n seeds; one is enough.
    masks : (n, v, 1, *cells) uint8
        Share of each cell that is seed, 255 = all.
    targets : (n, t) float32
        What the undisturbed picture shows, standardised.
    """

    crops: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.crops)


@dataclass(frozen=True)
class PretrainSettings:
    """How an encoder is trained."""

    n_steps: int = 1000
    batch: int = 64  # seeds, each seen twice
    peak_rate: float = 2e-3
    weight_decay: float = 1e-2
    precision: str = "auto"
    strength: float = 1.0  # of the disturbances
    pretext: str = "looks"  # two looks agree and tell; or "blemishes": those that were put in are found


class Student(nn.Module):
    """An encoder with what only its training needs: a projector and the prediction of the targets."""

    def __init__(self, encoder: SeedEncoder, n_targets: int) -> None:
        super().__init__()
        n = 2 * encoder.config.n_vector
        self.encoder = encoder
        self.projector = nn.Sequential(nn.Linear(n // 2, n), nn.BatchNorm1d(n), nn.ReLU(), nn.Linear(n, n))
        self.teller = nn.Sequential(
            nn.BatchNorm1d(encoder.n_columns, affine=False), nn.Linear(encoder.n_columns, n_targets)
        )


def standardised(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Columns of mean 0 and variance 1, bounded; constant ones are 0."""
    spread = values.std(0)
    scaled = (values - values.mean(0)) / np.where(spread > 1e-6, spread, 1.0)
    return np.asarray(np.clip(scaled, -TARGET_LIMIT, TARGET_LIMIT), np.float32)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """Agreement of two looks (n, d), with variance kept and columns decorrelated."""
    n, d = first.shape
    loss = AGREE * functional.mse_loss(first, second)
    for z in (first, second):
        loss = loss + SPREAD_OUT / 2 * functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
        centred = z - z.mean(0)
        covariance = centred.T @ centred / max(n - 1, 1)
        off = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + APART / 2 * off / d
    return loss


def student_loss(student: Student, looks: list[tuple[Tensor, Tensor]], targets: Tensor) -> Tensor:
    """Loss of two looks (crops, masks) at the same seeds."""
    vectors = student.encoder(*(torch.cat(part) for part in zip(*looks, strict=True)))
    told = student.teller(vectors).float()
    tell = functional.smooth_l1_loss(told, torch.cat((targets, targets)))
    first, second = student.projector(vectors[:, : student.encoder.config.n_vector]).float().chunk(2)
    return TELL * 2 * tell + 0.1 * vicreg(first, second)


def look_loss(looks: Looks, settings: PretrainSettings, random_state: int) -> Loss:
    """The loss of a step of a :class:`Student`: two looks at each of some seeds."""

    def loss(model: nn.Module, step: int, batch: int) -> Tensor:
        assert isinstance(model, Student)
        rng = training.stream(random_state, 11, step)
        rows = rng.choice(len(looks), batch, replace=len(looks) < batch)
        n_looks = looks.crops.shape[1]
        which = np.stack([rng.permutation(n_looks)[[0, -1]] for _ in rows], 1)  # (2, batch)
        pairs = [seen(looks, rows, w, rng, settings.strength) for w in which]
        return student_loss(model, pairs, torch.from_numpy(looks.targets[rows]))

    return loss


def blemish_loss(looks: Looks, settings: PretrainSettings, random_state: int) -> Loss:
    """The loss of a step of an encoder whose two learnt numbers tell the blemishes put into some seeds.

    The first says whether there is one (as a logit), the second the root of how much it changed.
    """

    def loss(model: nn.Module, step: int, batch: int) -> Tensor:
        assert isinstance(model, SeedEncoder)
        rng = training.stream(random_state, 14, step)
        rows = rng.choice(len(looks), batch, replace=len(looks) < batch)
        with torch.autocast("cpu", enabled=False):
            crops, masks = mirrored(looks, rows, rng.integers(0, looks.crops.shape[1], batch), rng)
            crops, masks, change = blemished(crops, masks, rng.random(batch) < PUT, rng)
            crops, masks = disturbed(crops, masks, rng, settings.strength)
        found = model(crops, masks)
        is_there, size = (change > 0).float(), change.clamp(max=LARGEST).sqrt()
        tell = functional.binary_cross_entropy_with_logits(found[:, 0], is_there)
        return tell + SIZE * functional.mse_loss(found[:, 1], size)

    return loss


def new_trainer(
    encoder: SeedEncoder, looks: Looks, settings: PretrainSettings, random_state: int
) -> training.Trainer:
    """The training of an encoder, ready for its first step; what it draws depends on the step alone."""
    encoder.train().requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        is_looks = settings.pretext == "looks"
        model = Student(encoder, looks.targets.shape[1]) if is_looks else encoder
    loss = (look_loss if is_looks else blemish_loss)(looks, settings, random_state)
    plan = training.Plan(
        settings.n_steps, settings.peak_rate, settings.batch, settings.weight_decay, settings.precision
    )
    return training.Trainer("encoder", model, loss, plan)


def resized(encoder: SeedEncoder, n: int, random_state: int) -> SeedEncoder:
    """The encoder with `n` learnt numbers, which are yet to be learnt; the rest as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        other = SeedEncoder(replace(encoder.config, n_vector=n))
    kept = {k: v for k, v in encoder.state_dict().items() if not k.startswith("vector.")}
    other.load_state_dict(other.state_dict() | kept)
    return other


def seen(
    looks: Looks,
    rows: npt.NDArray[np.integer],
    which: npt.NDArray[np.integer],
    rng: np.random.Generator,
    strength: float,
) -> tuple[Tensor, Tensor]:
    """Disturbed crops and masks of look `which` of seeds `rows`."""
    return disturbed(*mirrored(looks, rows, which, rng), rng, strength)


def mirrored(
    looks: Looks, rows: npt.NDArray[np.integer], which: npt.NDArray[np.integer], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Crops and masks of look `which` of seeds `rows`, mirrored along random axes."""
    crops = torch.from_numpy(looks.crops[rows, which].astype(np.float32))
    masks = torch.from_numpy(looks.masks[rows, which].astype(np.float32) / 255)
    axes = [a for a in range(2, crops.ndim) if rng.random() < 0.5]
    return crops.flip(axes), masks.flip(axes)


def disturbed(
    crops: Tensor, masks: Tensor, rng: np.random.Generator, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Change what says nothing about a seed: light, contrast, gamma, blur, noise, the light of single bands.

    Parameters
    ----------
    crops : (n, c, *cells) float
        In units of the scan; the first channel is brightness, the others are colours or bands.
    masks : (n, 1, *cells) float
        Share of each cell that is seed.
    rng : numpy.random.Generator
        Where the changes come from.
    strength : float
        1 as for training.
    """
    n, c = crops.shape[:2]
    n_dims = crops.ndim - 2

    def each(low: float, high: float) -> Tensor:
        drawn = rng.uniform(low, high, n).astype(np.float32)
        return torch.from_numpy(drawn).view(n, *[1] * (n_dims + 1))

    light, rest = crops[:, :1], crops[:, 1:]
    slope = sum(
        (
            each(-0.4, 0.4)
            * strength
            * torch.linspace(-1, 1, light.shape[2 + a]).view([-1 if i == a else 1 for i in range(n_dims)])
        )
        for a in range(n_dims)
    )
    light = light * (1 + strength * each(-0.12, 0.12)) + strength * each(-0.25, 0.25) + slope
    bend = strength * each(-0.02, 0.02)
    light = light + bend * light.square()
    if c > 1:
        rest = rest + 0.05 * strength * smooth_curves(rng, n, c - 1, n_dims)
    if c > 4:  # bands: some are dead
        dead = rng.random((n, c - 1)) < 0.04 * strength * (rng.random((n, 1)) < 0.5)
        rest = rest * torch.from_numpy(~dead).view(n, c - 1, *[1] * n_dims)
    shown = torch.cat((light, rest), 1)
    share = each(-0.5, 1.0).clamp(min=0) * min(strength, 1.0)
    shown = shown + share * (AVERAGE[n_dims](shown, 3, stride=1, padding=1) - shown)
    level = each(-0.2, 0.5).clamp(min=0) * strength
    noise = torch.from_numpy(rng.standard_normal(shown.shape, np.float32))
    weights = torch.ones(1, c, *[1] * n_dims)
    weights[:, 1:] = 0.15 if c <= 4 else 0.3
    return (shown + level * weights * noise) * (masks > 0.25), masks
