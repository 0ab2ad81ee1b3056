"""Pooler: what PgBouncer does with a startup parameter that it does not know: it refuses the connection, by name."""
import contextlib
import socket
import struct

from proxy import Proxy

NO_ENCRYPTION = (80877103, 80877104)  # requests for TLS and GSSAPI, which come before the startup packet


class Pooler(Proxy):
    """Forwards what does not say `options`; `refused` counts what does. As one that pools sessions, and whose sessions
    are all new."""

    refused = 0

    def _forward(self, pair, source, sink):
        client, server = pair
        if source is client:
            with contextlib.suppress(OSError, struct.error):
                if not self._begin(client, server):
                    self._end(pair)
                    return
        super()._forward(pair, source, sink)

    def _begin(self, client, server):
        while True:
            length, code = struct.unpack("!ii", self._receive(client, 8))
            rest = self._receive(client, length - 8)
            if code in NO_ENCRYPTION:
                client.sendall(b"N")
                continue
            if b"options\0" in rest:
                self.refused += 1
                said = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                client.sendall(b"E" + struct.pack("!i", len(said) + 4) + said)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1024):  # a reset would overtake what was said
                    pass
                return False
            server.sendall(struct.pack("!ii", length, code) + rest)
            return True

    @staticmethod
    def _receive(client, count):
        data = b""
        while len(data) < count and (more := client.recv(count - len(data))):
            data += more
        return data
