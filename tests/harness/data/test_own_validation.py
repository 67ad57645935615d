"""An image folder with train/, val/ and test/: by default val/ is the test split; a config can say which folder is which."""

import logging
import shutil

import pytest
import torch
from folder_layouts import LEVELS, PER_CLASS, plain

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.registry import open_dataset
from harness.data.transforms import file_facts, unseen_classes
from harness.errors import InputError
from harness.rehearsal import rehearsed
from harness.starter.wishes import parse_wishes
from harness.starter.write import starter_text

CPU = torch.device("cpu")
OWN = {"val": "val", "test": "test"}
NUM_TRAIN = PER_CLASS["train"] * len(LEVELS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The three parts with the same classes; val/ has two images of each class, and test/ one."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    root = tmp_path / "here" / "data"
    root.mkdir(parents=True)
    plain(root)
    shutil.copytree(root / "val", root / "test")
    for part, keep in (("val", 2), ("test", 1)):
        for place in (root / part).iterdir():
            for image in sorted(place.iterdir())[keep:]:
                image.unlink()
    return root


def opened(root, **keys):
    return open_dataset(DatasetConfig(name="image_folder", path=str(root), image_size=16, num_workers=0, **keys))


def sizes(dataset):
    splits, info = dataset.splits(), dataset.info()
    found = [len(split) for split in (splits.train, splits.val, splits.test)]
    assert found == [info.num_train, info.num_val, info.num_test]
    return found


def test_without_options_val_is_the_test_split_as_ever_and_a_note_says_how_to_change_that(folder):
    dataset = opened(folder, val_fraction=0.25)
    held = round(NUM_TRAIN * 0.25)
    assert sizes(dataset) == [NUM_TRAIN - held, held, 2 * len(LEVELS)]
    (note,) = [note for note in dataset.info().notes if "ignored" in note]
    assert "dataset.options: {val: val, test: test}" in note


def test_each_folder_can_be_the_split_of_its_name(folder):
    dataset = opened(folder, options=OWN)
    dataset.check()
    assert sizes(dataset) == [NUM_TRAIN, 2 * len(LEVELS), len(LEVELS)]
    assert not [note for note in dataset.info().notes if "ignored" in note]
    assert dataset.fingerprint() != opened(folder).fingerprint()
    before = dataset.fingerprint()
    next((folder / "val").rglob("*.png")).unlink()
    cache_free = opened(folder, options=OWN)
    assert cache_free.fingerprint() != before


def test_only_the_test_folder_may_be_named(folder):
    dataset = opened(folder, options={"test": "test"}, val_fraction=0.25)
    held = round(NUM_TRAIN * 0.25)
    assert sizes(dataset) == [NUM_TRAIN - held, held, len(LEVELS)]
    (note,) = [note for note in dataset.info().notes if "ignored" in note]
    assert note.startswith("val/ next to test/ is ignored")


def test_images_of_each_split_come_from_its_folder(folder):
    """Both parts of a class have the same grey level, so the classes of val and test are checked by their labels."""
    splits = opened(folder, options=OWN).splits()
    for split, count in ((splits.val, 2), (splits.test, 1)):
        labels = torch.cat([labels for _, labels in split.batches(64, CPU, augment=None)])
        assert torch.bincount(labels).tolist() == [count] * len(LEVELS)


def test_the_same_processes_read_images_for_training_and_for_validation(folder):
    """Training and validation alternate, so processes of their own would double what is held in memory."""
    dataset = open_dataset(
        DatasetConfig(name="image_folder", path=str(folder), image_size=16, num_workers=1, options=OWN)
    )
    splits, here = dataset.splits(), opened(folder, options=OWN).splits()
    assert splits.val.readers is splits.train.readers
    try:
        for split, same in ((splits.train, here.train), (splits.val, here.val), (splits.train, here.train)):
            ours, theirs = (
                torch.cat([labels for _, labels in each.batches(64, CPU, augment=None)]).tolist()
                for each in (split, same)
            )
            assert ours == theirs
        assert splits.train.readers._loader is not None
    finally:
        for split in (splits.train, splits.val, splits.test):
            split.close()


def test_an_image_that_is_gone_is_named_by_its_own_folder(folder, caplog):
    splits = opened(folder, options=OWN).splits()
    gone = sorted((folder / "val").rglob("*.png"))[0]
    gone.unlink()
    list(splits.val.batches(64, CPU, augment=None))
    assert f"{gone} can no longer be read" in caplog.text


def test_fewer_training_images_have_the_same_share_of_the_validation_images(folder):
    dataset = opened(folder, options=OWN, num_train=NUM_TRAIN // 2 + 1)
    num_val = round(2 * len(LEVELS) * (NUM_TRAIN // 2 + 1) / NUM_TRAIN)
    assert sizes(dataset) == [NUM_TRAIN // 2 + 1, num_val, len(LEVELS)]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"options": {"val": "val"}}, "val needs test, too"),
        ({"options": {"val": "test", "test": "test"}}, "val and test are the same folder"),
        ({"options": {"test": "holdout"}}, "test is 'holdout'; allowed: val, valid, validation, test"),
        ({"options": {"test": 5}}, "test is 5; a name is allowed$"),
        ({"options": {"val": "valid", "test": "test"}}, "no folder"),
        ({"options": OWN, "val_fraction": 0.2}, "dataset.val_fraction has no effect"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(keys, said, folder):
    with pytest.raises(InputError, match=said) as told:
        opened(folder, **keys).check()
    assert "\n" not in str(told.value)


def test_a_class_that_validation_lacks_is_refused(folder):
    place = next((folder / "val").iterdir())
    for image in place.iterdir():
        image.unlink()
    place.rmdir()
    with pytest.raises(InputError, match=r"is in only one of train/ and val/"):
        opened(folder, options=OWN).check()


def test_validation_images_that_are_trained_on_are_noted(folder):
    target = next((folder / "val").rglob("*.png"))
    twin = next((folder / "train" / target.parent.name).rglob("*.png"))
    target.write_bytes(twin.read_bytes())
    notes = opened(folder, options=OWN).info().notes
    assert [note for note in notes if "validation images have the same bytes as a training image" in note]


def test_init_writes_the_split_of_each_name(folder, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    wishes = parse_wishes({"images": str(folder), "parent": "timm:test_resnet", "macs": "50%"})
    text = starter_text(wishes, tmp_path / "first.yaml")
    assert "options: {val: val, test: test}" in text
    assert "is ignored" not in caplog.text
    (folder / "test").rename(folder / "away")  # images without classes, as of a competition
    (folder / "test" / "images").mkdir(parents=True)
    shutil.copy(next((folder / "train").rglob("*.png")), folder / "test" / "images")
    assert "options:" not in starter_text(wishes, tmp_path / "first.yaml")
    assert "is ignored" in caplog.text


def test_a_rehearsal_keeps_the_split(tiny, folder):
    from harness.config.study import parse_config

    data = {"name": "image_folder", "path": str(folder), "image_size": 16, "num_workers": 0, "options": OWN}
    given = parse_config({**tiny, "dataset": data}, "test")
    found = rehearsed(given).config.dataset
    assert found.options == OWN
    open_dataset(found).check()


def test_without_data_none_of_the_training_images_is_held_out(tmp_path):
    facts = opened(tmp_path / "nowhere", options=OWN, num_train=1000, num_classes=4).info()
    assert facts.num_train == 1000
    assert facts.num_val == 39, "ImageNet's 50,000, by the share of its training images that is used"


def test_a_class_without_an_image_to_learn_from_is_refused_without_a_word_of_holding_out():
    config = DatasetConfig(name="image_folder", path="photos", image_size=16, num_train=10, options=OWN)
    facts = file_facts(config, num_train=50, num_val=4, class_names=("cat", "dog"))
    refusals = []
    for place in range(50):  # the only image of its class; ten of the fifty are learned from
        labels = [int(index == place) for index in range(50)]
        try:
            unseen_classes(facts, config, labels, "photos", [0, 1, 0, 1])
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) == 40
    assert set(refusals) == {
        "dataset: class dog of photos has no image among the 10 to learn from; give more images (num_train)"
    }


def test_init_falls_back_where_the_test_folder_cannot_be_used(folder, tmp_path):
    first = sorted((folder / "test").iterdir())[0]
    for image in first.iterdir():
        image.write_bytes(b"no image")
    wishes = parse_wishes({"images": str(folder), "parent": "timm:test_resnet", "macs": "50%"})
    assert "options:" not in starter_text(wishes, tmp_path / "study.yaml")
