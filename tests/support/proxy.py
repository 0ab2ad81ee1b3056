"""Proxy: a TCP proxy in front of a server that can be told to fail in the ways networks fail."""
import contextlib
import selectors
import socket
import struct
import threading

CHUNK = 256 * 1024


class Proxy:
    """Forwards 127.0.0.1:port to the target until told otherwise. One thread serves all connections.

    drop()        resets every connection now; new ones work
    refuse()      the same, and resets new ones until restore()
    stall()       keeps connections open and moves no byte, in either direction: a black hole, until restore()
    half_close()  says 'end of stream' to the client on each connection, and goes on reading from it
    """

    def __init__(self, target_port, target_host="127.0.0.1"):
        self.target = (target_host, target_port)
        self.forwarded = 0  # bytes from server to client, to cut in the middle of something
        self._mode = "forward"
        self._peers = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._commands = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def drop(self):
        self._tell("drop")

    def refuse(self):
        self._tell("refuse")

    def stall(self):
        self._tell("stall")

    def restore(self):
        self._tell("restore")

    def half_close(self):
        self._tell("half_close")

    def close(self):
        self._tell("close")
        self._thread.join(timeout=10)

    @property
    def connections(self):
        return len(self._peers) // 2

    def _tell(self, command):
        """Hands a command to the serving thread, and returns when it is in force."""
        done = threading.Event()
        with self._lock:
            self._commands.append((command, done))
        self._wake_writer.send(b"!")
        done.wait(timeout=10)

    # The serving thread ----------------------------------------------------------------------------------

    def _serve(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake_reader:
                    if not self._obey():
                        return
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._forward(key.fileobj)

    def _obey(self):
        self._wake_reader.recv(64)
        with self._lock:
            commands, self._commands = self._commands, []
        for command, done in commands:
            getattr(self, f"_do_{command}")()
            done.set()
            if command == "close":
                return False
        return True

    def _do_drop(self):
        for one in list(self._peers):
            self._reset(one)

    def _do_refuse(self):
        self._mode = "refuse"
        self._do_drop()

    def _do_stall(self):
        self._mode = "stall"
        for one in self._peers:
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)

    def _do_restore(self):
        if self._mode == "stall":
            for one in self._peers:
                self._selector.register(one, selectors.EVENT_READ)
        self._mode = "forward"

    def _do_half_close(self):
        for one, (_, is_client) in self._peers.items():
            if is_client:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_WR)

    def _do_close(self):
        self._do_drop()
        self._listener.close()
        self._selector.close()

    def _accept(self):
        client, _ = self._listener.accept()
        if self._mode == "refuse":
            self._abort(client)
            return
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            self._abort(client)
            return
        for one, other, is_client in ((client, server, True), (server, client, False)):
            one.settimeout(30)
            self._peers[one] = (other, is_client)
            if self._mode != "stall":
                self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one):
        other, is_client = self._peers[one]
        try:
            data = one.recv(CHUNK)
            if not data:
                self._reset(one)
                return
            other.sendall(data)
            if not is_client:
                self.forwarded += len(data)
        except OSError:
            self._reset(one)

    def _reset(self, one):
        if one not in self._peers:
            return
        other, _ = self._peers[one]
        for end in (one, other):
            self._peers.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            self._abort(end)

    @staticmethod
    def _abort(one):
        """Closes with a reset rather than an orderly end."""
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
