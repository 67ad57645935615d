"""In the documents, links and files exist, commands parse and configs are valid; no file has a machine's path."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*?(?:src|href)=\"([^\"]+)\"")
MACHINE = re.compile(r"(?<![\w.:/~-])/(?:home|root|work|Users|mnt|media|workspace|scratch|private)/[A-Za-z0-9_.]")
SKIPPED = {".git", ".venv", "runs", "build", "dist", "__pycache__", "node_modules"}


def tracked():
    """The files of the repository; without git (an unpacked archive), everything not made by running it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not SKIPPED & set(p.relative_to(ROOT).parts)]
    return sorted(path for path in paths if path.is_file())


def texts():
    found = {}
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw[:8000]:
            found[path] = raw.decode("utf-8")
    return found


DOCS = [path for path in tracked() if path.suffix == ".md"]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def name(path):
    return str(path.relative_to(ROOT))


def anchors(text):
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+\s+(.+?)\s*#*$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_relative_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for pair in LINK.findall(prose):
        link = pair[0] or pair[1]
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{name(path)} links to {link}"
        assert file.is_relative_to(ROOT), f"{name(path)} links out of the repository: {link}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name(path)} links to {link}"


def test_the_link_pattern_sees_links():
    text = 'see [a](b.md), ![c](d.png "t"), [e](f.md#g) and <img alt="x" src="h.svg">'
    assert [a or b for a, b in LINK.findall(text)] == ["b.md", "d.png", "f.md#g", "h.svg"]


def commands(text):
    """Command lines in fenced blocks (continued lines joined), and inline code that begins with the command's name."""
    found = []
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\$ )?((?:\.venv/bin/)?prune-or-search\b.*)", line)
            if match:
                found.append(re.split(r"\s{2,}|\s#|[|;>]|&&", match[1])[0])
    for code in re.findall(
        r"`((?:\.venv/bin/)?prune-or-search [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    ):
        found.append(code)
    return found


def words_of(line):
    """The words of a synopsis with its options and first choices taken: ``[--json]`` → ``--json``, ``a|b`` → ``a``."""
    words = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)[1:]
    return [word.split("|")[0] for word in words if word not in ("…", "...")]


@pytest.fixture(scope="module")
def program():
    from harness.cli import app

    return typer.main.get_command(app)


def parse(program, line):
    words = words_of(line)
    own = {name for parameter in program.params for name in parameter.opts} | {"--help"}
    if not words or (len(words) == 1 and words[0] in own):
        return
    assert words[0] in program.commands, f"no command {words[0]!r}; there are {', '.join(program.commands)}"
    command = program.commands[words[0]]
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    options |= {"--help"}
    for word in words[1:]:
        if word.startswith("--"):
            assert word.split("=")[0] in options, (
                f"{words[0]} has no option {word}; it has {', '.join(sorted(options))}"
            )
    if len(words) > 1 and "--help" not in words:
        command.make_context(words[0], list(words[1:]), resilient_parsing=False)


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_commands_parse(path, program):
    for line in commands(path.read_text(encoding="utf-8")):
        try:
            parse(program, line)
        except Exception as error:
            raise AssertionError(f"{name(path)}: `{line}` is no command: {error}") from error


@pytest.mark.parametrize("words", ["rum x", "run x --bakend inline", "answer x --mac 3", "--verson"])
def test_wrong_commands_are_seen(words, program):
    with pytest.raises(AssertionError):
        parse(program, f"prune-or-search {words}")


def test_commands_are_found():
    text = "`prune-or-search audit DIR`\n\n```\n$ prune-or-search run x.yaml --out y   # go\nmake study\n```\n"
    assert commands(text) == ["prune-or-search run x.yaml --out y", "prune-or-search audit DIR"]


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_studies_that_are_named_exist(path):
    for study in re.findall(r"studies/[\w./-]+\.yaml", path.read_text(encoding="utf-8")):
        assert (ROOT / study).exists(), f"{name(path)} names {study}"


@pytest.mark.parametrize("path", STUDIES, ids=name)
def test_every_study_is_a_config_and_names_itself(path):
    from harness.config.study import load_configs

    names = [study.name for study in load_configs(path)]
    assert all(name.split("_")[0] == path.stem.split("_")[0] for name in names)


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_configs_in_documents_are_configs(path):
    """A YAML block with ``name`` and ``routes`` is a whole config; any other may have only keys that a config has."""
    from harness.config.study import StudyConfig, parse_config

    for block in re.findall(r"^```ya?ml\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M):
        config = yaml.safe_load(block)
        if isinstance(config, dict) and {"name", "routes"} <= set(config):
            parse_config(config, name(path))
        elif isinstance(config, dict) and set(config) & set(StudyConfig.model_fields):
            assert set(config) <= set(StudyConfig.model_fields), f"{name(path)}: {sorted(config)}"


DELIVERED = ("model.py",)
"""Files that a study writes and that documents mention."""


@pytest.mark.parametrize("path", [p for p in DOCS if p.name != "CHANGELOG.md"], ids=name)
def test_modules_that_are_named_exist(path):
    """A file name such as ``chain.py`` may stand alone if only one file has it; otherwise it needs its folder."""
    files = [name(file) for file in tracked()]
    for module in re.findall(r"`((?:\w+/)*\w+\.py)`", path.read_text(encoding="utf-8")):
        found = [file for file in files if f"/{file}".endswith(f"/{module}")]
        assert found or module in DELIVERED, f"{name(path)} names {module}, which does not exist"


def test_make_targets_that_documents_name_exist():
    makefile = ROOT / "Makefile"
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile.read_text(), re.M)) if makefile.exists() else set()
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        blocks = "\n".join(re.findall(r"^```[^\n]*\n(.*?)^```", text, re.S | re.M))
        named = re.findall(r"`make ([a-z][\w-]*)", text) + re.findall(r"^\s*(?:\$ )?make ([a-z][\w-]*)", blocks, re.M)
        for target in named:
            assert target in targets, f"{name(path)} names `make {target}`"


def test_no_path_of_a_machine_stands_in_a_file():
    found = [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE.search(line) and path != Path(__file__)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "is_one"),
    [("cd /home/me/x", True), ('"/Users/me/x"', True), ("a/home/b", False), ("https://x.org/home/y", False)],
)
def test_the_machine_pattern(line, is_one):
    assert bool(MACHINE.search(line)) == is_one
