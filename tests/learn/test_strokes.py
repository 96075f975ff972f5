import numpy as np
import pytest
from job_folders import finish, raw_source

from napari_seedlab import files
from napari_seedlab.core import InputError, JobRequest, NotReady
from napari_seedlab.learn import strokes


@pytest.fixture
def tissue_slice():
    """A noisy slice: background, a disc of tissue 1 with a darker core of tissue 2."""
    rng = np.random.default_rng(0)
    y, x = np.indices((96, 96))
    radius = np.hypot(y - 48, x - 48)
    truth = np.select([radius < 15, radius < 35], [2, 1], 0)
    image = np.choose(truth, [20, 120, 80]) + rng.normal(0, 12, truth.shape)
    return image.astype(np.float32), truth


def painted(truth, n=40, random_state=0):
    rng = np.random.default_rng(random_state)
    places = np.concatenate([rng.choice(np.flatnonzero(truth == c), n) for c in np.unique(truth)])
    return np.stack(np.unravel_index(places, truth.shape), 1).astype(np.int32), truth.ravel()[places]


def stroke_job(folder, image, points, classes, axis=0, index=1):
    folder.mkdir(exist_ok=True)
    volume = np.stack([np.zeros_like(image), image, np.zeros_like(image)], axis)
    params = {"image": raw_source(folder / "image.raw", volume), "axis": axis, "index": index}
    files.write_json(folder / "request.json", JobRequest("s", "strokes", params).to_json())
    files.save_arrays(folder / "strokes.npz", **{"points": points, "class": np.asarray(classes, np.int8)})
    return folder


def test_the_gradient_is_exactly_zero_where_nothing_was_painted_and_right_elsewhere():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(12, 3)), np.array([0, 1, -1, 2, -1, 0, 0, -1, 1, 2, 0, -1])
    _, gradient = strokes.class_loss(logits, targets)
    assert (gradient[targets == -1] == 0).all()
    for i, j in ((0, 0), (3, 1), (8, 2)):
        step = np.zeros_like(logits)
        step[i, j] = 1e-6
        slope = strokes.class_loss(logits + step, targets)[0] - strokes.class_loss(logits - step, targets)[0]
        assert gradient[i, j] == pytest.approx(slope / 2e-6, rel=1e-4)


def test_classes_count_alike_however_much_was_painted():
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    few, _ = strokes.class_loss(logits, np.array([0, 1]))
    many, _ = strokes.class_loss(logits[[0] * 50 + [1]], np.array([0] * 50 + [1]))
    assert few == pytest.approx(many)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forty_painted_voxels_per_class_classify_the_slice(tmp_path, tissue_slice, axis):
    image, truth = tissue_slice
    points, classes = painted(truth)
    folder = stroke_job(tmp_path / "job", image, points, classes, axis)
    _, result = finish(strokes.run(folder))
    arrays = files.load_arrays(folder / result.files[0])
    assert arrays["classes"].dtype == arrays["p"].dtype == np.uint8
    assert (arrays["classes"] == truth).mean() > 0.93
    right = arrays["classes"] == truth
    assert arrays["p"][right].mean() > arrays["p"][~right].mean()
    assert result.values["classes"] == [0, 1, 2]


def test_unknown_voxels_are_never_background(tmp_path, tissue_slice):
    image, truth = tissue_slice
    points, classes = painted(truth)
    unknown = np.argwhere(truth == 1)[::5].astype(np.int32)
    plain, _ = stroke_and_read(tmp_path / "a", image, points, classes)
    with_unknown, _ = stroke_and_read(
        tmp_path / "b", image, np.vstack([points, unknown]), np.r_[classes, np.full(len(unknown), -1)]
    )
    assert (with_unknown == truth).mean() > 0.9
    assert (plain == truth).mean() > 0.9


def stroke_and_read(folder, image, points, classes):
    strokes._heads.clear()
    _, result = finish(strokes.run(stroke_job(folder, image, points, classes)))
    arrays = files.load_arrays(folder / "slice.npz")
    return arrays["classes"], result


def test_the_same_strokes_give_the_same_numbers(tmp_path, tissue_slice):
    image, truth = tissue_slice
    first, _ = stroke_and_read(tmp_path / "a", image, *painted(truth))
    second, _ = stroke_and_read(tmp_path / "b", image, *painted(truth))
    np.testing.assert_array_equal(first, second)


def test_features_are_computed_once_per_slice(tmp_path, tissue_slice, monkeypatch):
    image, truth = tissue_slice
    calls, original = [], strokes.slice_features
    monkeypatch.setattr(strokes, "slice_features", lambda cut: calls.append(1) or original(cut))
    folder = stroke_job(tmp_path / "job", image, *painted(truth))
    finish(strokes.run(folder))
    files.save_arrays(
        folder / "strokes.npz", **dict(zip(("points", "class"), painted(truth, 60, 1), strict=True))
    )
    finish(strokes.run(folder))
    assert len(calls) == 1


