"""Every way in which a ledger's files can be damaged is found and has its own message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_records import alloc, closed, fine_study, free, ok, opened, start, work

from accounting.audit.audit import audit
from accounting.ledger.index import NAME, lost_ledger, open_index, segments_in
from accounting.ledger.records import Kind, Record
from accounting.ledger.store import LedgerError, LedgerWriter, read_ledger, shared_writer


def write(folder: Path, session: str, begin: float, jobs: tuple[str, ...], *, ends: bool = True) -> None:
    """Write a session of one driver, with one worker process per job."""
    with LedgerWriter(folder, session, "driver", clock=lambda: begin) as driver:
        put(driver, opened(session, begin))
        for n, job in enumerate(jobs):
            t = begin + 10 * n
            put(driver, alloc(session, f"{session}-{n}", t + 1))
            with LedgerWriter(folder, session, f"worker-{n}", clock=lambda t=t: t) as worker:  # type: ignore[misc]
                name = f"{session}-{job}"
                put(worker, start(session, name, job, t + 2, allocation=f"{session}-{n}"))
                put(worker, work(name, t + 3))
                put(worker, ok(name, t + 8, t + 7))
            put(driver, free(session, f"{session}-{n}", t + 9))
        if ends:
            put(driver, closed(session, begin + 10 * len(jobs) + 1))


def put(writer: LedgerWriter, record: Record) -> None:
    fields = {name: value for name, value in record.items() if name not in ("kind", "t")}
    writer.append(record["kind"], t=record["t"], **fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sessions: the first was killed, the second ended."""
    write(tmp_path / "ledger", "s1", 1000, ("p", "q"), ends=False)
    write(tmp_path / "ledger", "s2", 2000, ("r", "t"))
    return tmp_path / "ledger"


def segment(folder: Path, writer: str, session: int = 1) -> Path:
    found = [path for path in segments_in(folder) if f"-{writer.replace('-', '_')}-" in path.name]
    return found[session]


def lines(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def codes(folder: Path, severity: str = "error") -> set[str]:
    ledger = read_ledger(folder, strict=False)
    found = audit(ledger.records, ledger.findings).findings
    assert all("\n" not in finding.message for finding in found)
    return {finding.code for finding in found if finding.severity == severity}


def test_the_undamaged_ledger_is_clean(folder: Path) -> None:
    assert codes(folder) == set()
    assert len(audit(read_ledger(folder).records).balances) == 4


def _rewrite(old: bytes, new: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))


