"""A disk that fails when it is told to: bad_disk.c, preloaded into a daemon of the release build."""

import struct

from .base import REPO, run

READ_FAILS, READ_LIES, OPEN_FAILS, SEND_FAILS, NO_INODES, READ_ONLY, FILL_FAILS, SYNC_FAILS, INDEX_FAILS, HASH_FAILS = range(1, 11)
FOR_EVER = 0xFFFFFFFF


class BadDisk:
    def __init__(self, folder):
        self.number, library = folder / "wish", folder / "bad_disk.so"
        run("gcc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, f"{REPO}/tests/e2e/lab/bad_disk.c", "-ldl")
        self.be(0)
        self.env = {"LD_PRELOAD": str(library), "BAD_DISK": str(self.number)}

    def be(self, what, times=FOR_EVER):
        with open(self.number, "r+b" if self.number.exists() else "wb") as f:
            f.write(struct.pack("=III", what, times, 0))
