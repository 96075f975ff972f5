"""What a project took from an earlier one: classes, split recipe, encoders, a model that predicts at once."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_seedlab import files
from napari_seedlab.core import (
    ClassScheme,
    EventKind,
    InputError,
    LabelState,
    ModelCard,
    NotReady,
    SeedClass,
    SeedlabError,
    answers_of,
)
from napari_seedlab.session.desk import Step
from napari_seedlab.session.steps import forget_head

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    import numpy.typing as npt

    from napari_seedlab.core import JobRequest, JobResult, Scan
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

FAR_SHARE = 0.2  # of the seeds beyond what the earlier project has seen, from which on it is told
PLACE = "origin"  # archive with the facts; what each pool brings is origin-{pool}
PRIOR = ("center", "scale", "weight", "bias", "n_behind", "class_ids", "temperature", "names")
DOMAIN = ("middle", "spread", "mean", "precision", "cut")
WEIGHTS = {"own": "encoder.safetensors", "vgg16": "vgg16.safetensors"}  # of encoders that a project holds
VOXEL_FIELDS = {"sigma_px": 1, "seed_radius": 1, "min_voxels": 3}  # of a recipe, and their power of a length


class Origin:
    """The project that this one was started from, and what of it is in use.

    Attributes
    ----------
    changed : Signal
        Something was taken, or what is known of it changed; from any thread.
    facts : dict
        ``name``, ``pools`` by pool: ``encoders``, ``versions``, ``bands``, ``range_nm``, ``n_labels``,
        ``classes``, ``recipe``, ``voxel_um``, ``has_model``; empty where nothing was taken.

    Parameters
    ----------
    session : Session
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self.facts: dict[str, Any] = {}
        self._far: dict[str, tuple[int, int]] = {}  # seeds outside and seen, by pool
        self._dropped: dict[str, bool] = {}  # whether the answers spoke against the earlier model
        self._told: dict[str, str] = {}  # what was last said of a pool

    def load(self, project: Project) -> None:
        """Read what was taken before; new vectors are predicted from now on."""
        found = project.get_arrays(PLACE)
        if found is not None:
            self.facts = json.loads(str(found["facts"]))
            known = project.get_state(PLACE)
            if isinstance(known, dict):
                self._far = {pool: (int(a), int(b)) for pool, (a, b) in known["far"].items()}
                self._dropped = dict.fromkeys(known["dropped"], True)
        self._session.embedding_changed.connect(self._embedded)

    # -- what is known ------------------------------------------------------------------------
    @property
    def name(self) -> str:
        """Name of the earlier project; empty where there is none."""
        return str(self.facts.get("name", ""))

    def serves(self, pool: str) -> bool:
        """Whether the earlier model can predict the seeds of a pool."""
        return bool(self.facts.get("pools", {}).get(pool, {}).get("has_model")) and not self.lacks(pool)

    def lacks(self, pool: str) -> str:
        """Why nothing but the class scheme serves the seeds of a pool, in one clause; empty where it does."""
        brought = self.facts.get("pools", {}).get(pool)
        if brought is None:
            return f"it has no {pool} seeds"
        for scan in self._session.scans_of(pool):
            if why := _unlike(brought, scan):
                return why
        if not brought["has_model"]:
            return (
                "it has no labels of two classes" if brought["n_seeds"] else "its seeds have no vectors yet"
            )
        shared = {c.name for c in self._session.scheme.active} & set(brought["classes"])
        if len(shared) < 2:
            return f"its model knows other classes ({', '.join(brought['classes'])})"
        known = self._session.embeddings.get(pool)
        if known is None or not len(known.seeds):
            return ""
        if known.versions and brought["versions"] and list(known.versions) != brought["versions"]:
            theirs, ours = "+".join(brought["encoders"]), "+".join(known.encoders)
            what = f"encoder {theirs}, these by {ours}"
            if theirs == ours:
                what = f"another version of {theirs}; run seedlab embed on both projects, then start again"
            return f"its vectors are by {what}"
        if known.vectors.shape[1] != brought["width"]:
            return f"its vectors have {brought['width']} entries, these {known.vectors.shape[1]}"
        return ""

    def shift(self, pool: str) -> tuple[int, int] | None:
        """(seeds that lie outside what the earlier project has seen, seeds that were looked at)."""
        return self._far.get(pool) if self.serves(pool) else None

    def is_far(self, pool: str) -> bool:
        """Whether so many seeds lie outside that the earlier model should not be trusted."""
        n_far, n = self.shift(pool) or (0, 0)
        return n_far > FAR_SHARE * n

    def line(self, pool: str) -> str:
        """What there is to say of the earlier project, in one line; empty where nothing was taken."""
        if not self.facts:
            return ""
        if why := self.lacks(pool):
            whole = pool not in {str(s.facts.modality) for s in self._session.scans.values()}
            return f"Started from {self.name}" + (
                "." if whole else f", which gave the class scheme only: {why}."
            )
        if self.is_far(pool):
            n_far, n = self._far[pool]
            return (
                f"{100 * n_far / n:.0f} % of these seeds look unlike those of {self.name}: "
                "check what it predicts."
            )
        if self._dropped.get(pool):
            return f"Your labels speak against the model of {self.name}: it is not used any more."
        n = self.facts["pools"][pool]["n_labels"]
        return f"The model of {self.name} ({n} labels) predicts these seeds; yours correct it."

    def told_in_json(self, pool: str) -> dict[str, Any]:
        """The same as plain values; empty where nothing was taken."""
        if not self.facts:
            return {}
        n_far, n = self.shift(pool) or (0, 0)
        share = round(n_far / n, 4) if n else None
        is_empty = not self._session.scans  # whatever kind comes first
        has_model = any(map(self.serves, self.facts["pools"])) if is_empty else self.serves(pool)
        told = {"from": self.name, "model": has_model, "line": self.line(pool)}
        return {"origin": {**told, "share_outside": share, "is_shifted": self.is_far(pool)}}

    def recipe(self, scan: int) -> dict[str, Any]:
        """Settings of a split as the earlier project used them, in the voxels of this scan.

        A grey value that was set there is left out: grey values differ from scan to scan.
        """
        facts = self._session.scans[scan].facts
        brought = self.facts.get("pools", {}).get(str(facts.modality))
        if not brought or not brought["recipe"] or _unlike(brought, self._session.scans[scan]):
            return {}
        recipe = {k: v for k, v in brought["recipe"].items() if k not in ("threshold", "spacing")}
        edge = _edge(facts.voxel_size_um)
        if edge and brought["voxel_um"]:
            ratio = brought["voxel_um"] / edge
            for key, power in VOXEL_FIELDS.items():
                if recipe.get(key):
                    power = min(power, 2) if facts.shape[0] == 1 or facts.has_bands else power
                    recipe[key] = type(recipe[key])(recipe[key] * ratio**power)
        return recipe

    # -- what is done -------------------------------------------------------------------------
    def start_from(self, path: Path | str) -> Task:
        """Take over what an earlier project brings; it is only read, also while somebody else writes it.

        Raises
        ------
        ProjectError
            This project is read-only.
        """
        session = self._session
        session.refuse_if_blocked()
        task = session.desk.start(self._step(Path(path)))
        return task.then(lambda _: self._use())

    def _use(self) -> None:
        for pool in self.facts["pools"]:
            self._choose_encoders(pool)
            self._embedded(pool)

    def _step(self, path: Path) -> Step:
        def prepare(project: Project, folder: Path) -> dict[str, Any]:
            from napari_seedlab.store import Project

            with Project.open(path, read_only=True) as other:
                if other.uuid == project.uuid:
                    raise InputError(path.name, "is this project itself", "Choose another one")
                pools = [_read_pool(other, pool, folder) for pool in _pools(other)]
                scheme = other.scheme("grain")
            name = path.absolute().name.removesuffix(".seedlab")
            return {"name": name, "pools": pools, "classes": [asdict(c) for c in scheme]}

        def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
            params = request.params
            taken = ["class scheme"] if self._take_scheme(project, params["classes"]) else []
            models, others = {}, []
            for entry in params["pools"]:
                if _keep(project, folder, entry):
                    models[entry["pool"]] = f"model of {entry['n_labels']} {entry['pool']} labels"
                for name in _keep_weights(project, folder, entry):
                    others.append(f"{entry['pool']} encoder {name}")
                if entry["recipe"]:
                    others.append(f"{entry['pool']} split recipe")
            pools = {e["pool"]: {k: v for k, v in e.items() if k != "class_ids"} for e in params["pools"]}
            self.facts = {"name": params["name"], "pools": pools}
            project.put_arrays(PLACE, facts=np.asarray(json.dumps(self.facts)))
            self._far, self._dropped, self._told = {}, {}, {}
            session = self._session
            session.reload_models(project)
            lacks = {pool: why for pool in pools if (why := self.lacks(pool))}
            for scan in session.scans.values():
                lacks.setdefault(str(scan.facts.modality), self.lacks(str(scan.facts.modality)))
            taken += [what for pool, what in models.items() if not lacks.get(pool)] + others
            self.changed.emit()
            classes = {c.id: c.name for c in session.scheme}
            lacks = {pool: why for pool, why in lacks.items() if why}
            return {"from": params["name"], "taken": taken, "classes": classes, "lacks": lacks}

        return Step("origin", "napari_seedlab.learn.transfer:run", prepare, adopt)

    def _take_scheme(self, project: Project, classes: list[dict[str, Any]]) -> bool:
        """Take the classes over where nothing is labelled yet; whether these are the classes now."""
        session = self._session
        theirs = ClassScheme("grain", tuple(SeedClass(**c) for c in classes))
        if any(label.state is LabelState.LABELLED for label in session.labels.values()):
            return False
        wanted = scheme_after(theirs, session.scheme, *_past_classes(project))
        if wanted != session.scheme:
            project.set_scheme(wanted, session.annotator)
            session.scheme = project.scheme("grain")
            for pool in list(session.heads):
                forget_head(session, project, pool)
            session.scheme_changed.emit()
        return True

    def _choose_encoders(self, pool: str) -> None:
        """Use the encoders of the earlier project, where they can be used here."""
        session, names = self._session, tuple(self.facts["pools"][pool]["encoders"])
        here = session.embeddings.get(pool)
        if names == session.encoders.chosen(pool) or self.lacks_channels(pool):
            return
        try:
            session.encoders.usable(pool, names)
        except (InputError, NotReady) as error:
            session.message.emit("info", f"The encoders of {self.name} are not used: {error}")
            return
        if here is not None and len(here.seeds):
            session.encoders.choose(pool, names)
            return

        def remember(project: Project) -> None:
            state = project.get_state("encoders")
            chosen = dict(state.get("chosen", {})) if isinstance(state, dict) else {}
            project.set_state("encoders", {"chosen": {**chosen, pool: list(names)}})
            session.encoders.load(project, pool)

        session.desk.do(remember)

    def lacks_channels(self, pool: str) -> bool:
        """Whether a scan of the pool has other channels than the earlier project."""
        brought = self.facts["pools"][pool]
        return any(_unlike(brought, scan) for scan in self._session.scans_of(pool))

    def _embedded(self, pool: str) -> None:
        """Predict the seeds of a pool by the earlier model, now that they have vectors."""
        if not self.facts or self._session.read_only:
            return
        if pool in self._session.embeddings and self.serves(pool):
            self._session.refit(pool)
        elif pool in self._session.embeddings and (why := self.lacks(pool)) != self._told.get(pool):
            self._told[pool] = why
            self._session.message.emit("info", self.line(pool))

    # -- for other jobs, on the desk's thread -------------------------------------------------
    def write(self, project: Project, folder: Path, pool: str) -> str:
        """Put what serves a labelling round into its folder; what the model's name then ends with."""
        arrays = project.get_arrays(f"{PLACE}-{pool}") if self.serves(pool) else None
        if arrays is None:
            return ""
        files.save_arrays(folder / "prior.npz", **{k: arrays[k] for k in PRIOR})
        known = self._session.embeddings[pool]
        is_known = self._far.get(pool, (0, 0))[1] == len(known.seeds)
        if "middle" in arrays and not is_known:
            files.save_arrays(folder / "domain.npz", **{k: arrays[k] for k in DOMAIN})
        return "-from-" + re.sub(r"[^A-Za-z0-9.]+", "-", self.name)[:32].strip("-.")

    def write_net(self, project: Project, folder: Path, pool: str) -> None:
        """Put the network of the earlier project where the training of a new one starts from it."""
        arrays = project.get_arrays(f"{PLACE}-net-{pool}") if self.facts else None
        if arrays is not None and not self.lacks_channels(pool):
            names = [c.name for c in self._session.scheme.active]
            files.save_arrays(folder / "start.npz", **arrays, wanted=np.asarray(names))

    def told(self, project: Project, pool: str, values: Mapping[str, Any]) -> None:
        """Take over what a labelling round found about the earlier project."""
        if not self.facts:
            return
        before = self.line(pool)
        if "n_far" in values:
            n_far, n = int(values["n_far"]), int(values["n_seen"])
            if self._is_inverted(project, pool):
                n_far = n  # vectors may be counted from the surroundings, and show nothing of it
            self._far = {**self._far, pool: (n_far, n)}
        if self.serves(pool):
            self._dropped = {**self._dropped, pool: not values.get("from_origin", True)}
        if (line := self.line(pool)) != before:
            dropped = [p for p, is_dropped in self._dropped.items() if is_dropped]
            project.set_state(PLACE, {"far": {k: list(v) for k, v in self._far.items()}, "dropped": dropped})
            if self.is_far(pool):
                self._session.message.emit("warning", line)
            self.changed.emit()

    def _is_inverted(self, project: Project, pool: str) -> bool:
        """Whether seeds are darker than their surroundings here and brighter there, or the reverse."""
        recipes = self.facts["pools"].get(pool, {}).get("recipe"), _newest_recipe(project, pool)
        theirs, ours = (bool(r and r.get("dark_objects")) for r in recipes)
        return bool(recipes[0] and recipes[1]) and theirs != ours


