"""A study and its copy count as one study, since comparing them would count the same replicates twice."""

import shutil


def test_a_copy_is_refused_by_its_ledgers_id(tiny_study, tmp_path, command):
    copy = shutil.copytree(tiny_study, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints", "models"))
    code, out, err = command("compare", tiny_study, copy)
    assert (code, out) == (2, "")
    assert f"{copy} is a copy of {tiny_study}" in err
    assert len(err.splitlines()) == 1
