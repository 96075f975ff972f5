import numpy as np
import pytest

from napari_seedlab.core import InputError, JobRequest, RegionTable
from napari_seedlab.files import ArraySource, load_arrays, save_arrays, write_json
from napari_seedlab.imaging.features import GreyLevels, describe_seed, describe_spectrum, descriptor_names
from napari_seedlab.learn import embedding
from napari_seedlab.learn.embedding import ScanView, read_seeds, run, scan_levels

SHAPE = (70, 40, 44)


def scan(n_bands=0):
    """Nine balls in a volume, or in one plane under a cube of `n_bands`."""
    shape = (1, *SHAPE[1:]) if n_bands else SHAPE
    regions = np.zeros(shape, np.int32)
    places = np.moveaxis(np.indices(shape), 0, -1)
    boxes, rng = [], np.random.default_rng(0)
    for k in range(9):
        z = 0 if n_bands else 9 + 25 * (k // 4)
        centre = (z, 10 + 20 * (k // 2 % 2), 8 + 13 * (k % 3))
        ball = np.square(places - centre).sum(-1) <= 30
        regions[ball & (regions == 0)] = k + 11
    ids = np.unique(regions)[1:]
    for k in ids:
        at = np.argwhere(regions == k)
        boxes.append([*at.min(0), *(at.max(0) + 1)])
    image = np.where(regions > 0, 120, 20)
    if n_bands:
        image = np.repeat(image, n_bands, axis=0) + np.arange(n_bands)[:, None, None]
    image = (image + rng.normal(0, 3, image.shape)).astype(np.uint16)
    n = len(ids)
    table = RegionTable(
        3,
        ids.astype(np.int32),
        np.arange(n, dtype=np.int64) + 900,
        np.asarray(boxes, np.int32),
        np.zeros((n, 3)),
        np.ones(n, np.int64),
    )
    return image, regions, table


def source(path, array):
    array.tofile(path)
    axes = ("z", "y", "x")
    return ArraySource(str(path), "raw", array.shape, axes, array.dtype.newbyteorder("<").str).to_json()


def write_job(folder, modality="ct", n_bands=0, table="regions.npz", **params):
    image, regions, rows = scan(n_bands)
    item = {
        "scan": 3,
        "modality": modality,
        "image": source(folder / "image.raw", image),
        "regions": source(folder / "regions.raw", regions),
        "voxel_size_um": [50.0, 50.0, 50.0],
        "table": table,
    }
    save_arrays(folder / table, **rows.columns())
    params = {"scans": [item], "encoders": [{"name": "descriptors"}], **params}
    write_json(folder / "request.json", JobRequest("e", "embedding:run", params).to_json())
    return image, regions, rows, item


def drain(job):
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as end:
            return steps, end.value


def test_each_row_is_the_descriptor_of_its_region(tmp_path):
    image, regions, table, _ = write_job(tmp_path)
    steps, result = drain(run(tmp_path))
    found = load_arrays(tmp_path / "vectors-descriptors.npz")
    assert found["seed"].tolist() == table.seed.tolist()
    assert found["vector"].shape[1] == len(descriptor_names("ct"))
    levels = GreyLevels(*result.values["levels"]["3"])
    z0, y0, x0, z1, y1, x1 = table.box[4]
    box = (slice(z0, z1), slice(y0, y1), slice(x0, x1))
    own = describe_seed(image[box], regions[box] == table.region[4], levels, (50.0,) * 3)
    np.testing.assert_array_equal(found["vector"][4], own)
    assert steps[-1].total == len(table)


def test_spectra_have_their_own_entries(tmp_path):
    image, regions, table, _ = write_job(tmp_path, "hsi", n_bands=40)
    _, result = drain(run(tmp_path))
    found = load_arrays(tmp_path / "vectors-descriptors.npz")
    levels = GreyLevels(*result.values["levels"]["3"])
    _, y0, x0, _, y1, x1 = table.box[2]
    mask = regions[:, y0:y1, x0:x1] == table.region[2]
    own = describe_spectrum(image[:, y0:y1, x0:x1], mask, levels, (50.0,) * 3)
    np.testing.assert_array_equal(found["vector"][2], own)


def test_slabs_and_single_boxes_read_the_same(monkeypatch):
    image, regions, table = scan()
    view = ScanView("ct", image, regions, table, (1.0, 1.0, 1.0))
    levels = scan_levels(view)
    whole = {item.seed: item for item in read_seeds(view, levels)}
    monkeypatch.setattr(embedding, "SLAB_BYTES", 0)
    single = {item.seed: item for item in read_seeds(view, levels)}
    assert whole.keys() == single.keys() == set(table.seed.tolist())
    for seed, item in whole.items():
        assert item.content == single[seed].content
        np.testing.assert_array_equal(item.image.image, single[seed].image.image)


def test_a_few_new_seeds_are_measured_by_the_levels_of_all():
    image, regions, table = scan()
    few = RegionTable.from_columns({k: v if k == "scan" else v[:2] for k, v in table.columns().items()})
    views = [ScanView("ct", image, regions, t, (1.0,) * 3) for t in (table, few)]
    assert scan_levels(views[0]) == scan_levels(views[1])


class Counting:
    """An array that counts the voxels read from it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.n_read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.n_read += part.size
        return part


def test_a_scan_is_read_about_once():
    image, regions, table = scan()
    counted = Counting(image)
    list(read_seeds(ScanView("ct", counted, regions, table, (1.0,) * 3), GreyLevels(20, 120)))
    assert counted.n_read <= 1.6 * image.size


def test_levels_are_those_of_air_and_seed():
    image, regions, table = scan()
    levels = scan_levels(ScanView("ct", image, regions, table, (1.0,) * 3))
    assert levels.air == pytest.approx(18, abs=3) and levels.solid == pytest.approx(120, abs=3)


def rerun(folder, item, first, version):
    """Embed once more, with what the first run found as known."""
    encoders = [{"name": "descriptors", "version": version}]
    params = {"scans": [item], "levels": first.values["levels"], "encoders": encoders}
    write_json(folder / "request.json", JobRequest("e", "f", params).to_json())
    return drain(run(folder))[1].values["encoders"]["descriptors"]


@pytest.fixture
def encoded(monkeypatch):
    """The seeds that were given to the descriptors, in one list."""
    given, real = [], embedding.describe_seed
    monkeypatch.setattr(embedding, "describe_seed", lambda *a: given.append(1) or real(*a))
    return given


def test_only_changed_voxels_are_encoded_again(tmp_path, encoded):
    *_, item = write_job(tmp_path)
    _, first = drain(run(tmp_path))
    version = first.values["encoders"]["descriptors"]["version"]
    before = load_arrays(tmp_path / "vectors-descriptors.npz")
    save_arrays(tmp_path / "known-descriptors.npz", **before)
    image, _, table = scan()
    z0, y0, x0 = table.box[5][:3]
    image[z0, y0 : y0 + 6, x0 : x0 + 6] += 9  # one seed changed
    image.tofile(tmp_path / "image.raw")
    save_arrays(tmp_path / "keys.npz", seed=table.seed, key=np.arange(len(table)) + 1)  # all are read
    encoded.clear()
    facts = rerun(tmp_path, item, first, version)
    after = load_arrays(tmp_path / "vectors-descriptors.npz")
    assert after["same"][5] == -1 and (after["same"] >= 0).sum() > len(table) - 4
    assert len(encoded) == facts["n_new"] == len(table) - facts["n_same"] < 4


def test_known_regions_are_not_even_read(tmp_path, encoded, monkeypatch):
    *_, item = write_job(tmp_path)
    _, first = drain(run(tmp_path))
    save_arrays(tmp_path / "known-descriptors.npz", **load_arrays(tmp_path / "vectors-descriptors.npz"))
    encoded.clear()
    monkeypatch.setattr(embedding, "seed_boxes", None)  # nothing is to be read
    facts = rerun(tmp_path, item, first, first.values["encoders"]["descriptors"]["version"])
    assert not encoded and facts["n_new"] == 0 and not facts["is_fresh"]
    monkeypatch.undo()
    assert rerun(tmp_path, item, first, "descriptors 0 ct")["n_new"] == 9  # of another encoder


def test_voxels_without_a_value_count_as_the_median(tmp_path):
    image, regions, table = scan()
    gaps = image.astype(np.float32)
    box = table.box[5]
    gaps[box[0] + 2, box[1] + 3 : box[1] + 6, box[2] + 4] = np.nan
    gaps[regions == table.region[2]] = np.inf
    items = {
        i.seed: i for i in read_seeds(ScanView("ct", gaps, regions, table, (1.0,) * 3), GreyLevels(20, 120))
    }
    vectors = embedding.Descriptors("ct").encode([i.image for i in items.values()])
    assert np.isfinite(vectors).all()
    some, whole = items[int(table.seed[5])], items[int(table.seed[2])]
    assert some.n_bad == 3 and whole.n_bad == whole.image.mask.sum()
    filled = some.image.image[2, 3:6, 4]
    assert np.unique(filled).size == 1 and abs(filled[0] - 120) < 3


def test_a_seed_in_two_scans_has_one_row(tmp_path):
    *_, table, item = write_job(tmp_path)
    params = {"scans": [item, {**item, "scan": 4}]}
    write_json(tmp_path / "request.json", JobRequest("e", "f", params).to_json())
    drain(run(tmp_path))
    assert load_arrays(tmp_path / "vectors-descriptors.npz")["seed"].tolist() == table.seed.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"scans": []}, "no scans"), ({"mixed": True}, "ct and hsi"), ({"encoders": [{"name": "vgg"}]}, "vgg")],
)
def test_what_cannot_be_embedded_is_refused(tmp_path, change, message):
    *_, item = write_job(tmp_path)
    params = {"scans": [item], **change}
    if "mixed" in change:
        params["scans"] = [item, {**item, "modality": "hsi"}]
    write_json(tmp_path / "request.json", JobRequest("e", "f", params).to_json())
    with pytest.raises(InputError, match=message):
        drain(run(tmp_path))