def scheme_after(
    theirs: ClassScheme, ours: ClassScheme, past: Mapping[int, SeedClass], used: Container[int] = ()
) -> ClassScheme:
    """Their classes in a project whose ids already mean something.

    Parameters
    ----------
    theirs : ClassScheme
        To be taken over.
    ours : ClassScheme
        Of the project now: a class of the same name keeps its id.
    past : mapping of int to SeedClass
        What every id ever meant here; their id is kept where it is free.
    used : container of int
        Ids that a seed ever had here: they stay, hidden, as a redo may give them again.
    """
    own = {c.name: c.id for c in (*(c for c in past.values() if c.id in used), *ours)}
    taken = {own[c.name] for c in theirs if c.name in own}
    classes = []
    for c in theirs:
        ident = own.get(c.name, c.id)
        if c.name not in own and (ident in taken or (ident in past and past[ident].name != c.name)):
            ident = max({*past, *taken, *theirs.ids, 0}) + 1
        taken.add(ident)
        classes.append(replace(c, id=ident))
    for c in past.values():
        if c.id in used and c.id not in taken:
            name = c.name if c.name not in {known.name for known in classes} else f"{c.name} ({c.id})"
            classes.append(replace(c, name=name, key="", hidden=True))
    return ClassScheme("grain", tuple(classes))