LINE_DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "an edited line": (_rewrite(b'"status":"ok"', b'"status":"failed"'), "chain_broken", "was changed"),
    "an edited time": (_rewrite(b'"work_end_t":', b'"work_end_t":1'), "chain_broken", "was changed"),
    "a removed line": (lambda p: lines(p, lambda ls: [*ls[:2], *ls[3:]]), "chain_broken", "a gap: 1 line before"),
    "two removed lines": (lambda p: lines(p, lambda ls: [ls[0], *ls[3:]]), "chain_broken", "a gap: 2 lines before"),
    "a doubled line": (lambda p: lines(p, lambda ls: [*ls[:3], ls[2], *ls[3:]]), "chain_broken", "a copy of line 3"),
    "moved lines": (lambda p: lines(p, lambda ls: [ls[0], ls[2], ls[1], *ls[3:]]), "chain_broken", "lines were moved"),
    "a foreign line": (
        lambda p: lines(p, lambda ls: [*ls[:2], b'{"kind":"heartbeat","t":1005,"attempt":"s2-r"}\n', *ls[2:]]),
        "chain_broken", "has no running number",
    ),
    "a doubled block": (lambda p: lines(p, lambda ls: [*ls[:4], *ls[1:4], *ls[4:]]), "chain_broken", "a copy of line 2"),
    "the lines in reverse": (lambda p: lines(p, lambda ls: [ls[0], *ls[:0:-1]]), "chain_broken", "this line"),
    "line ends of another system": (
        lambda p: p.write_bytes(p.read_bytes().replace(b"\n", b"\r\n")), "chain_broken", "was changed",
    ),
    "a line cut off at the end": (lambda p: lines(p, lambda ls: ls[:-1]), "segment_cut", "bytes at its end"),
    "a torn last line": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "segment_cut", "bytes at its end"),
    "an emptied file": (lambda p: p.write_bytes(b""), "segment_cut", "bytes at its end"),
    "a garbled line": (lambda p: lines(p, lambda ls: [*ls[:2], b"\x00\xff\n", *ls[3:]]), "garbled", "not valid JSON"),
    "brackets without end": (
        lambda p: lines(p, lambda ls: [*ls[:2], b"[" * 100_000 + b"\n", *ls[3:]]), "garbled", "not valid JSON",
    ),
    "a key twice": (_rewrite(b'"kind":"work_begun",', b'"kind":"work_begun","t":5.0,'), "garbled", "key 't' is there twice"),
    "a number that is none": (_rewrite(b'"epoch":0', b'"epoch":NaN'), "garbled", "NaN is not a number"),
    "an endless time": (_rewrite(b'"work_end_t":', b'"work_end_t":Infinity,"was":'), "garbled", "Infinity is not a number"),
    "a time in words": (_rewrite(b'"work_end_t":', b'"work_end_t":"noon","was":'), "garbled", "work_end_t must be"),
    "a time in milliseconds": (_rewrite(b'begun","t":', b'begun","t":179584085'), "garbled", "must be Unix s"),
    "an end in milliseconds": (_rewrite(b'"work_end_t":', b'"work_end_t":179584085'), "garbled", "work_end_t must be"),
    "a switch for a number": (_rewrite(b'"replicate":0', b'"replicate":true'), "garbled", "replicate must be"),
    "a heartbeat in words": (_rewrite(b'"spec":', b'"heartbeat_s":"often","spec":'), "garbled", "heartbeat_s must be"),
    "a negative heartbeat": (_rewrite(b'"spec":', b'"heartbeat_s":-1,"spec":'), "garbled", "heartbeat_s must be"),
    "a spec that is none": (_rewrite(b'"spec":', b'"spec":null,"was":'), "garbled", "spec must be an object"),
    "a process in words": (_rewrite(b'"pid":', b'"pid":"mine","was":'), "garbled", "pid must be"),
    "an unknown kind": (_rewrite(b'"kind":"work_begun"', b'"kind":"work_ended"'), "garbled", "unknown kind 'work_ended'"),
    "another encoding": (lambda p: p.write_bytes(p.read_text().encode("utf-16")), "garbled", "not valid JSON"),
    "a mark at the beginning": (lambda p: p.write_bytes(b"\xef\xbb\xbf" + p.read_bytes()), "chain_broken", "was changed"),
    "no opening": (lambda p: lines(p, lambda ls: ls[1:]), "garbled", "must begin with segment_opened"),
}  # fmt: skip


@pytest.mark.parametrize("writer", ["driver", "worker-0"])
@pytest.mark.parametrize("case", LINE_DAMAGE)
def test_damaged_lines_of_a_finished_session_are_found(folder: Path, case: str, writer: str) -> None:
    damage, code, words = LINE_DAMAGE[case]
    path = segment(folder, writer)
    before = path.read_bytes()
    damage(path)
    if path.read_bytes() == before:
        pytest.skip("the driver's segment has no such line")
    assert code in codes(folder)
    found = [f.message for f in read_ledger(folder, strict=False).findings if f.code == code]
    assert any(words in message and path.name in message for message in found)


@pytest.mark.parametrize("case", [name for name, (_, code, _) in LINE_DAMAGE.items() if code == "chain_broken"])
def test_lines_of_a_killed_session_vouch_for_each_other_without_a_seal(tmp_path: Path, case: str) -> None:
    write(tmp_path, "s1", 1000, ("p",), ends=False)
    path = segment(tmp_path, "worker-0", 0)
    LINE_DAMAGE[case][0](path)
    assert LINE_DAMAGE[case][1] in codes(tmp_path)


def test_a_doubled_line_is_not_counted(folder: Path) -> None:
    before = len(read_ledger(folder).records)
    lines(segment(folder, "worker-0"), lambda ls: [*ls[:3], ls[2], *ls[3:]])
    assert len(read_ledger(folder).records) == before


def _other_study(folder: Path) -> None:
    write(folder.parent / "other", "s9", 1500, ("x",))
    for path in segments_in(folder.parent / "other"):
        shutil.copy(path, folder)


def _rewrite_index(old: bytes, new: bytes) -> Callable[[Path], None]:
    return lambda folder: _rewrite(old, new)(folder / NAME)


def _other_index(folder: Path) -> None:
    write(folder.parent / "other", "s9", 1500, ("x",))
    shutil.copy(folder.parent / "other" / NAME, folder)


def _replace(folder: Path) -> None:
    shutil.copy(segment(folder, "worker-1"), segment(folder, "worker-0"))


