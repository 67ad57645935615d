"""Data that the user may not read is bad input for every dataset, reported in one line that names the key."""

from pathlib import Path

import pytest

from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.errors import InputError

CONFIGS = {
    "image_folder": {"image_size": 16},
    "npz_jpeg": {},
    "timm": {"timm_name": "torch/mnist", "image_size": 16},
}


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A path below a folder that cannot be searched; since root can search any folder, looking is made to fail."""
    below = tmp_path / "locked" / "data"
    below.mkdir(parents=True)
    real = Path.stat

    def stat(path, **options):
        if path.is_relative_to(below):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    return below


@pytest.mark.parametrize("call", ["info", "check"])
@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_refused_by_the_key(name, call, locked):
    dataset = open_dataset(DatasetConfig(name=name, path=str(locked), num_classes=3, **CONFIGS[name]))
    with pytest.raises(InputError, match=rf"dataset\.path: {locked}.* cannot be read: Permission denied"):
        getattr(dataset, call)()
