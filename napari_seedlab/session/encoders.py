"""Which encoders turn the seeds of a pool into vectors, and the vectors of those that are chosen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import __version__, files
from napari_seedlab.core import InputError, NotReady
from napari_seedlab.imaging.features import VERSION, descriptor_names
from napari_seedlab.session import encoding, steps
from napari_seedlab.session.desk import Step, Task
from napari_seedlab.session.results import Embedding, mixed, region_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_seedlab.core import JobRequest, JobResult, ModelCard
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

PLACE = "encoders"  # what the project remembers under this name
NAMES = ("descriptors", "bundled", "own", "spectral", "vgg16", "hf")
DEFAULT = {  # as measured: bundled beside descriptors gains up to 5 points, but not on cubes
    "ct": ("descriptors", "bundled"),
    "image": ("descriptors", "bundled"),
    "hsi": ("descriptors",),
}


KIND_FILES = {"ct": ("volume",), "image": ("picture", "volume"), "hsi": ("cube",)}  # bundled weights


@dataclass(frozen=True)
class Option:
    """An encoder that a pool may be given to.

    Attributes
    ----------
    name : str
        One of :data:`NAMES`.
    lacks, remedy : str
        Why it cannot be used yet, and what to do; empty where it can.
    about : str
        Where its weights are from, such as the name of a folder.
    """

    name: str
    lacks: str = ""
    remedy: str = ""
    about: str = ""


class Encoders:
    """Which encoders there are, which are in use, and their vectors; remembered in the project.

    What the session holds as ``embeddings[pool]`` are the vectors of the chosen ones side by side. The
    project keeps those of every encoder that was ever used, as the arrays ``vectors-{pool}-{encoder}``.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    tables : dict of str to dict
        By pool, what the last comparison said (see :func:`napari_seedlab.learn.compare.run`).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._chosen: dict[str, tuple[str, ...]] = {}
        self._written: dict[tuple[str, str], Embedding] = {}  # what the project holds, as it was written
        self._made_by: dict[str, str] = {}  # by pool, what made the vectors in use (see `_makers`)
        self._backbone: dict[str, str] = {}  # where `hf` lies: `path` or `model`, and its `name`
        self.tables: dict[str, dict[str, Any]] = {}

    # -- what there is ------------------------------------------------------------------------
    def chosen(self, pool: str) -> tuple[str, ...]:
        """The encoders in use, in the order of their columns."""
        if pool in self._chosen:
            return self._chosen[pool]
        lacking = {option.name for option in self.options(pool) if option.lacks}
        return tuple(name for name in DEFAULT[pool] if name not in lacking)

    def options(self, pool: str) -> tuple[Option, ...]:
        """Every encoder that suits a pool, usable or not."""
        found = [Option("descriptors"), self._bundled(pool), self._own(pool)]
        if pool == "hsi":
            found.append(Option("spectral"))
        return (*found, self._vgg16(), self._hf())

    def _bundled(self, pool: str) -> Option:
        place = Path(str(resources.files("napari_seedlab"))) / "weights"
        if all((place / f"{kind}.safetensors").is_file() for kind in KIND_FILES[pool]):
            return Option("bundled")
        return Option("bundled", "has no weights in this installation", "Install napari-seedlab again")

    def _own(self, pool: str) -> Option:
        card = self._newest("own", pool)
        lacks = "" if card is not None else "was not trained yet"
        remedy = "Press Teach here… or run seedlab embed --encoder own"
        return Option("own", lacks, remedy if lacks else "", "" if card is None else card.id)

    def _vgg16(self) -> Option:
        card = self._newest("vgg16")
        if card is None:
            return Option("vgg16", "has no weights yet", "Open a .pth or .safetensors file")
        return Option("vgg16", about=str(card.config.get("file", card.id)))

    def _hf(self) -> Option:
        if find_spec("transformers") is None:
            return Option("hf", "needs the package transformers", "Install napari-seedlab[backbones]")
        if not self._backbone:
            return Option("hf", "has no folder yet", "Open the folder of a network (vision backbone)")
        return Option("hf", about=self._backbone["name"])

    def _newest(self, kind: str, pool: str = "") -> ModelCard | None:
        cards = [c for c in self._session.models if c.kind == kind and pool in ("", c.config.get("pool"))]
        return cards[-1] if cards else None

    def vectors(self, pool: str, name: str) -> Embedding | None:
        """Vectors by one encoder, None where there are none yet; reads them where they are not in use.

        Never called on the desk's thread.
        """
        known = self._session.embeddings.get(pool)
        block = None if known is None else known.block(name)
        return block or self._session.desk.do(lambda project: read_block(project, pool, name)).result()

    # -- what is done -------------------------------------------------------------------------
    def embed(self, pool: str, lane: str = "live") -> Task:
        """Compute what the encoders in use lack: vectors of new and edited seeds.

        Where an encoder is of another version than the vectors, those of all seeds are computed; then it
        goes on as :meth:`choose`. Where others were chosen by then, it goes on with these.
        """
        before, names, task = self._versions(pool), self.chosen(pool), Task("embed")
        step = replace(embed_step(self._session, pool, names), lane=lane)

        def go_on(future: Future[dict[str, Any]]) -> None:
            if future.exception() is not None or self.chosen(pool) == names:
                task.follow(future)
            else:
                self.embed(pool).future.add_done_callback(task.follow)

        first = self._start(step, pool, lambda: before not in ((), self._versions(pool)))
        first.future.add_done_callback(go_on)
        return task

    def _versions(self, pool: str) -> tuple[str, ...]:
        known = self._session.embeddings.get(pool)
        return () if known is None else known.versions

    def renew(self) -> list[Task]:
        """Compute anew, in the background, vectors of another version of the package; the answers stay."""
        late = {pool for pool, _ in self._written if self._made_by.get(pool) != _makers(pool)}
        if self._session.read_only or not late:
            return []
        self._session.message.emit("info", "Seeds that an earlier version described are described anew.")
        return [self.embed(pool, "background") for pool in sorted(late)]

    def choose(self, pool: str, names: Iterable[str]) -> Task:
        """Use other encoders from now on: compute what is missing, then swap, refit and draw the map anew.

        The answers are untouched. Where something fails, the encoders in use stay. It ends with the map.

        Raises
        ------
        InputError
            A name that is unknown, or none at all.
        NotReady
            An encoder that cannot be used yet.
        """
        wanted = self.usable(pool, names)
        return self._start(embed_step(self._session, pool, wanted, is_choice=True), pool, lambda: True)

    def _start(self, step: Step, pool: str, is_other: Callable[[], bool]) -> Task:
        """Start a job that computes vectors; the task ends with what follows where these are others."""
        task = Task("embed")

        def redraw(future: Future[dict[str, Any]]) -> None:
            if future.exception() is not None or not is_other():
                task.follow(future)
            else:
                _when_over(self._redraw(pool), lambda: task.future.set_result(future.result()))

        self._session.desk.start(step).future.add_done_callback(redraw)
        return task

    def named(self, pool: str, names: Iterable[str]) -> tuple[str, ...]:
        """The names, each once; InputError where none is given, or one that no encoder of the pool has."""
        wanted, known = tuple(dict.fromkeys(names)), [option.name for option in self.options(pool)]
        if not wanted:
            raise InputError("encoders", "none was named", f"Use {' or '.join(known)}")
        for name in wanted:
            if name not in known:
                cause, remedy = f"is none for {pool} seeds", f"Use one of {', '.join(known)}"
                raise InputError(f"encoder {name!r}", cause, remedy)
        return wanted

    def usable(self, pool: str, names: Iterable[str]) -> tuple[str, ...]:
        """The names, each once; raises as :meth:`choose`."""
        wanted, options = self.named(pool, names), {o.name: o for o in self.options(pool)}
        for name in wanted:
            if options[name].lacks:
                raise NotReady(f"encoder {name}", options[name].lacks, options[name].remedy)
        return wanted

    def own(self, pool: str, settings: Mapping[str, Any] | None = None) -> Task:
        """Teach the bundled encoder by the seeds of a pool, in the background; taken up where it stopped.

        Raises
        ------
        NotReady
            It is being taught already.
        """
        again = "own" in self.chosen(pool)
        task = self._session.trainings.teach(pool, dict(settings or {}))
        return task.then(lambda _: self.choose(pool, self.chosen(pool))) if again else task

    def use_folder(self, path: Path | str) -> Task:
        """Take the vision backbone in a folder as ``hf``, once it was found good; its weights stay there."""
        return self._session.desk.start(encoding.folder_step(self._session, Path(path).absolute()))

    def fetch(self, model: str) -> Task:
        """Fetch a backbone such as "org/name" from the hub as ``hf``: the one call that uses a network."""
        return self._session.desk.start(encoding.fetch_step(self._session, model))

    def use_file(self, path: Path | str, config: Mapping[str, Any] | None = None) -> Task:
        """Take the weights of a VGG16 into the project; `config` for one of other sizes."""
        return self._session.desk.start(encoding.weights_step(self._session, Path(path).absolute(), config))

    def compare(self, pool: str, names: Iterable[str] | None = None) -> Task:
        """Compare encoders on the labels so far; computes vectors that are missing first.

        Without names those that can be used. What is found stands in :attr:`tables`.

        Raises
        ------
        NotReady
            An encoder cannot be used yet, or the labels are of one class.
        """
        self.refuse_one_class(pool)
        ready = [option.name for option in self.options(pool) if not option.lacks]
        wanted = self.usable(pool, ready if names is None else names)
        desk, task = self._session.desk, Task("compare")

        def begin(future: Future[dict[str, Any]]) -> None:
            if future.exception() is not None:
                task.follow(future)
            else:
                second = desk.start(encoding.compare_step(self._session, pool, wanted))
                second.future.add_done_callback(task.follow)

        desk.start(embed_step(self._session, pool, wanted, use=False)).future.add_done_callback(begin)
        return task

    def refuse_one_class(self, pool: str) -> None:
        """Raise NotReady where the labels are of fewer than two classes: nothing can be compared."""
        if len(set(self._session.classes_labelled(pool))) < 2:
            raise NotReady("comparing encoders", "needs labels of two classes", "Label some seeds first")

    def _redraw(self, pool: str) -> list[Task]:
        """What follows from other vectors: the live model and the map."""
        session = self._session
        refit = session.refit(pool) if session.labels else None
        layout = session.layouts.get(pool)
        again = None if layout is None else session.make_map(layout.method, pool=pool)
        return [task for task in (refit, again) if task is not None]

    # -- on the desk's thread -----------------------------------------------------------------
    def load(self, project: Project, pool: str) -> None:
        """Read the choice and the vectors of the encoders in use, where all of them have some."""
        state = project.get_state(PLACE)
        chosen = state.get("chosen", {}).get(pool, ()) if isinstance(state, dict) else ()
        names = tuple(name for name in chosen if name in NAMES)
        made_by = state.get("made_by") if isinstance(state, dict) else None
        self._made_by = dict(made_by) if isinstance(made_by, dict) else {}
        if not names and project.get_arrays(f"embedding-{pool}") is not None:
            names = ("descriptors",)  # of a project from before there were others
        if names:
            self._chosen = {**self._chosen, pool: names}
        self._backbone = _texts(project.get_state(encoding.FOLDER_PLACE))
        tables = project.get_state(encoding.TABLE_PLACE)
        if isinstance(tables, dict) and isinstance(tables.get(pool), dict):
            self.tables = {**self.tables, pool: tables[pool]}
        blocks = [read_block(project, pool, name) for name in self.chosen(pool)]
        found = [block for block in blocks if block is not None]
        if found and len(found) == len(blocks):
            self._written.update({(pool, block.encoders[0]): block for block in found})
            self._show(pool, found)

    def specs(self, project: Project, pool: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """How a job makes these encoders."""
        paths = {"own": self._newest("own", pool), "vgg16": self._newest("vgg16")}
        found: list[dict[str, Any]] = []
        for name in names:
            spec: dict[str, Any] = {"name": name}
            if (card := paths.get(name)) is not None:
                file = "encoder.safetensors" if name == "own" else "vgg16.safetensors"
                spec["path"] = str(project.model_path(card.id, file))
                spec["config"] = card.config.get("sizes")
            elif name == "hf" and "model" in self._backbone:
                spec["path"] = str(project.model_path(self._backbone["model"], "config.json").parent)
            elif name == "hf" and self._backbone:
                spec["path"] = self._backbone["path"]
            found.append(spec)
        return found

    def known(self, project: Project, pool: str, name: str) -> Embedding | None:
        """What is known by one encoder, in memory or in the project; for the desk's thread."""
        here = self._session.embeddings.get(pool)
        if here is not None and not here.encoders:
            here = as_descriptors(here, pool)
        return (here.block(name) if here is not None else None) or read_block(project, pool, name)

    def take(
        self, project: Project, pool: str, blocks: Sequence[Embedding], use: bool, is_choice: bool = False
    ) -> None:
        """Keep vectors, one embedding for each encoder.

        With `is_choice` they are those in use from now on; with `use` where they are of those in use.
        """
        for block in blocks:
            written = self._written.get((pool, block.encoders[0]))
            if written is None or not _same(written, block):
                write_block(project, pool, block)
                self._written[pool, block.encoders[0]] = block
        names = tuple(block.encoders[0] for block in blocks)
        if is_choice or (use and names == self.chosen(pool)):
            self._chosen = {**self._chosen, pool: names}
            self._made_by = {**self._made_by, pool: _makers(pool)}
            self._remember(project)
            self._show(pool, blocks)
        self._session.encoders_changed.emit(pool)

    def keep_backbone(self, project: Project, backbone: dict[str, str]) -> None:
        """Remember where ``hf`` lies: its `path` or the `model` of the project, and its `name`."""
        self._backbone = backbone
        project.set_state(encoding.FOLDER_PLACE, backbone)
        for pool in {str(scan.facts.modality) for scan in self._session.scans.values()}:
            self._session.encoders_changed.emit(pool)

    def keep_table(self, project: Project, pool: str, table: dict[str, Any]) -> None:
        """Keep what a comparison said."""
        self.tables = {**self.tables, pool: table}
        project.set_state(encoding.TABLE_PLACE, self.tables)
        self._session.encoders_changed.emit(pool)

    def _show(self, pool: str, blocks: Sequence[Embedding]) -> None:
        together = mixed(blocks)
        if together is not None:
            self._session.embeddings = {**self._session.embeddings, pool: together}
            self._session.embedding_changed.emit(pool)

    def _remember(self, project: Project) -> None:
        chosen = {pool: list(names) for pool, names in self._chosen.items()}
        project.set_state(PLACE, {"chosen": chosen, "made_by": self._made_by})


@cache
def _makers(pool: str) -> str:
    """Names the encoders of this version of the package, without loading a network."""
    place = resources.files("napari_seedlab") / "weights"
    files_of = [place / f"{kind}.safetensors" for kind in KIND_FILES[pool]]
    weights = b"".join(file.read_bytes() for file in files_of if file.is_file())
    return f"{__version__} {VERSION} {hashlib.sha256(weights).hexdigest()[:16]}"


def _when_over(tasks: Sequence[Task], then: Callable[[], object]) -> None:
    """Call `then` when all tasks have ended, well or not."""
    if tasks:
        tasks[0].future.add_done_callback(lambda _: _when_over(tasks[1:], then))
    else:
        then()


def _texts(said: Any) -> dict[str, str]:
    """What was remembered of the backbone; empty where that is something else."""
    is_whole = isinstance(said, dict) and "name" in said and bool({"path", "model"} & said.keys())
    return {str(k): str(v) for k, v in said.items()} if is_whole else {}


def as_descriptors(known: Embedding, pool: str) -> Embedding | None:
    """Vectors of which nothing else is known, as the descriptors'; None where their entries differ."""
    width = len(descriptor_names(pool))
    if known.vectors.shape[1:] != (width,):
        return None
    return replace(
        known, encoders=("descriptors",), widths=(width,), versions=(f"descriptors {VERSION} {pool}",)
    )


def read_block(project: Project, pool: str, name: str) -> Embedding | None:
    """Vectors of one encoder that a project keeps; also those from before there were several."""
    a = project.get_arrays(f"vectors-{pool}-{name}")
    if a is not None:
        width = int(a["vector"].shape[1])
        return Embedding(
            a["seed"], a["vector"], a["key"], a["content"], (name,), (width,), (str(a["version"]),)
        )
    old = project.get_arrays(f"embedding-{pool}") if name == "descriptors" else None
    return None if old is None else as_descriptors(Embedding(old["seed"], old["vector"], old["key"]), pool)


def write_block(project: Project, pool: str, block: Embedding) -> None:
    """Let a project keep the vectors of one encoder."""
    project.put_arrays(
        f"vectors-{pool}-{block.encoders[0]}",
        seed=block.seeds,
        vector=block.vectors,
        key=block.key,
        content=_content(block),
        version=np.asarray(block.versions[0]),
    )


def embed_step(
    session: Session, pool: str, names: Sequence[str], use: bool = True, is_choice: bool = False
) -> Step:
    """Vectors of new and edited seeds by some encoders; see :meth:`Encoders.take`."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        scans = steps.scan_params(session, project, folder, pool)
        keys = _keys(project, scans)
        files.save_arrays(folder / "keys.npz", seed=_int64(keys), key=_int64(keys.values()))
        specs = session.encoders.specs(project, pool, names)
        for spec in specs:
            known = session.encoders.known(project, pool, spec["name"])
            if known is not None and known.versions:
                spec["version"] = known.versions[0]
                columns = {"seed": known.seeds, "key": known.key, "content": _content(known)}
                files.save_arrays(folder / f"known-{spec['name']}.npz", **columns)
        about = [use, is_choice, list(keys.items()), [(spec["name"], spec.get("path")) for spec in specs]]
        reads = hashlib.sha256(repr(about).encode()).hexdigest()
        return {"scans": scans, "encoders": specs, "reads": f"{pool} {reads}"}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        told, there = result.values["encoders"], session.seeds_of(pool)
        blocks = []
        for spec in request.params["encoders"]:
            known = session.encoders.known(project, pool, spec["name"])
            if told[spec["name"]]["is_fresh"]:
                known = None
            is_newest = session.desk.is_newest(f"vectors {pool} {spec['name']}", request)
            later = None if is_newest else read_block(project, pool, spec["name"])  # by a faster lane
            version = str(told[spec["name"]]["version"])
            blocks.append(later or _merged(known, folder, spec["name"], version, there))
        session.encoders.take(project, pool, blocks, use, is_choice)
        _tell_gaps(session, result.values)
        return {
            "n_seeds": len(blocks[0].seeds),
            "n_new": max(int(facts["n_new"]) for facts in told.values()),
            "length": sum(int(block.vectors.shape[1]) for block in blocks),
            "encoders": [block.encoders[0] for block in blocks],
        }

    return Step("embed", "napari_seedlab.learn.embedding:run", prepare, adopt, about=pool, shared=True)


def _keys(project: Project, scans: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The key of the region of each seed, in the first scan that shows it."""
    keys: dict[int, int] = {}
    for entry in scans:
        table = project.regions(entry["scan"])
        found = region_keys(table.scan, table.box, table.centroid, table.n_voxels)
        keys = dict(zip(table.seed.tolist(), found.tolist(), strict=True)) | keys
    return keys


def _tell_gaps(session: Session, values: Mapping[str, Any]) -> None:
    n, n_seeds = int(values["n_bad_voxels"]), int(values["n_bad_seeds"])
    if n:
        voxels = f"{n} voxel{'s' * (n > 1)} of {n_seeds} seed{'s' * (n_seeds > 1)}"
        verb = "has" if n == 1 else "have"
        session.message.emit("warning", f"{voxels} {verb} no value; the median of the seed stands for it.")


def _merged(
    known: Embedding | None, folder: Path, name: str, version: str, seeds: Sequence[int]
) -> Embedding:
    """Known vectors with those of a job in their place, for `seeds`.

    A vector that the job did not compute again is found by the hash of its voxels: the rows it names are of
    the table of its beginning, and another job may have ended since. One that is gone the next job computes.
    """
    new = files.load_arrays(folder / f"vectors-{name}.npz")
    vectors, is_there = np.asarray(new["vector"], np.float32), new["same"] < 0
    parts = []
    if known is not None:
        width = int(known.vectors.shape[1])
        vectors = vectors if vectors.shape[1] else np.zeros((len(is_there), width), np.float32)
        row_of = {content: row for row, content in enumerate(_content(known).tolist())}
        at = np.asarray([row_of.get(content, -1) for content in new["content"].tolist()], np.int64)
        found = ~is_there & (at >= 0)
        vectors[found] = known.vectors[at[found]]
        is_there |= found
        old = ~np.isin(known.seeds, new["seed"][is_there])
        parts = [(known.seeds[old], known.vectors[old], known.key[old], _content(known)[old])]
    ids, keys, content = (np.asarray(new[name])[is_there] for name in ("seed", "key", "content"))
    parts.append((ids, vectors[is_there], keys, content))
    ids, rows, keys, content = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")
    order = order[np.isin(ids[order], _int64(seeds))]
    width = int(rows.shape[1])
    return Embedding(ids[order], rows[order], keys[order], content[order], (name,), (width,), (version,))


def _content(known: Embedding) -> npt.NDArray[np.int64]:
    return np.zeros(len(known.seeds), np.int64) if known.content is None else known.content


def _same(a: Embedding, b: Embedding) -> bool:
    """Whether two embeddings of an encoder are about the same regions."""
    return a.versions == b.versions and np.array_equal(a.seeds, b.seeds) and np.array_equal(a.key, b.key)


def _int64(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.fromiter(values, np.int64)
