"""An HTTP proxy between two nodes that holds each answer back until it is complete, as some middleboxes do, while `holding`. Otherwise it
passes on what comes."""

import socket
import threading

from .base import HOST
from .listener import Listener


class Holder(Listener):
    def __init__(self, port):
        super().__init__()
        self.target = port
        self.holding = True
        self.asked = []  # targets
        self.open = set()
        self.lock = threading.Lock()

    def stop(self):
        super().stop()
        with self.lock:
            for s in self.open:
                s.close()

    def serve(self, client):
        server = socket.create_connection((HOST, self.target))
        with self.lock:
            self.open |= {client, server}
        try:
            self.relay(client, server)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= {client, server}
            client.close()
            server.close()

    def relay(self, client, server):
        """One request on a connection: the other side ends it after its answer, so that the end shows that it is complete."""
        got = b""
        while b"\r\n\r\n" not in got:
            more = client.recv(65536)
            if not more:
                return
            got += more
        head, body = got.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        self.asked.append(lines[0].split(b" ")[1].decode())
        length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += client.recv(65536)
        lines = [line for line in lines if not line.lower().startswith((b"connection:", b"expect:"))] + [b"Connection: close"]
        server.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        threading.Thread(target=self.end_with, args=(client, server), daemon=True).start()
        held = b""
        while data := server.recv(65536):
            held += data
            if not self.holding:
                client.sendall(held)
                held = b""
        client.sendall(held)

    @staticmethod
    def end_with(client, server):
        """Whoever asked has gone: so does its question."""
        try:
            while client.recv(65536):
                pass
            server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
