"""A TCP relay between two nodes that counts, records request lines and can be cut: so a test knows what crosses the link without relying on
either end."""

import re
import socket
import threading

from .base import HOST, free_port

# Not at a line's start: the body of the request before need not end with one.
_LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (/\S*) HTTP/1\.1\r\n")


class Tap:
    """Listens on its own port and carries every connection to `target`. up: bytes towards the target; down: bytes that came back."""

    def __init__(self, target, host=HOST):
        self.target, self.host = target, host
        self.kept = set()  # pairs whose server side stays open
        self.port = free_port()
        self.up = self.down = 0
        self.heads = b""  # all that clients said: small, since bodies go the other way
        self.connected = 0
        self.closed = False
        self.pairs = set()
        self.lock = threading.Lock()
        self.listener = None

    def start(self):
        self.listener = socket.create_server((HOST, self.port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connected += 1
            try:
                if self.closed:
                    raise OSError("cut")
                server = socket.create_connection((self.host, self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.pairs.add((client, server))
            threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, source, sink, upwards):
        try:
            while data := source.recv(256 * 1024):
                with self.lock:
                    if upwards:
                        self.up += len(data)
                        self.heads += data
                    else:
                        self.down += len(data)
                sink.sendall(data)
        except OSError:
            pass
        if (source, sink) in self.kept or (sink, source) in self.kept:
            return
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.pairs.discard((source, sink))

    def requests(self, about=""):
        """(method, target) of every request seen whose target holds `about`."""
        with self.lock:
            return [(m[1].decode(), m[2].decode()) for m in _LINE.finditer(self.heads) if about in m[2].decode()]

    def reset(self):
        with self.lock:
            self.up = self.down = 0
            self.heads = b""

    def cut(self):
        """The link is down: running connections break, new ones are closed at once."""
        self.closed = True
        for pair in list(self.pairs):
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def half_open(self):
        """Clients lose their connections, and the server hears nothing of it."""
        for client, server in list(self.pairs):
            self.kept.add((client, server))
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.pairs.clear()

    def mend(self):
        self.closed = False

    def stop(self):
        self.cut()
        for pair in self.kept:
            for s in pair:
                s.close()
        if self.listener:
            self.listener.close()
