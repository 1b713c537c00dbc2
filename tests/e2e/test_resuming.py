"""Registries whose answers to a Range are not the part that was asked for: a download that was cut goes on all the same."""

import pytest

from lab import raw
from lab.base import MiB, wait_until
from lab.scripted import Scripted, Shelf

pytestmark = pytest.mark.sanitized

NAME = "library/app"
DATA = b"".join(i.to_bytes(4, "big") * 1024 for i in range(3000))  # 11.7 MiB; no page is like another
CUT_AT = 5 * MiB


def part(first, last, says=None, status=206):
    return status, {"Content-Range": says or f"bytes {first}-{last}/{len(DATA)}"}, DATA[first : last + 1]


PARTS = {
    "the whole, as a 200": lambda at: (200, {}, DATA),
    "the whole, as a part": lambda at: part(0, len(DATA) - 1),
    "less than was asked for": lambda at: part(at, at + MiB),
    "a later part": lambda at: part(at + 1, len(DATA) - 1),
    "no Content-Range": lambda at: (206, {}, DATA[at:]),
    "another total": lambda at: part(at, len(DATA) - 1, f"bytes {at}-{len(DATA) - 1}/{len(DATA) + 5}"),
    "no total": lambda at: part(at, len(DATA) - 1, f"bytes {at}-{len(DATA) - 1}/*"),
    "several parts": lambda at: (206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x\r\n\r\n" + DATA[at:] + b"\r\n--x--\r\n"),
    "out of range, without a size": lambda at: (416, {}, b""),
    "out of range": lambda at: (416, {"Content-Range": f"bytes */{len(DATA)}"}, b""),
}


@pytest.fixture
def cold(bench):
    """Starts a registry that cuts the first download and then answers each Range with one of PARTS; and a central before it."""

    def start(how):
        shelf = Shelf()
        digest = shelf.blob(DATA)
        downloads = []

        def answer(r):
            if digest not in r.path or r.method != "GET":
                return shelf(r)
            downloads.append(r)
            if "range" in r.headers:
                return PARTS[how](int(r.headers["range"][len("bytes=") :].split("-")[0]))
            if len(downloads) == 1:
                return f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:CUT_AT]
            return 200, {}, DATA

        core = bench.central(("docker.io", bench.add(Scripted(answer)).url))
        core.digest = digest
        return core

    return start


@pytest.mark.parametrize("how", PARTS)
def test_a_cut_download_is_completed_whatever_a_range_is_answered_with(cold, how):
    core = cold(how)
    reply = raw.blob(core.port, NAME, core.digest)
    assert reply.status == 200 and reply.whole and reply.body == DATA
    wait_until(lambda: core.held(core.digest), "it is held")


@pytest.mark.parametrize("how", PARTS)
def test_a_range_of_a_cold_blob_is_right_whatever_its_source_answers_with(cold, how):
    core = cold(how)
    first = 9 * MiB
    reply = raw.blob(core.port, NAME, core.digest, Range=f"bytes={first}-{first + MiB - 1}")
    assert reply.status == 206 and reply.whole and reply.body == DATA[first : first + MiB]
