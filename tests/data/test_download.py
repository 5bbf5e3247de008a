"""Downloads appear whole and checked or not at all, and go on from where they stopped: against a server in a thread."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faulty_server import Server

from tsfm.data.download import fetch
from tsfm.errors import DataError

CONTENT = np.random.default_rng(3).bytes(700_001)
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(CONTENT) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(5)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sets" / "set.csv"


def left(target: Path) -> list[str]:
    """Names of what lies in the folder of the target."""
    return sorted(path.name for path in target.parent.glob("*")) if target.parent.exists() else []


def interrupt(server: Server, target: Path, size: int = 300_000) -> None:
    """Leave a part of `size` bytes, as a call does whose connection breaks and stays away."""
    server.stops_at = [size, 0]
    with pytest.raises(DataError, match="stopped in the middle"):
        fetch(server.url, target, HASH)
    server.stops_at = []
    assert (target.parent / "set.csv.part").read_bytes() == CONTENT[:size]


def test_a_file_is_fetched_into_a_folder_that_is_made_for_it_and_nothing_else_stays(server, target):
    assert fetch(server.url, target, HASH.upper()) == target
    assert target.read_bytes() == CONTENT
    assert left(target) == ["set.csv"]


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    fetch(server.url, target, HASH)
    fetch(server.url, target, HASH)
    assert len(server.asked) == 1


def test_a_file_that_is_there_with_another_hash_is_left_alone_and_both_hashes_are_named(server, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(DataError, match=f"{hashlib.sha256(b'mine').hexdigest()} instead of {HASH}.*remove it"):
        fetch(server.url, target, HASH)
    assert target.read_bytes() == b"mine"


def test_a_dropped_connection_is_taken_up_again_at_the_byte_where_it_broke(server, target):
    server.stops_at = [300_000, 600_000]
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_a_connection_that_breaks_for_good_leaves_a_part_and_no_file_and_the_next_call_goes_on(server, target):
    interrupt(server, target)
    assert left(target) == ["set.csv.part", "set.csv.part.from"]
    server.asked.clear()
    fetch(server.url, target, HASH)
    assert server.asked == ["bytes=300000-"]
    assert target.read_bytes() == CONTENT
    assert left(target) == ["set.csv"]


@pytest.mark.parametrize("honoured", [True, False], ids=["If-Range obeyed", "If-Range ignored"])
def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server, target, honoured):
    interrupt(server, target)
    server.content, server.tag, server.tag_honoured = CONTENT[::-1], '"two"', honoured
    fetch(server.url, target, hashlib.sha256(server.content).hexdigest())
    assert target.read_bytes() == CONTENT[::-1]


def test_a_server_that_knows_no_ranges_starts_again(server, target):
    interrupt(server, target)
    server.ranges = False
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_from(server, target):
    interrupt(server, target)
    server.asked.clear()
    fetch(server.url + "&mirror=2", target, HASH)
    assert server.asked == [None]


def test_a_part_without_validator_is_gone_on_from_only_if_the_hash_is_known(server, target):
    server.tag = ""
    interrupt(server, target)
    server.asked.clear()
    with pytest.warns(UserWarning, match="recorded"):
        fetch(server.url, target)
    assert server.asked == [None]
    target.unlink()
    interrupt(server, target)
    server.asked.clear()
    fetch(server.url, target, HASH)
    assert server.asked == ["bytes=300000-"]


def test_a_part_that_is_whole_already_needs_no_more_bytes(server, target):
    interrupt(server, target)
    (target.parent / "set.csv.part").write_bytes(CONTENT)
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_begun_again(server, target):
    interrupt(server, target)
    (target.parent / "set.csv.part").write_bytes(CONTENT + b"more")
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_deletes_what_came_and_names_both(server, target):
    with pytest.raises(DataError, match=f"sha256 {HASH} instead of {'0' * 64}.*deleted"):
        fetch(server.url, target, "0" * 64)
    assert left(target) == []


def test_a_file_without_length_is_taken_as_it_comes(server, target):
    server.length = False
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT


def test_an_empty_file_is_a_file(server, target):
    server.content = b""
    fetch(server.url, target, hashlib.sha256(b"").hexdigest())
    assert left(target) == ["set.csv"]


def test_the_first_hash_is_recorded_with_a_warning_and_compared_ever_after(server, target):
    with pytest.warns(UserWarning, match=f"{HASH} is recorded in .*set.csv.sha256") as caught:
        fetch(server.url, target)
    assert caught[0].filename == __file__
    assert (target.parent / "set.csv.sha256").read_text() == f"{HASH}  set.csv\n"
    assert fetch(server.url, target) == target
    target.write_bytes(b"changed")
    with pytest.raises(DataError, match=f"instead of {HASH}.*remove set.csv.sha256"):
        fetch(server.url, target)
    target.unlink()
    server.content = b"changed too"
    with pytest.raises(DataError, match=f"instead of {HASH}"):
        fetch(server.url, target)
    assert left(target) == ["set.csv.sha256"]


def test_a_file_put_there_by_hand_is_recorded_like_a_download(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    with pytest.warns(UserWarning, match=HASH):
        fetch(server.url, target)
    assert server.asked == []


def test_an_answer_that_is_no_file_names_address_folder_and_name(server, target):
    server.status = 404
    with pytest.raises(DataError) as caught:
        fetch(server.url, target, HASH)
    message = str(caught.value)
    assert f"{server.url} answers 404 Not Found" in message
    assert f"put it into {target.parent} as set.csv" in message
    assert left(target) == []


def test_an_address_that_nobody_answers_says_what_to_do_by_hand(server, target):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=r"cannot be reached \(.*refused.*by hand and put it into .* as set.csv"):
        fetch(url, target, HASH)


def test_a_file_address_is_copied_and_checked(tmp_path, target):
    source = tmp_path / "a b.csv"
    source.write_bytes(CONTENT)
    fetch(source.as_uri(), target, HASH)
    assert target.read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"cannot be reached.*absent.csv"):
        fetch((tmp_path / "absent.csv").as_uri(), target.with_name("absent.csv"), HASH)


@pytest.mark.parametrize("url", ["http://example.org/set.csv", "ftp://example.org/set.csv", "set.csv", "data:,1"])
def test_an_address_that_is_not_safe_is_refused(url, target):
    with pytest.raises(DataError, match="https"):
        fetch(url, target, HASH)
    assert left(target) == []


@pytest.mark.parametrize("location", ["http://example.org/set.csv", "file:///etc/hostname"])
def test_a_redirection_to_an_address_that_is_not_safe_is_refused(server, target, location):
    server.status, server.location = 302, location
    with pytest.raises(DataError):
        fetch(server.url, target, HASH)
    assert left(target) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are POSIX")
def test_a_disk_that_is_full_leaves_a_part_that_is_gone_on_from(server, target):
    """The limit on the size of files stands for a full disk: both are an error of `write`."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"set.csv cannot be .*written.*make room.*400000 bytes are kept"):
            fetch(server.url, target, HASH)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(target) == ["set.csv.part", "set.csv.part.from"]
    fetch(server.url, target, HASH)
    assert server.asked == [None, "bytes=400000-"]
    assert target.read_bytes() == CONTENT