FILE_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a worker's segment deleted": (lambda f: segment(f, "worker-0").unlink(), "segment_missing"),
    "a killed session's segment deleted": (lambda f: segment(f, "worker-1", 0).unlink(), "segment_missing"),
    "the last segment deleted": (lambda f: segment(f, "worker-1").unlink(), "segment_missing"),
    "the driver's segment deleted": (lambda f: segment(f, "driver").unlink(), "driver_segment_missing"),
    "a copy": (lambda f: shutil.copy(segment(f, "worker-0"), f / "zz.jsonl"), "segment_duplicated"),
    "a renamed segment": (lambda f: segment(f, "worker-0").rename(f / "zz.jsonl"), "segment_renamed"),
    "another segment's content": (_replace, "segment_duplicated"),
    "another segment's content, and that one gone": (
        lambda f: segment(f, "worker-1").replace(segment(f, "worker-0")), "segment_replaced",
    ),
    "segments of another study": (_other_study, "segment_foreign"),
    "a segment that was never entered": (
        lambda f: (f / "zz.jsonl").write_text(
            '{"kind":"segment_opened","t":1,"rules":1,"session":"s","writer":"w","host":"h","pid":1}\n'
        ),
        "segment_unregistered",
    ),
    "a link to a segment": (lambda f: (f / "zz.jsonl").symlink_to(segment(f, "worker-0")), "segment_duplicated"),
    "segments of another study and no index": (lambda f: (_other_study(f), (f / NAME).unlink()), "studies_mixed"),
    "another study's index": (_other_index, "segment_foreign"),
    "the index deleted": (lambda f: (f / NAME).unlink(), "index_missing"),
    "a line of the index removed": (lambda f: lines(f / NAME, lambda ls: [*ls[:2], *ls[3:]]), "index_damaged"),
    "a line of the index changed": (
        lambda f: lines(f / NAME, lambda ls: [ls[0], ls[1].replace(b"driver", b"drover"), *ls[2:]]), "index_damaged",
    ),
    "a seal without a length": (_rewrite_index(b'"bytes":', b'"bytes":null,"was":'), "index_damaged"),
    "a seal with a length in words": (_rewrite_index(b'"bytes":', b'"bytes":"all","was":'), "index_damaged"),
    "a segment in numbers": (_rewrite_index(b'"segment":"', b'"segment":7,"was":"'), "index_damaged"),
    "an empty index": (lambda f: (f / NAME).write_bytes(b""), "index_cut"),
    "the end of the index cut off": (lambda f: lines(f / NAME, lambda ls: ls[:4]), "index_cut"),
    "a garbled index": (lambda f: lines(f / NAME, lambda ls: [*ls[:3], b"\xff\xfe\n", *ls[3:]]), "index_damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILE_DAMAGE)
def test_files_that_are_gone_copied_or_foreign_are_found(folder: Path, case: str) -> None:
    damage, code = FILE_DAMAGE[case]
    damage(folder)
    assert code in codes(folder)


@pytest.mark.parametrize("case", ["a copy", "segments of another study", "a renamed segment"])
def test_what_is_copied_foreign_or_renamed_does_not_change_the_costs(folder: Path, case: str) -> None:
    before = read_ledger(folder).records
    FILE_DAMAGE[case][0](folder)
    now = read_ledger(folder).records
    assert [r | {"segment": ""} for r in now] == [r | {"segment": ""} for r in before]


def test_what_macos_leaves_beside_each_file_is_no_segment(folder: Path) -> None:
    before = read_ledger(folder)
    for path in segments_in(folder):
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000))
    assert read_ledger(folder) == before
    assert codes(folder) == set()


def test_an_index_that_is_made_again_says_so_for_ever(folder: Path) -> None:
    (folder / NAME).unlink()
    segment(folder, "worker-0").unlink()
    write(folder, "s3", 3000, ("u",))
    assert codes(folder) == {"index_rebuilt"}
    assert {e["segment"] for e in json.loads((folder / NAME).read_text().splitlines()[0])["adopted"]}


def test_a_torn_end_of_the_index_is_no_damage_and_is_mended_by_the_next_writer(folder: Path) -> None:
    with (folder / NAME).open("ab") as file:
        file.write(b'{"kind":"segm')
    assert codes(folder) == set()
    write(folder, "s3", 3000, ("u",))
    assert codes(folder) == set()


