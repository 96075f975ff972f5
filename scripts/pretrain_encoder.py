"""Train the encoders that come with the package, on seeds that are drawn and never named.

    python scripts/pretrain_encoder.py [--kinds volume,cube,picture] [--random-state 0] [--cache FOLDER]

Drawing takes some minutes and is kept in the cache; a training that was stopped goes on. Scans of phantoms
are made with wide dials, each tray twice with other blur, noise, cupping, rings, streaks and grey levels;
pictures and cubes of seeds are drawn with random outlines, materials and spots. What an encoder is to tell
are the descriptors of the undisturbed picture; that of volumes then learns to find blemishes that were put
into seeds. No class of a phantom is read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import Progress
from napari_seedlab.files import atomic_write, load_arrays, save_arrays
from napari_seedlab.imaging.features import GreyLevels, describe_picture, describe_seed, describe_spectrum
from napari_seedlab.imaging.phantom import DEFAULT_TRAY, Dials, make_tray, tray_dials
from napari_seedlab.learn import bundled, canonical, pretrain, training
from napari_seedlab.learn.encoders import SeedImage

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.imaging.phantom import Phantom
    from napari_seedlab.models.seed_encoder import SeedEncoder

    Rng = np.random.Generator
    Float = npt.NDArray[np.float32]

N_TRAYS = 50
N_PER_TRAY = 150
LEARNT = {"volume": 16, "cube": 8, "picture": 96}  # numbers, while two looks agree and tell
STEPS = {"volume": 600, "cube": 120, "picture": 200}
THEN = {"volume": pretrain.PretrainSettings(260, peak_rate=1e-3, weight_decay=0.05, pretext="blemishes")}
N_DRAWN = 8000  # pictures, and as many cubes
SHARES = (0.4, 0.38, 0.14, 0.08)  # of what is drawn: as much variety as a tray can hold
CLEAN = {"noise": 0.0, "rings": 0.0, "streaks": 0.0, "cupping": 0.0, "fringe": 0.0, "blur": 0.4}


@dataclass(frozen=True)
class Run:
    """Which encoder is trained, from which random state; where its data and checkpoints lie."""

    kind: str
    random_state: int
    cache: Path


def geometry(rng: Rng, base: Dials = DEFAULT_TRAY) -> Dials:
    """Dials of the seeds of one tray."""
    flat = rng.uniform(0.45, 0.8)
    return base.replace(
        shares=SHARES,
        diameter=rng.uniform(17, 30),
        diameter_sd=rng.uniform(0.03, 0.12),
        flatness=(flat, rng.uniform(flat + 0.1, 0.98)),
        bumps=rng.uniform(0.01, 0.05),
        coat=rng.uniform(1.2, 2.3),
        coat_density=rng.uniform(1.02, 1.25),
        dead_coat_density=rng.uniform(1.25, 1.7),
        cleft=(rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.8)),
        brightness_sd=rng.uniform(0.02, 0.1),
        mottle=rng.uniform(0.005, 0.035),
        defect_fraction=(0.004, 0.12),
        dense_contrast=(rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.9)),
        shrink=(rng.uniform(0.45, 0.65), rng.uniform(0.7, 0.92)),
    )


def chain(rng: Rng) -> dict[str, float]:
    """Dials of one scan of a tray."""
    air = rng.uniform(5, 40)
    return {
        "blur": rng.uniform(0.45, 1.0),
        "noise": float(np.exp(rng.uniform(np.log(0.008), np.log(0.045)))),
        "cupping": rng.uniform(0.0, 0.1),
        "rings": rng.uniform(0.0, 0.012),
        "streaks": rng.uniform(0.0, 0.012),
        "fringe": max(0.0, rng.uniform(-0.15, 0.15)),
        "air_grey": air,
        "seed_grey": air + rng.uniform(85, 150),
    }


def seeds_of(tray: Phantom, ids: list[int]) -> list[SeedImage]:
    """Some seeds of a tray as encoders see them."""
    levels = GreyLevels(tray.dials.air_grey, tray.dials.seed_grey)
    found = []
    for i in ids:
        low, high = tray.table.box[i - 1].reshape(2, 3).tolist()
        place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        mask = tray.instances[place] == i
        found.append(SeedImage("ct", tray.volume[place], mask, levels, (tray.dials.voxel_size_um,) * 3))
    return found


def volumes(random_state: int) -> dict[str, npt.NDArray[Any]]:
    """Seeds of trays: two scans each, and the descriptors of a scan without disturbance."""
    crops, masks, targets = [], [], []
    for number in range(N_TRAYS):
        rng = np.random.default_rng([random_state, 1, number])
        dials = tray_dials(N_PER_TRAY, int(rng.integers(2**31)), geometry(rng))
        clean = make_tray(dials.replace(**CLEAN))
        ids = clean.table.id[clean.table.n_voxels > 100].tolist()
        looks = [turned(seeds_of(make_tray(dials.replace(**chain(rng))), ids), "volume", rng) for _ in "ab"]
        crops.append(np.stack([c for c, _ in looks], 1))
        masks.append(np.stack([m for _, m in looks], 1))
        targets += [describe_seed(s.image, s.mask, s.levels, s.scale_um) for s in seeds_of(clean, ids)]
        progress("trays", number + 1, N_TRAYS)
    return {"crops": np.concatenate(crops), "masks": np.concatenate(masks), "targets": np.stack(targets)}


def turned(seeds: list[SeedImage], kind: str, rng: Rng) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Crops (n, c, *cells) float16 and masks uint8, axes turned and size changed a little."""
    cut = [canonical.canonical(seed, kind, canonical.Wobble.draw(rng)) for seed in seeds]
    crops = np.stack([c.crop for c in cut]).astype(np.float16)
    return crops, np.round(255 * np.stack([c.mask for c in cut])).astype(np.uint8)


