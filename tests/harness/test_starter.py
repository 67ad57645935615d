"""``init`` writes a study that ``plan`` accepts, says what is missing, and never overwrites a file."""

from __future__ import annotations

import pytest
from data.folder_layouts import plain
from refusals import assert_refused
from typer.testing import CliRunner

from harness import cli
from harness.config.study import load_configs
from harness.errors import InputError
from harness.models.target_percents import resolve_percents
from harness.starter import write
from harness.starter.wishes import parse_parent, parse_targets
from harness.validation import check_study


@pytest.fixture
def images(tmp_path):
    """An image folder whose path is longer than a line of YAML."""
    folder = tmp_path / "/".join(["a folder of photos"] * 6) / "images"
    plain(folder)
    return folder


class TestWishes:
    def test_targets(self):
        assert parse_targets("50%, 0.5M,12.5 %") == (50.0, 500_000, 12.5)

    @pytest.mark.parametrize("text", ["0%", "100%", "120%", "half", "", "50%,"])
    def test_what_is_no_target(self, text):
        with pytest.raises(InputError, match="--macs"):
            parse_targets(text)

    def test_parents(self):
        assert parse_parent("timm:resnet18").timm == "resnet18"
        assert parse_parent("fbnetv3:g").variant == "g"
        with pytest.raises(InputError, match="--parent resnet18: give timm:NAME"):
            parse_parent("resnet18")


def test_a_study_that_plan_takes(images, command, tmp_path, monkeypatch):
    """ResNet-18 at 32x32 with three classes has 37,012,992 MACs, counted by hand; the target is half of them."""
    monkeypatch.setattr(write, "_image_size", lambda parent: (32, "small"))
    code, out, err = command("init", "--images", images, "--parent", "timm:resnet18", "--out", tmp_path / "mine.yaml")
    assert code == 0, err
    assert "data: 1 of 3 classes have no validation image" in err  # what plan would warn of
    assert "mine.yaml is written" in out
    [study] = load_configs(tmp_path / "mine.yaml")
    assert study.name == "mine"
    stem = 16 * 16 * 64 * 3 * 49
    first = 4 * (8 * 8 * 64 * 64 * 9)
    widths = [(64, 128, 4), (128, 256, 2), (256, 512, 1)]
    rest = sum(s * s * (a * b * 9 + 3 * b * b * 9 + a * b) for a, b, s in widths)
    assert study.target_percents == [50.0]  # so that another image size or parent leaves the share
    assert resolve_percents(study).targets == [(stem + first + rest + 512 * 3) // 2]
    assert study.dataset.path == str(images)  # on one line, however long it is
    assert check_study(resolve_percents(study), need_data=True).parent_macs == stem + first + rest + 512 * 3
    text = (tmp_path / "mine.yaml").read_text()
    assert "targets: [50%]   # MACs of the delivered networks, at this image size 18.5M\n" in text
    assert max(map(len, text.splitlines())) < 130 + len(str(images))


def test_images_have_the_size_that_timm_says():
    assert write._image_size(parse_parent("timm:resnet18"))[0] == 224
    assert write._image_size(parse_parent("timm:tf_efficientnet_b3"))[0] == 300
    assert write._image_size(parse_parent("fbnetv3:g"))[0] == 224


def test_what_is_missing_is_asked_on_a_terminal(images, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "_can_ask", lambda: True)
    monkeypatch.setattr(write, "_image_size", lambda parent: (32, "small"))
    words = ["init", "--images", str(images), "--out", str(tmp_path / "asked.yaml")]
    result = CliRunner().invoke(cli.app, words, input="timm:resnet18\n30%\n")
    assert result.exit_code == 0, result.output
    assert "network to prune" in result.output and "folder of your images" not in result.output
    [study] = load_configs(tmp_path / "asked.yaml")
    assert study.parent.timm == "resnet18"
    assert resolve_percents(study).targets == [11_103_897]


def test_targets_are_written_as_they_were_given(images, command, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_image_size", lambda parent: (32, "small"))
    file = tmp_path / "mine.yaml"
    code, _, err = command(
        "init", "--images", images, "--parent", "timm:resnet18", "--macs", "12.5%, 20M", "--out", file
    )
    assert code == 0, err
    assert (
        "targets: [20M, 12.5%]   # MACs of the delivered networks, at this image size 54% of the parent's, 4.63M\n"
        in (file.read_text())
    )
    assert resolve_percents(load_configs(file)[0]).targets == [20_000_000, 4_626_624]


class TestRefusals:
    def test_missing_flags_without_a_terminal_are_one_error(self, command):
        assert_refused(command("init"), "--images and --parent missing")

    def test_a_file_is_never_overwritten(self, images, command, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("mine")
        words = ["init", "--images", images, "--parent", "timm:resnet18", "--out", file]
        assert_refused(command(*words), "exists already and was left as it is")
        assert file.read_text() == "mine"

    def test_no_images_there(self, command, tmp_path):
        gone = tmp_path / "gone"
        assert_refused(command("init", "--images", gone, "--parent", "timm:resnet18"), f"{gone} is not a folder")
        assert not (tmp_path / "cwd" / "study.yaml").exists()

    @pytest.mark.parametrize("images", ["~nobody-of-this-name/photos", "x" * 300, "loop/photos"])
    def test_a_path_that_is_none(self, images, command, tmp_path):
        (tmp_path / "cwd" / "loop").symlink_to("loop")
        assert_refused(command("init", "--images", images, "--parent", "timm:resnet18"), "--images", "not a path")