def test_a_later_stroke_wins(tmp_path, tissue_slice):
    image, truth = tissue_slice
    points, classes = painted(truth)
    wrong = np.where(classes == 1, 2, classes)
    predicted, _ = stroke_and_read(
        tmp_path / "job", image, np.vstack([points, points]), np.concatenate([wrong, classes])
    )
    assert (predicted == truth).mean() > 0.9


@pytest.mark.parametrize(
    "points, classes, error",
    [
        (np.array([[5, 5], [6, 6]]), [1, 1], NotReady),
        (np.zeros((0, 2), np.int32), [], NotReady),
        (np.array([[5, 5], [6, 6]]), [1, -1], NotReady),
        (np.array([[5, 5], [6, 96]]), [1, 0], InputError),
    ],
    ids=["one class", "nothing", "unknown", "outside"],
)
def test_what_cannot_be_learnt_from_is_said_in_one_line(tmp_path, tissue_slice, points, classes, error):
    with pytest.raises(error) as caught:
        finish(strokes.run(stroke_job(tmp_path / "job", tissue_slice[0], points, classes)))
    assert "\n" not in str(caught.value)


def test_thinning_keeps_every_class():
    classes = np.array([0] * 9000 + [1] * 5 + [-1] * 100)
    kept = classes[strokes.thinned(classes)]
    assert (kept == 1).sum() == 5
    assert (kept == 0).sum() == strokes.MAX_POINTS // 2
    assert (kept >= 0).all()


# -- hyperspectral cubes -----------------------------------------------------------------------------
@pytest.fixture
def tissue_cube(tissue_slice):
    """Twelve bands in which two tissues differ by their spectra only; the first band is noise."""
    rng = np.random.default_rng(1)
    _, truth = tissue_slice
    spectra = rng.normal(0, 30, (3, 12))
    spectra -= spectra.mean(1, keepdims=True)  # the mean over the bands tells nothing
    spectra[:, 0] = 0
    cube = 200 + spectra[truth].transpose(2, 0, 1) + rng.normal(0, 15, (12, *truth.shape))
    return cube.astype(np.float32), truth


def cube_job(folder, cube, points, classes, axis=0, index=0):
    folder.mkdir(exist_ok=True)
    source = raw_source(folder / "cube.raw", cube) | {"axes": ["band", "y", "x"]}
    params = {"image": source, "axis": axis, "index": index}
    files.write_json(folder / "request.json", JobRequest("s", "strokes", params).to_json())
    files.save_arrays(folder / "strokes.npz", **{"points": points, "class": np.asarray(classes, np.int8)})
    return folder


def test_strokes_on_a_cube_see_its_spectra(tmp_path, tissue_cube):
    cube, truth = tissue_cube
    folder = cube_job(tmp_path / "job", cube, *painted(truth))
    finish(strokes.run(folder))
    found = files.load_arrays(folder / "slice.npz")["classes"]
    assert found.shape == truth.shape and (found == truth).mean() > 0.93


def test_the_slices_of_a_cube_are_those_of_one_plane(tmp_path, tissue_cube):
    cube, truth = tissue_cube
    points = np.asarray([[0, 5], [0, 48]], np.int32)
    folder = cube_job(tmp_path / "job", cube, points, truth[48, [5, 48]], axis=1, index=48)
    finish(strokes.run(folder))
    assert files.load_arrays(folder / "slice.npz")["classes"].shape == (1, 96)
    with pytest.raises(InputError, match="0–0"):
        finish(strokes.run(cube_job(tmp_path / "b", cube, points, [0, 1], axis=0, index=1)))


def test_components_are_those_of_the_singular_values(tissue_cube):
    cube, _ = tissue_cube
    mean, *components = strokes.band_images(cube)[:, 0]
    spectra = cube.reshape(len(cube), -1).T.astype(np.float64)
    spectra -= spectra.mean(0)
    left, values, _ = np.linalg.svd(spectra, full_matrices=False)
    np.testing.assert_allclose(mean.ravel(), spectra.mean(1), atol=1e-3)
    for i, component in enumerate(components):
        expected = left[:, i] * values[i]
        assert abs(np.corrcoef(expected, component.ravel())[0, 1]) > 0.999
    np.testing.assert_array_equal(strokes.band_images(cube)[:, 0][1:], components)


def test_a_cube_with_fewer_bands_than_components(tissue_cube):
    assert strokes.band_images(tissue_cube[0][:2]).shape == (3, 1, 96, 96)