def test_a_call_that_is_interrupted_goes_on_later(server, target):
    server.pause = 0.02
    code = "import sys; from tsfm.data.download import fetch; fetch(sys.argv[1], sys.argv[2], sys.argv[3])"
    process = subprocess.Popen([sys.executable, "-c", code, server.url, str(target), HASH])
    part = target.parent / "set.csv.part"
    deadline = time.monotonic() + 20
    while (not part.exists() or not part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not target.exists()
    assert 0 < part.stat().st_size < len(CONTENT)
    fetch(server.url, target, HASH)
    assert target.read_bytes() == CONTENT
    assert server.asked[0] is None
    assert server.asked[1] is not None


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_processes_that_want_the_same_file_fetch_it_once(server, target):
    server.pause = 0.02
    code = "import sys; from tsfm.data.download import fetch; fetch(sys.argv[1], sys.argv[2], sys.argv[3])"
    command = [sys.executable, "-c", code, server.url, str(target), HASH]
    processes = [subprocess.Popen(command, env=os.environ) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert target.read_bytes() == CONTENT
    assert server.asked == [None]
    assert left(target) == ["set.csv"]


def test_a_bar_counts_the_bytes_that_arrive(server, target, capfd):
    fetch(server.url, target, HASH, progress=True)
    assert "download set.csv" in capfd.readouterr().err
