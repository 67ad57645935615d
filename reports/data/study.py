"""Read the ``study.yaml`` of a folder to report on; a folder that is not a study is refused with a one-line error."""

from __future__ import annotations

from pathlib import Path

from accounting.study.facts import NotAStudyFile, StudyDocument, StudyFacts
from accounting.study.folder import StudyFolder
from accounting.study.yaml12 import YamlProblem
from accounting.words.names import learn
from accounting.words.plain_text import one_line
from accounting.words.task import learn_task
from reports.errors import NotAStudy


def read_study(folder: Path) -> tuple[StudyFacts, StudyDocument]:
    """Read ``study.yaml``: the typed essentials, and the whole document, safe to show; routes keep the names it gives.

    Raises:
        NotAStudy: the folder or file does not exist, is not YAML, or is not a resolved study.

    """
    path = StudyFolder(folder).config
    if not folder.is_dir():
        raise NotAStudy(f"{folder} is not a folder; expected a study's folder, such as runs/quickstart")
    if not path.is_file():
        raise NotAStudy(f"{folder} is not a study: it has no study.yaml; `prune-or-search run` makes one")
    try:
        document = StudyDocument.read(path).plain()
        facts = StudyFacts.of(document, path)
    except NotAStudyFile as error:
        raise NotAStudy(one_line(error)) from error
    except (YamlProblem, UnicodeDecodeError, OSError) as error:
        raise NotAStudy(f"{path} cannot be read as YAML: {one_line(error)}") from error
    learn(facts.words)
    learn_task(facts.task)
    return facts, document
