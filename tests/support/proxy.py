"""Proxy: a TCP proxy in front of a server that can be told to fail in the ways networks fail."""
import contextlib
import socket
import struct
import threading

CHUNK = 256 * 1024


class Proxy:
    """Forwards 127.0.0.1:port to the target until told otherwise.

    drop()        resets every connection now; new ones work
    refuse()      the same, and resets new ones until restore()
    stall()       keeps connections open and moves no byte, in either direction: a black hole, until restore()
    stall_at(x)   the same, from the moment on at which a client says x
    half_close()  says 'end of stream' to the client on each connection, and goes on reading from it
    """

    def __init__(self, target_port, target_host="127.0.0.1"):
        self.target = (target_host, target_port)
        self.forwarded = 0  # bytes from server to client, to cut in the middle of something
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._stalls_at = None
        self._pairs = set()  # (client, server)
        self._half_closed = set()  # clients that were told 'end of stream'; what would follow is discarded
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def flowing(self):
        return self._flowing.is_set()

    def drop(self):
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def refuse(self):
        self._refusing = True
        self.drop()

    def stall(self):
        self._flowing.clear()

    def stall_at(self, words):
        self._stalls_at = words

    def restore(self):
        self._refusing = False
        self._stalls_at = None
        self._flowing.set()

    def half_close(self):
        with self._lock:
            for client, _ in self._pairs:
                self._half_closed.add(client)
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)

    def close(self):
        self.refuse()
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._refusing:
                    raise OSError("refused on purpose")
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                self._abort(client)
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._forward, args=(pair, source, sink), daemon=True).start()

    def _forward(self, pair, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._stalls_at is not None and source is pair[0] and self._stalls_at in data:
                    self.stall()
                self._flowing.wait()
                if sink not in self._half_closed:
                    sink.sendall(data)
                if source is pair[1]:
                    self.forwarded += len(data)
        self._end(pair)

    def _end(self, pair):
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.remove(pair)
            self._half_closed.discard(pair[0])
        for end in pair:
            self._abort(end)

    @staticmethod
    def _abort(one):
        """Ends with a reset rather than in order. shutdown wakes a thread that waits in recv, close would not."""
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.shutdown(socket.SHUT_RDWR)
        one.close()