def _past_classes(project: Project) -> tuple[dict[int, SeedClass], set[int]]:
    """What every class id last meant, and the ids that a seed was ever given."""
    past: dict[int, SeedClass] = {}
    used: set[int] = set()
    for event in project.events():
        if event.kind is EventKind.SCHEME and event.payload["kind"] == "grain":
            past |= {c["id"]: SeedClass(**c) for c in event.payload["classes"]}
        elif event.kind is EventKind.LABEL:
            used |= {int(class_id) for _, _, class_id in answers_of(event.payload)}
    return past, used


def _pools(other: Project) -> list[str]:
    return list(dict.fromkeys(str(scan.facts.modality) for scan in other.scans()))


def _read_pool(other: Project, pool: str, folder: Path) -> dict[str, Any]:
    """Copy what the job needs of a pool into its folder; the facts of the pool."""
    scan = next(s for s in other.scans() if str(s.facts.modality) == pool)
    encoders, versions, seeds, vectors, widths = _vectors(other, pool)
    n_labels = _write_labels(other, folder, pool, seeds)
    if len(seeds):
        files.save_arrays(folder / f"embedding-{pool}.npz", vector=vectors, widths=widths)
    _copy_models(other, folder, pool, versions)
    classes = {c.id: c.name for c in other.scheme("grain")}
    waves = scan.facts.wavelengths_nm
    return {
        "pool": pool,
        "class_ids": list(classes),
        "classes": list(classes.values()),
        "encoders": encoders,
        "versions": versions,
        "width": int(vectors.shape[1]) if len(seeds) else 0,
        "bands": scan.facts.shape[0] if scan.facts.has_bands else 1,
        "range_nm": [waves[0], waves[-1]] if waves else None,
        "n_seeds": len(seeds),
        "n_labels": n_labels,
        "voxel_um": _edge(scan.facts.voxel_size_um),
        "recipe": _newest_recipe(other, pool),
        "has_model": False,  # until the job has made one
        "weights": _copy_weights(other, folder, pool, encoders),
    }