def outline(rng: Rng, size: int) -> tuple[Float, Float, Float]:
    """A bumpy superellipse: depth inside (0 at the rim, 1 in the middle), places along and across."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / (size / 2) - 1
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    ratio, power = np.exp(rng.uniform(np.log(0.25), 0)), rng.uniform(1.7, 2.6)
    taper = rng.uniform(-0.35, 0.35)
    u, v = along / 0.8, across / (0.8 * ratio * np.maximum(1 + taper * along, 0.2))
    turn = np.arctan2(v, u)
    bumps = sum(rng.normal(0, 0.05 / k) * np.cos(k * turn + rng.uniform(0, 7)) for k in range(2, 9))
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) * (1 + bumps * rng.uniform(0, 2))
    if rng.random() < 0.25:  # a sprout
        bend = rng.uniform(-0.5, 0.5)
        far = np.abs(across - bend * (along - 0.5)) / rng.uniform(0.06, 0.14)
        radius = np.minimum(radius, np.where((along > 0) & (along < rng.uniform(0.7, 0.98)), far, 9))
    return 1 - radius, u, v


def cloud(rng: Rng, size: int, grain: float) -> Float:
    """Smooth noise (y, x) of sd 1."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((size, size)), grain)
    return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)


def materials(rng: Rng, size: int, u: Float, v: Float, depth: Float) -> Float:
    """Shares of the materials (k, y, x) that a drawn seed is made of, the first its ordinary one."""
    layers = []
    for _ in range(rng.integers(0, 4)):
        kind, at = rng.integers(6), rng.uniform(-0.7, 0.7, 2)
        if kind == 0:  # a spot
            layer = np.hypot(u - at[0], v - at[1]) < rng.uniform(0.05, 0.5)
        elif kind == 1:  # a tip
            layer = u > rng.uniform(0.3, 0.9)
        elif kind == 2:  # a crack
            line = v - at[1] * 0.5 - 0.3 * np.sin(rng.uniform(1, 5) * u + rng.uniform(0, 6))
            layer = (np.abs(line) < rng.uniform(0.02, 0.1)) & (np.abs(u - at[0]) < rng.uniform(0.2, 1))
        elif kind == 3:  # patches
            layer = cloud(rng, size, size * rng.uniform(0.02, 0.12)) > rng.uniform(0.5, 2)
        elif kind == 4:  # stripes
            layer = np.sin((u if rng.random() < 0.5 else v) * rng.uniform(8, 40) + at[0]) > rng.uniform(
                0, 0.9
            )
        else:  # the rim
            layer = depth < rng.uniform(0.05, 0.3)
        layers.append(layer.astype(np.float32) * rng.uniform(0.3, 1.0))
    shares = [np.ones((size, size), np.float32)]
    for layer in layers:
        shares = [*(s * (1 - layer) for s in shares), layer]
    return np.stack(shares)


