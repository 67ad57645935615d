"""A study with a target given as a share of the parent's MACs stores the MACs, and resumes with either form."""

from inline_runs import SMALL, records, run

from accounting.study.folder import StudyFolder
from harness.stored.study_file import stored_config


def test_a_share_is_run_and_resumed(tiny, tmp_path):
    config = tiny | SMALL | {"targets": ["60%"]}
    run(config, tmp_path / "study")
    targets = stored_config(StudyFolder(tmp_path / "study")).targets
    attempts = len(records(tmp_path / "study", "attempt_started"))
    assert attempts > 0
    run(config, tmp_path / "study")
    run(config | {"targets": targets}, tmp_path / "study")
    assert len(records(tmp_path / "study", "attempt_started")) == attempts, "nothing is done again"
    assert not records(tmp_path / "study", "study_extended")