class TestOldLedgers:
    """Format 1 has neither chains nor an index."""

    def old(self, folder: Path, study: str = "a", session: str = "s1") -> Path:
        folder.mkdir(exist_ok=True)
        return fine_study(folder, study, session)

    def test_it_is_clean_as_it_is(self, tmp_path: Path) -> None:
        self.old(tmp_path / "l")
        assert codes(tmp_path / "l") == set()

    def test_a_copied_segment(self, tmp_path: Path) -> None:
        path = self.old(tmp_path / "l")
        shutil.copy(path, path.with_name("zz.jsonl"))
        assert codes(tmp_path / "l") == {"segment_duplicated"}

    def test_two_studies_in_one_folder(self, tmp_path: Path) -> None:
        self.old(tmp_path / "l")
        self.old(tmp_path / "l", "b", "s2")
        assert "studies_mixed" in codes(tmp_path / "l")

    @pytest.mark.parametrize("damage", ["unlink", "cut", "change"])
    def test_once_a_newer_session_was_run_they_are_watched_too(self, tmp_path: Path, damage: str) -> None:
        path = self.old(tmp_path / "l")
        write(tmp_path / "l", "s2", 90_000, ("r",))
        assert codes(tmp_path / "l") == set()
        if damage == "unlink":
            path.unlink()
        else:
            whole = path.read_bytes()
            path.write_bytes(whole[:-200] if damage == "cut" else whole.replace(b'"wall_clock"', b'"fall_clock"'))
        assert codes(tmp_path / "l") & {"segment_missing", "segment_cut", "segment_changed"}


class TestLost:
    def test_no_folder(self, tmp_path: Path) -> None:
        assert "missing or empty" in str(lost_ledger(tmp_path / "ledger"))

    def test_all_segments_gone(self, folder: Path) -> None:
        for path in segments_in(folder):
            path.unlink()
        assert "lost all of its 6 segments" in str(lost_ledger(folder, begun=False))

    def test_a_study_that_was_cut_off_before_it_began(self, tmp_path: Path) -> None:
        open_index(tmp_path)
        assert lost_ledger(tmp_path, begun=False) is None
        assert "cut off before it began" in str(lost_ledger(tmp_path))

    def test_one_with_segments(self, folder: Path) -> None:
        assert lost_ledger(folder) is None


def test_attempts_of_one_process_share_a_segment(tmp_path: Path) -> None:
    for n in range(5):
        with shared_writer(tmp_path, "s", "worker") as ledger:
            ledger.append(Kind.HEARTBEAT, attempt=f"a{n}")
    assert len(segments_in(tmp_path)) == 1
    with shared_writer(tmp_path, "s2", "worker") as ledger:
        ledger.append(Kind.HEARTBEAT, attempt="b")
    assert len(segments_in(tmp_path)) == 2
    assert len(read_ledger(tmp_path).records) == 8


def test_attempts_at_the_same_time_have_a_segment_each(tmp_path: Path) -> None:
    with shared_writer(tmp_path, "s", "worker") as one, shared_writer(tmp_path, "s", "worker") as two:
        assert one.path != two.path


def test_unknown_newer_rules_are_refused_even_where_damage_is_looked_for(tmp_path: Path) -> None:
    line = '{"kind":"segment_opened","t":1,"rules":99,"session":"s","writer":"w","host":"h","pid":1}\n'
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(LedgerError, match="cost rules 99, this program knows 1 to 2; it takes the version"):
        read_ledger(tmp_path, strict=False)


def test_a_newer_format_is_refused_even_where_damage_is_looked_for(tmp_path: Path) -> None:
    line = '{"kind":"segment_opened","t":1,"rules":2,"session":"s","writer":"w","host":"h","pid":1,"format":3}\n'
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(LedgerError, match="format 3 of a ledger, this program knows 1 to 2; it takes the version"):
        read_ledger(tmp_path, strict=False)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'},"written_t"', b'},"looked_t":null,"written_t"', "looked_t must be Unix seconds"),
        (b'"segments":', b'"segments":"all","were":', "segments must be a whole number"),
        (b'"environment":{', b'"environment":[],"was":{', "environment must be an object"),
        (b'"kind":"session_closed"', b'"kind":"' + b"x" * 1000 + b'"', "unknown kind 'xxx"),
    ],
)
def test_damaged_lines_of_the_driver_are_found(folder: Path, old: bytes, new: bytes, says: str) -> None:
    path = segment(folder, "driver")
    text = path.read_bytes()
    at = text.index(old, text.index(b"allocation_opened") if old.startswith(b"}") else 0)
    path.write_bytes(text[:at] + text[at:].replace(old, new, 1))
    (found,) = [f for f in read_ledger(folder, strict=False).findings if f.code == "garbled"]
    assert says in found.message
    assert len(found.message) < 700


def test_a_renamed_segment_is_not_called_missing(folder: Path) -> None:
    FILE_DAMAGE["a renamed segment"][0](folder)
    assert codes(folder) == {"segment_renamed"}