def drawn(rng: Rng, spectra: Any, size: int) -> tuple[Float, npt.NDArray[np.bool_]]:
    """One seed: light (c, y, x) of about 1, and its mask; `spectra(rng, k)` is the light of k materials."""
    depth, u, v = outline(rng, size)
    shares = materials(rng, size, u, v, depth)
    light = np.tensordot(spectra(rng, len(shares)), shares, (0, 0))  # (c, y, x)
    round_ = np.sqrt(np.clip(1 - (1 - np.clip(depth, 0, 1)) ** 2, 0, 1))
    shade = 1 - rng.uniform(0, 0.6) * (1 - round_) + rng.uniform(-0.25, 0.25) * u
    grain = 1 + rng.uniform(0, 0.15) * cloud(rng, size, rng.uniform(0.5, 3))
    return np.asarray(light * np.clip(shade * grain, 0.05, 3), np.float32), depth > 0


def colours(rng: Rng, k: int) -> Float:
    """Red, green and blue (k, 3) of materials around one colour."""
    base = np.clip(np.sort(rng.uniform(0.2, 1, 3))[::-1] + rng.normal(0, 0.1, 3), 0.05, 1.2)
    other = base * np.exp(rng.normal(0, 0.35, (k, 1))) * np.exp(rng.normal(0, 0.15, (k, 3)))
    other[0] = base
    return np.asarray(other, np.float32)


def curves(rng: Rng, k: int, n_bands: int = canonical.N_BANDS * 2) -> Float:
    """Spectra (k, bands) of materials: an edge, some absorptions and slow waves, alike within a seed."""
    at = np.linspace(0, 1, n_bands)
    edge, width, floor = rng.uniform(-0.2, 0.9), rng.uniform(0.03, 0.3), rng.uniform(0.03, 0.4)
    dips = rng.uniform(0, 1, (6, 1)), rng.uniform(0.02, 0.08, (6, 1)), np.abs(rng.normal(0, 0.08, 6))
    waves = np.cos(np.pi * np.arange(1, 6)[:, None] * at)
    slow = rng.normal(0, 0.05, 5)
    found = []
    for i in range(k):
        other = 0.0 if i == 0 else 1.0
        here = floor + 0.5 / (1 + np.exp(-(at - edge - other * rng.normal(0, 0.08)) / width))
        depth = dips[2] * np.exp(other * rng.normal(0, 0.8, 6))
        here = here - depth @ np.exp(-(((at - dips[0]) / dips[1]) ** 2))
        here = here + (slow + other * rng.normal(0, 0.05, 5)) @ waves
        found.append(np.clip(here, 0.01, 1.2) * np.exp(other * rng.normal(0, 0.3)))
    return np.asarray(found, np.float32)


def scanned(light: Float, gain: Float, rng: Rng) -> Float:
    """One look: blur, uneven light, bad columns and noise on top of the gain (c,) of the channels."""
    from scipy.ndimage import gaussian_filter

    sd = max(0.0, rng.uniform(-0.5, 1.2))
    shown = light * gain[:, None, None]
    shown = gaussian_filter(shown, (0, sd, sd)) if sd > 0.2 else shown
    columns = 1 + rng.uniform(0, 0.02) * rng.standard_normal(shown.shape[2])
    noise = rng.uniform(0, 0.05) * (0.3 + np.sqrt(np.clip(shown, 0, None)))
    return np.asarray(shown * columns + noise * rng.standard_normal(shown.shape), np.float32)


def drawn_looks(kind: str, random_state: int) -> dict[str, npt.NDArray[Any]]:
    """Drawn pictures or cubes: two looks each, and the descriptors of the undisturbed drawing."""
    crops, masks, targets = [], [], []
    modality, describe = ("hsi", describe_spectrum) if kind == "cube" else ("image", describe_picture)
    for number in range(N_DRAWN):
        rng = np.random.default_rng([random_state, 2 if kind == "cube" else 3, number])
        size = int(rng.integers(*((14, 56) if kind == "cube" else (36, 110))))
        light, mask = drawn(rng, curves if kind == "cube" else colours, size)
        if kind == "picture" and rng.random() < 0.3:
            light = light.mean(0, keepdims=True)
        solid = float(np.exp(rng.normal(0, 0.25))) * float(np.median(light.mean(0)[mask]))
        levels, scale = GreyLevels(0.0, solid), (1.0, *(float(np.exp(rng.uniform(0, 5))),) * 2)
        targets.append(describe(light, mask[None], levels, scale))
        looks = []
        for _ in "ab":
            gain = (
                1 + rng.uniform(0, 0.3) * curves(rng, 1, len(light))[0]
                if kind == "cube"
                else np.ones(len(light))
            )
            image = scanned(light, np.asarray(gain / gain.mean(), np.float32), rng)
            looks.append(turned([SeedImage(modality, image, mask[None], levels, scale)], kind, rng))
        crops.append(np.stack([c[0] for c, _ in looks]))
        masks.append(np.stack([m[0] for _, m in looks]))
        progress("drawings", number + 1, N_DRAWN)
    return {"crops": np.stack(crops), "masks": np.stack(masks), "targets": np.stack(targets)}