def _vectors(
    other: Project, pool: str
) -> tuple[list[str], list[str], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Encoders in use, their keys, the seeds and vectors that all of them have, and the columns of each."""
    from napari_seedlab.session import encoders
    from napari_seedlab.session.results import mixed

    state = other.get_state(encoders.PLACE)
    chosen = state.get("chosen", {}).get(pool) if isinstance(state, dict) else None
    if not chosen and other.get_arrays(f"embedding-{pool}") is not None:
        chosen = ("descriptors",)  # of a project from before there were others
    names = list(chosen or encoders.DEFAULT[pool])
    blocks = [encoders.read_block(other, pool, name) for name in names]
    there = [block for block in blocks if block is not None]
    known = mixed(there) if there and len(there) == len(names) else None
    if known is None:
        nothing = np.zeros(0, np.int64)
        return names, [], nothing, np.zeros((0, 0), np.float32), nothing
    widths = np.asarray(known.widths, np.int64)
    return names, list(known.versions), known.seeds, known.vectors, widths


def _write_labels(other: Project, folder: Path, pool: str, seeds: npt.NDArray[np.int64]) -> int:
    """The labels of seeds with vectors, by row; how many."""
    row_of, facts = {int(s): i for i, s in enumerate(seeds)}, other.label_facts()
    said = [
        (row_of[seed], label.class_id, (facts.get(seed, {}).get("suggestion") or {}).get("inclusion_p", 0.0))
        for seed, label in other.labels().items()
        if label.state is LabelState.LABELLED and seed in row_of
    ]
    files.save_arrays(
        folder / f"labels-{pool}.npz",
        row=np.asarray([s[0] for s in said], np.int64),
        class_id=np.asarray([s[1] for s in said], np.int32),
        inclusion_p=np.asarray([s[2] for s in said], np.float64),
    )
    return len(said)


def _copy_models(other: Project, folder: Path, pool: str, versions: list[str]) -> None:
    """The newest network, and the model that the project itself started from, into the job's folder."""
    nets = [c for c in other.models("net") if c.config.get("pool") == pool]
    if nets:
        _copy(other, nets[-1].id, "net.safetensors", folder / f"net-{pool}.safetensors")
    arrays, told = other.get_arrays(f"{PLACE}-{pool}"), other.get_arrays(PLACE)
    if arrays is not None and told is not None:
        brought = json.loads(str(told["facts"]))["pools"].get(pool, {})
        if brought.get("has_model") and brought["versions"] in ([], versions):  # of these very columns
            files.save_arrays(folder / f"start-{pool}.npz", **{k: arrays[k] for k in PRIOR})


def _copy(other: Project, model_id: str, name: str, to: Path) -> None:
    try:
        shutil.copyfile(other.model_path(model_id, name), to)
    except (SeedlabError, OSError):  # a damaged model of another project: the labels are there
        to.unlink(missing_ok=True)


def _copy_weights(other: Project, folder: Path, pool: str, names: Iterable[str]) -> dict[str, Any]:
    """The weights of encoders in use that the project holds, into the job's folder; their cards by name."""
    found: dict[str, Any] = {}
    for name in WEIGHTS.keys() & set(names):
        cards = [c for c in other.models(name) if c.config.get("pool", pool) == pool]
        if cards:
            to = folder / f"{name}-{pool}.safetensors"
            _copy(other, cards[-1].id, WEIGHTS[name], to)
            found |= {name: asdict(cards[-1])} if to.exists() else {}
    return found


def _keep_weights(project: Project, folder: Path, entry: Mapping[str, Any]) -> list[str]:
    """Keep the weights of encoders as models of this project; their names."""
    for name, told in entry["weights"].items():
        parents = tuple(told["parents"])
        card = ModelCard(
            **{**told, "parents": parents, "class_ids": tuple(told["class_ids"]), "active": False}
        )
        card = replace(card, id=f"{name}-{project.next_model_number(name)}")
        project.register_model(card, {WEIGHTS[name]: folder / f"{name}-{entry['pool']}.safetensors"})
    return list(entry["weights"])


def _keep(project: Project, folder: Path, entry: dict[str, Any]) -> bool:
    """Keep what the job made of a pool; whether there is a model."""
    pool, arrays = entry["pool"], {}
    prior, domain, net = (folder / f"{kind}-{pool}.npz" for kind in ("prior", "domain", "net"))
    if prior.exists():
        name_of = dict(zip(entry["class_ids"], entry["classes"], strict=True))
        arrays = files.load_arrays(prior)
        names = [name_of.get(int(c), "") for c in arrays["class_ids"]]
        arrays |= {"names": np.asarray(names)} | (files.load_arrays(domain) if domain.exists() else {})
        entry["width"] = len(arrays["center"])
        project.put_arrays(f"{PLACE}-{pool}", **arrays)
    if net.exists():
        weights = files.load_arrays(net)
        names = [
            dict(zip(entry["class_ids"], entry["classes"], strict=True)).get(int(c), "")
            for c in weights["class_ids"]
        ]
        project.put_arrays(f"{PLACE}-net-{pool}", **weights, names=np.asarray(names))
    entry["has_model"] = bool(arrays)
    return bool(arrays)


def _newest_recipe(other: Project, pool: str) -> dict[str, Any]:
    """How the newest scan of a pool was split; empty where none was."""
    scans = {s.id for s in other.scans() if str(s.facts.modality) == pool}
    splits = [e.payload for e in other.events() if e.kind is EventKind.SPLIT]
    recipes = [p["recipe"] for p in splits if p["scan"] in scans and "sigma_px" in p["recipe"]]
    return dict(recipes[-1]) if recipes else {}


def _unlike(brought: Mapping[str, Any], scan: Scan) -> str:
    """Which channels of a scan are not those of the earlier project, in one clause; empty where all are."""
    facts = scan.facts
    bands = facts.shape[0] if facts.has_bands else 1
    what = "cubes" if brought["pool"] == "hsi" else "scans"
    if bands != brought["bands"]:
        return f"its {what} have {brought['bands']} bands, these have {bands}"
    if facts.wavelengths_nm and brought["range_nm"]:
        low, high = brought["range_nm"]
        ends = facts.wavelengths_nm[0], facts.wavelengths_nm[-1]
        step = abs(high - low) / max(bands - 1, 1)
        if max(abs(ends[0] - low), abs(ends[1] - high)) > max(2 * step, 1.0):
            return f"its bands are {low:.0f} to {high:.0f} nm, these {ends[0]:.0f} to {ends[1]:.0f} nm"
    return ""


def _edge(voxel_size_um: Iterable[float] | None) -> float:
    """Shortest edge of a voxel within a plane in µm; 0 where unknown."""
    edges = tuple(voxel_size_um or ())
    return float(min(edges[-2:])) if edges else 0.0
