"""Properties of the tar writer: a function of its entries alone, faithful, strict about paths."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.archive import Entry, EntryKind, with_parents, write_tar

# Names that tar finds hard: long ones, non-ASCII ones, spaces and line breaks.
NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8),
    st.sampled_from(["a" * 101, "ü" * 60, "x" * 255, " ", "a\nb", ".hidden", "..."]),
).filter(lambda name: name not in (".", ".."))  # fmt: skip
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@st.composite
def entries(draw):
    """Entries that can stand beside one another: no two of one name, nothing below a file."""
    paths = draw(st.lists(PATHS, max_size=8, unique=True))
    folders = {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}
    made = []
    for path in paths:
        kinds = ["directory"] if path in folders else ["directory", "symlink", "file"]
        match draw(st.sampled_from(kinds)):
            case "directory":
                made.append(Entry.directory(path))
            case "symlink":
                made.append(Entry.symlink(path, draw(PATHS)))
            case "file":
                data = draw(st.binary(max_size=1500))
                made.append(Entry.of_bytes(path, data, executable=draw(st.booleans())))
    return made


def tar(members, mtime=0) -> bytes:
    stream = io.BytesIO()
    write_tar(stream, members, mtime=mtime)
    return stream.getvalue()


@given(entries(), st.randoms(use_true_random=False))
def test_order_of_entries_does_not_matter(members, random):
    shuffled = list(members)
    random.shuffle(shuffled)
    assert tar(shuffled) == tar(members)


@given(entries(), st.integers(0, 2**33))
def test_round_trip(members, mtime):
    known = {entry.path: entry for entry in with_parents(members)}
    with tarfile.open(fileobj=io.BytesIO(tar(members, mtime))) as archive:
        found = archive.getmembers()
        assert [member.name for member in found] == sorted(known, key=str.encode)
        for member in found:
            entry = known[member.name]
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == mtime
            match entry.kind:
                case EntryKind.DIRECTORY:
                    assert member.isdir()
                    assert member.mode == 0o755
                case EntryKind.SYMLINK:
                    assert member.issym()
                    assert member.linkname == entry.target
                case EntryKind.FILE:
                    assert member.isfile()
                    assert member.mode == (0o755 if entry.executable else 0o644)
                    assert entry.open is not None
                    assert archive.extractfile(member).read() == entry.open().read()


@given(entries())
def test_every_parent_stands_before_its_children(members):
    seen = set()
    for entry in with_parents(members):
        parent = entry.path.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(entry.path)


HOSTILE = st.one_of(
    PATHS.map(lambda path: f"/{path}"),
    PATHS.map(lambda path: f"../{path}"),
    PATHS.map(lambda path: f"{path}/.."),
    PATHS.map(lambda path: f"{path}/../x"),
    PATHS.map(lambda path: f"./{path}"),
    PATHS.map(lambda path: f"{path}/"),
    PATHS.map(lambda path: f"{path}//x"),
    PATHS.map(lambda path: f"{path}\0"),
    st.sampled_from(["", ".", "..", "/", "//"]),
)


@given(HOSTILE)
def test_hostile_paths_are_refused(path):
    with pytest.raises(ValueError, match="not a plain relative path"):
        Entry.of_bytes(path, b"")


@given(PATHS, NAMES)
def test_nothing_stands_below_a_file_or_a_link(path, name):
    for upper in (Entry.of_bytes(path, b""), Entry.symlink(path, "elsewhere")):
        with pytest.raises(ValueError, match="below"):
            with_parents([upper, Entry.of_bytes(f"{path}/{name}", b"")])


@given(PATHS)
def test_one_name_stands_for_one_entry(path):
    with pytest.raises(ValueError, match="two entries"):
        with_parents([Entry.of_bytes(path, b"1"), Entry.of_bytes(path, b"1")])
    assert [entry.path for entry in with_parents([Entry.directory(path), Entry.directory(path)])][
        -1
    ] == path
