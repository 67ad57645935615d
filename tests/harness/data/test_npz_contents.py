"""Any npz file of JPEGs gives the right labels, or is refused in one line by ``check`` and by ``plan``'s facts."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.registry import open_dataset
from harness.errors import InputError

NUM_TRAIN, NUM_TEST, NUM_CLASSES = 60, 30, 3
NAMES = np.array(["ape", "bee", "cat"])


def encoded(label, size=(16, 16), form="JPEG", mode="RGB"):
    buffer = io.BytesIO()
    Image.new("L", size, 40 + 80 * int(label)).convert(mode).save(buffer, form)
    return buffer.getvalue()


def part(name, labels, images=None):
    images = [encoded(label) for label in labels] if images is None else images
    return {
        f"{name}_bytes": np.frombuffer(b"".join(images), np.uint8),
        f"{name}_offsets": np.cumsum([0, *map(len, images)]),
        f"{name}_labels": np.asarray(labels),
    }


def arrays():
    return part("train", np.arange(NUM_TRAIN) % NUM_CLASSES) | part("test", np.arange(NUM_TEST) % NUM_CLASSES)


def with_key(key, change):
    """The plain file with one array changed."""
    plain = arrays()
    return plain | {key: change(plain[key])}


def put(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


def sorted_by_class():
    return part("train", np.sort(np.arange(NUM_TRAIN) % NUM_CLASSES)) | part("test", np.arange(NUM_TEST) % NUM_CLASSES)


def nearly_sorted():
    """Training has every class, but validation has only one."""
    labels = np.r_[np.arange(120) % NUM_CLASSES, np.sort(np.arange(120) % NUM_CLASSES)]
    return part("train", labels) | part("test", np.arange(NUM_TEST) % NUM_CLASSES)


def with_image(content):
    plain = np.arange(NUM_TRAIN) % NUM_CLASSES
    return arrays() | part("train", plain, [content if i == 7 else encoded(k) for i, k in enumerate(plain)])


def all_images(**kind):
    plain = np.arange(NUM_TRAIN) % NUM_CLASSES
    return arrays() | part("train", plain, [encoded(k, **kind) for k in plain])


TAKEN = {
    "plain": arrays,
    "classes named": lambda: arrays() | {"classes": NAMES},
    "classes named in bytes": lambda: arrays() | {"classes": NAMES.astype("S")},
    "labels uint8": lambda: with_key("train_labels", lambda a: a.astype(np.uint8)),
    "labels uint64": lambda: with_key("test_labels", lambda a: a.astype(np.uint64)),
    "labels int32, big-endian": lambda: with_key("train_labels", lambda a: a.astype(">i4")),
    "offsets uint32": lambda: with_key("train_offsets", lambda a: a.astype(np.uint32)),
    "offsets uint64": lambda: with_key("train_offsets", lambda a: a.astype(np.uint64)),
    "offsets that begin later": lambda: (
        with_key("train_offsets", lambda a: a + 5)
        | {"train_bytes": np.r_[np.zeros(5, np.uint8), arrays()["train_bytes"]]}
    ),
    "bytes left over": lambda: with_key("test_bytes", lambda a: np.r_[a, np.zeros(9, np.uint8)]),
    "further keys": lambda: arrays() | {"licence": np.array("MIT")},
    "further keys of Python objects": lambda: arrays() | {"meta": np.array([{}], object)},
    "PNG": lambda: all_images(form="PNG"),
    "WebP": lambda: all_images(form="WEBP"),
    "grey": lambda: all_images(mode="L"),
    "palette": lambda: all_images(form="PNG", mode="P"),
    "CMYK": lambda: all_images(mode="CMYK"),
    "larger and oblong": lambda: all_images(size=(40, 24)),
}
REFUSED = {
    "labels from 1": (lambda: with_key("train_labels", lambda a: a + 1), "class 0 .*no image among the first 54"),
    "labels from 1, classes named": (
        lambda: with_key("train_labels", lambda a: a + 1) | {"classes": NAMES}, "train_labels .*label 3; allowed are 0 to 2",
    ),
    "a negative label": (lambda: with_key("train_labels", lambda a: put(a, 4, -1)), "train_labels .*label -1"),
    "a huge label": (lambda: with_key("train_labels", lambda a: put(a, 4, 10**15)), "class 3 of 1000000000000001 "),
    "a label that no int64 holds": (
        lambda: with_key("train_labels", lambda a: put(a.astype(np.uint64), 4, 2**64 - 1)), "class 3 of",
    ),
    "a label of the test part only": (lambda: with_key("test_labels", lambda a: put(a, 4, 3)), "test_labels .*label 3"),
    "float labels": (lambda: with_key("train_labels", lambda a: a.astype(float)), "train_labels .*float64"),
    "NaN labels": (lambda: with_key("train_labels", lambda a: a * np.nan), "train_labels .*float64"),
    "boolean labels": (lambda: with_key("train_labels", lambda a: a == 1), "train_labels .*bool"),
    "text labels": (lambda: with_key("train_labels", lambda a: NAMES[a]), "train_labels .*whole numbers"),
    "labels as Python objects": (lambda: with_key("train_labels", lambda a: a.astype(object)), "Python objects"),
    "one-hot labels": (lambda: with_key("train_labels", lambda a: np.eye(3, dtype=int)[a]), "train_labels .*2-dimensional"),
    "labels in a column": (lambda: with_key("test_labels", lambda a: a[:, None]), "test_labels .*2-dimensional"),
    "no labels": (lambda: with_key("test_labels", lambda a: a[:0]), "test_labels .*empty"),
    "a label too few": (lambda: with_key("train_labels", lambda a: a[:-1]), "61 entries for 59 labels"),
    "one class": (lambda: with_key("train_labels", lambda a: a * 0) | part("test", [0] * 9), "1 class"),
    "more names than classes": (lambda: arrays() | {"classes": np.array([*NAMES, "dog"])}, r"class 3 \(dog\) of 4"),
    "fewer names than classes": (lambda: arrays() | {"classes": NAMES[:2]}, "label 2; allowed are 0 to 1"),
    "names twice": (lambda: arrays() | {"classes": np.array(["ape", "ape", "bee"])}, "'ape' twice"),
    "names as numbers": (lambda: arrays() | {"classes": np.arange(3)}, "classes .*int64"),
    "names as Python objects": (lambda: arrays() | {"classes": NAMES.astype(object)}, "classes .*Python objects"),
    "one text for all names": (lambda: arrays() | {"classes": np.array("ape bee cat")}, "classes .*0-dimensional"),
    "offsets beyond the bytes": (lambda: with_key("train_offsets", lambda a: put(a, -1, a[-1] + 1)), "train_offsets"),
    "a uint64 offset beyond int64": (
        lambda: with_key("train_offsets", lambda a: put(a.astype(np.uint64), -1, 2**63 + 5)), "train_offsets",
    ),
    "a uint64 offset amid the others": (
        lambda: with_key("train_offsets", lambda a: put(a.astype(np.uint64), 3, 2**64 - 1)), "train_offsets",
    ),
    "negative offsets": (lambda: with_key("train_offsets", lambda a: put(a, 0, -4)), "train_offsets"),
    "offsets that fall": (lambda: with_key("test_offsets", lambda a: a[::-1]), "test_offsets"),
    "float offsets": (lambda: with_key("test_offsets", lambda a: a.astype(float)), "test_offsets .*float64"),
    "an image of no bytes": (lambda: with_key("train_offsets", lambda a: put(a, 3, a[2])), "train_offsets"),
    "offsets without the end": (lambda: with_key("train_offsets", lambda a: a[:-1]), "60 entries for 60 labels"),
    "bytes as int8": (lambda: with_key("train_bytes", lambda a: a.view(np.int8)), "train_bytes .*int8"),
    "bytes as pixels": (lambda: with_key("train_bytes", lambda a: a[:768].reshape(1, 16, 16, 3)), "train_bytes .*4-dim"),
    "a test part without a class": (lambda: arrays() | part("test", np.arange(NUM_TEST) % 2), "class 2 .*the test images"),
    "sorted by class": (sorted_by_class, "1 of 3 classes; shuffle the file"),
    "sorted from the last class": (
        lambda: arrays() | part("train", np.sort(np.arange(NUM_TRAIN) % 3)[::-1]), "1 of 3 classes; shuffle the file",
    ),
    "sorted towards the end": (nearly_sorted, "1 of 3 classes; shuffle the file"),
    "an image that is text": (lambda: with_image(b"not a picture"), "image 7 of train_bytes"),
    "an image that is cut": (lambda: with_image(encoded(1, (64, 64))[:-200]), "image 7 of train_bytes"),
    "raw pixels as an image": (lambda: with_image(bytes(768)), "image 7 of train_bytes"),
    "a key that lacks": (lambda: {k: v for k, v in arrays().items() if k != "test_offsets"}, "lacks .*test_offsets"),
}  # fmt: skip


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))

    def of(content, **keys):
        path = tmp_path / "data.npz"
        if isinstance(content, dict):
            np.savez_compressed(path, **content)
        return open_dataset(DatasetConfig(name="npz_jpeg", path=str(path), image_size=16, **keys))

    return of


@pytest.mark.parametrize("kind", TAKEN)
def test_files_that_are_taken_give_each_image_its_label(kind, opened):
    dataset = opened(TAKEN[kind]())
    dataset.check()
    splits = dataset.splits()
    sizes = [len(split) for split in (splits.train, splits.val, splits.test)]
    assert sizes == [54, 6, NUM_TEST] == [splits.info.num_train, splits.info.num_val, splits.info.num_test]
    for split in (splits.train, splits.val, splits.test):
        levels = split.images.float().mean((1, 2, 3))
        assert ((levels - 40) / 80).round().long().tolist() == split.labels.tolist()


@pytest.mark.parametrize("kind", REFUSED)
def test_other_files_are_refused_by_check_and_by_plan_in_one_line(kind, opened):
    content, words = REFUSED[kind]
    made = content()
    for ask in ("check", "info"):
        with pytest.raises(InputError, match=words) as refusal:
            getattr(opened(made), ask)()
        assert "\n" not in str(refusal.value)
        assert "data.npz" in str(refusal.value)


def test_a_small_validation_part_that_lacks_a_class_by_chance_is_taken_and_said(opened):
    labels = np.arange(NUM_TRAIN) % NUM_CLASSES
    labels[-6:] = [0, 1, 0, 1, 1, 0]
    info = opened(arrays() | part("train", labels)).info()
    assert info.notes[0] == "1 of 3 classes have no validation image"


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"\x93NUMPY\x01\x00", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_refused_by_check_and_by_plan(content, opened, tmp_path):
    (tmp_path / "data.npz").write_bytes(content)
    for ask in ("check", "info"):
        with pytest.raises(InputError, match="is not an npz file"):
            getattr(opened(None), ask)()


def test_a_single_array_and_a_folder_in_place_of_the_file_are_refused(opened, tmp_path):
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="is not an npz file"):
        opened(None).info()
    (tmp_path / "data.npz").unlink()
    (tmp_path / "data.npz").mkdir()
    for ask in ("check", "info"):
        with pytest.raises(InputError, match="no file at"):
            getattr(opened(None), ask)()


@pytest.mark.parametrize("key", ["train_bytes", "test_labels", "classes"])
def test_a_flipped_bit_in_any_array_is_refused(key, opened, tmp_path):
    opened(arrays() | {"classes": NAMES})
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path) as packed:
        entry = packed.getinfo(f"{key}.npy")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + 20 + entry.compress_size // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"data\.npz"):
        opened(None).check()


def test_facts_say_how_an_image_comes_to_its_size(opened):
    info = opened(arrays()).info()
    assert (info.interpolation, info.crop_pct, info.image_shape) == ("bicubic", 1.0, (3, 16, 16))


@pytest.mark.parametrize(("key", "given"), [("num_train", 61), ("num_test", 31), ("num_classes", 4)])
def test_a_count_that_is_not_there_is_refused_by_plan_too(key, given, opened):
    with pytest.raises(InputError, match=rf"dataset\.{key}: {given} given"):
        opened(arrays() | {"classes": NAMES}, **{key: given}).info()