def progress(what: str, done: int, n: int) -> None:
    """A line now and then."""
    if done % max(1, n // 10) == 0:
        print(f"{what}: {done} of {n}", file=sys.stderr, flush=True)


def looks_of(kind: str, random_state: int, cache: Path) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """What a kind of encoder learns from, and its hash; drawn once and kept."""
    path = cache / f"{kind}-{random_state}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        save_arrays(path, **(volumes(random_state) if kind == "volume" else drawn_looks(kind, random_state)))
    arrays = load_arrays(path)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).view(np.uint8).data)
    return arrays, digest.hexdigest()


def learn(
    network: SeedEncoder, looks: pretrain.Looks, settings: pretrain.PretrainSettings, a: Run
) -> dict[str, Any]:
    """One training, from its checkpoint where there is one; how it ended."""
    trainer = pretrain.new_trainer(network, looks, settings, a.random_state)
    checkpoint = a.cache / f"{a.kind}-{a.random_state}-{settings.pretext}-{settings.n_steps}.safetensors"
    begun, n_steps = time.process_time(), settings.n_steps

    def report(n_done: int, loss: float) -> Progress:
        spent = time.process_time() - begun
        return Progress(n_done, n_steps, f"{a.kind}, {settings.pretext}: loss {loss:.3f} after {spent:.0f} s")

    told = Progress(0, n_steps)
    for told in trainer.run(checkpoint, report):
        print(told.done, told.message, file=sys.stderr, flush=True)
    return {
        "settings": asdict(settings),
        "cpu_seconds": round(time.process_time() - begun),
        "end": told.message,
        "versions": training.versions(trainer.device, trainer.is_bfloat16),
    }


def train(a: Run, n_steps: int, out: Path) -> dict[str, Any]:
    """Train one encoder and write its weights and card."""
    kind = a.kind
    arrays, data_hash = looks_of(kind, a.random_state, a.cache)
    looks = pretrain.Looks(arrays["crops"], arrays["masks"], pretrain.standardised(arrays["targets"]))
    sizes = {**bundled.SIZES[kind], "n_vector": LEARNT[kind]}
    network = bundled.new_network(kind, a.random_state, **sizes)
    card: dict[str, Any] = {
        "kind": kind,
        "recipe": " ".join((pretrain.__doc__ or "").split("\n\n", 1)[1].split()),
        "random_state": a.random_state,
        "data_hash": data_hash,
        "n_seeds": len(looks),
        **learn(network, looks, pretrain.PretrainSettings(n_steps=n_steps), a),
    }
    if kind in THEN:
        network = pretrain.resized(network, bundled.SIZES[kind]["n_vector"], a.random_state)
        card["then"] = learn(network, looks, THEN[kind], a)
    card["network"] = asdict(network.config)
    card["n_parameters"] = sum(p.numel() for p in network.parameters())
    path = out / f"{kind}.safetensors"
    bundled.save_network(path, network, kind, {"random_state": a.random_state, "data_hash": data_hash})
    card["weights_hash"] = bundled.weights_hash({kind: bundled.load_network(path)[1]})
    atomic_write(path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default="volume,cube,picture")
    parser.add_argument("--random-state", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="as many as the weights in the package had")
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    parser.add_argument("--cache", type=Path, default=home / "napari-seedlab" / "pretraining")
    parser.add_argument("--out", type=Path, default=bundled.bundled_path("volume").parent)
    a = parser.parse_args()
    training.use_threads()
    for kind in a.kinds.split(","):
        run = Run(kind, a.random_state, a.cache)
        print(json.dumps(train(run, a.steps or STEPS[kind], a.out)), flush=True)


if __name__ == "__main__":
    main()
