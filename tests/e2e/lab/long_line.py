"""A line with a rate, a delay and a buffer each way, in user space, since not every kernel has netem: frames are read from one end and written
to the other when they would have arrived."""

import heapq
import select
import socket
import threading
import time

from .base import run
from .branches import Network

_ALL_PROTOCOLS = 3
_PACKET_OUTGOING = 4
_BYTES_MAX = 65536


class Way:
    """One way of the line: what comes out of `source` goes into `sink`."""

    def __init__(self, source, sink, rate, delay_s, buffer):
        self.source, self.sink, self.rate, self.delay_s, self.buffer = source, sink, rate, delay_s, buffer
        self.free = 0.0  # when the last frame has left
        self.bytes = self.dropped = 0

    def waiting(self):
        """Bytes in the buffer."""
        return max(self.free - time.monotonic(), 0.0) * self.rate / 8

    def take(self, frame, now):
        """When it arrives; None: the buffer is full."""
        waits = max(self.free - now, 0.0)
        if waits * self.rate / 8 > self.buffer:
            self.dropped += 1
            return None
        self.free = now + waits + len(frame) * 8 / self.rate
        self.bytes += len(frame)
        return self.free + self.delay_s


class LongLine:
    """Between the network of the tests (address .1) and the network `far` (.2, its default route). Rates in bits a second, buffers in bytes."""

    def __init__(self, far, number, down, up, delay_s, buffer):
        self.middle = Network(f"line-{number}")
        self.near_address, self.far_address = f"198.19.{number}.1", f"198.19.{number}.2"
        self.over = threading.Event()
        self.device = f"line{number}"
        run("ip", "link", "add", self.device, "type", "veth", "peer", "name", "near", "netns", self.middle.name)
        self.middle.ip("link", "add", "far", "type", "veth", "peer", "name", "wan", "netns", far.name)
        for end in ("near", "far"):
            self.middle.ip("link", "set", end, "up")
        run("ip", "address", "add", f"{self.near_address}/30", "dev", self.device)
        run("ip", "link", "set", self.device, "up")
        far.ip("address", "add", f"{self.far_address}/30", "dev", "wan")
        far.ip("link", "set", "wan", "up")
        far.ip("route", "add", "default", "via", self.near_address)
        whole = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]  # frames as on a wire, with their checksums
        run("ethtool", "-K", self.device, *whole)
        far.exec("ethtool", "-K", "wan", *whole)
        with self.middle.inside():
            near, other = self._open("near"), self._open("far")
        self.down, self.up = Way(near, other, down, delay_s, buffer), Way(other, near, up, delay_s, buffer)
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    @staticmethod
    def _open(device):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        s.bind((device, _ALL_PROTOCOLS))
        s.setblocking(False)
        return s

    def _carry(self):
        ways, queue, count = {w.source: w for w in (self.down, self.up)}, [], 0
        while not self.over.is_set():
            now = time.monotonic()
            while queue and queue[0][0] <= now:
                _, _, sink, frame = heapq.heappop(queue)
                try:
                    sink.send(frame)
                except OSError:
                    pass  # a lost frame
            left = queue[0][0] - now if queue else 0.1
            for source in select.select(list(ways), [], [], min(max(left, 0), 0.1))[0]:
                for frame in self._frames(source):
                    at = ways[source].take(frame, time.monotonic())
                    if at is not None:
                        count += 1
                        heapq.heappush(queue, (at, count, ways[source].sink, frame))

    @staticmethod
    def _frames(source):
        """All that have come in."""
        while True:
            try:
                frame, (_, _, kind, *_) = source.recvfrom(_BYTES_MAX)
            except OSError:
                return
            if kind != _PACKET_OUTGOING:
                yield frame

    def stop(self):
        self.over.set()
        self.thread.join()
        for way in (self.down, self.up):
            way.source.close()
        run("ip", "link", "del", self.device, check=False)
        self.middle.stop()
