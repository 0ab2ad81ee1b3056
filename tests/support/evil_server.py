"""EvilServer: a server in front of a real one, which behaves as long as it must and then breaks the protocol in one of
many ways: at the start, in an answer, in a COPY, or in the replication stream (PostgreSQL documentation: "Message
Formats")."""
import contextlib
import socket
import struct
import threading

SSL, GSS, CANCEL = 80877103, 80877104, 80877102


def message(kind, body, length=None):
    return kind + struct.pack("!I", len(body) + 4 if length is None else length & 0xffffffff) + body


def error(text, code="XX000"):
    return message(b"E", b"SERROR\0VERROR\0C" + code.encode() + b"\0M" + text + b"\0D" + text + b"\0H" + text + b"\0\0")


def row_description(names):
    return message(b"T", struct.pack("!H", len(names)) + b"".join(
        name + b"\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0) for name in names))


def data_row(values, count=None):
    return message(b"D", struct.pack("!H", len(values) if count is None else count)
                   + b"".join(struct.pack("!i", len(value)) + value for value in values))


def wal(payload, position=1):
    """A message of the replication stream."""
    return message(b"d", b"w" + struct.pack("!QQQ", position, position, 0) + payload)


def relation(oid, columns, name=b"flood"):
    return (b"R" + struct.pack("!I", oid) + b"public\0" + name + b"\0d" + struct.pack("!H", columns)
            + b"".join(b"\1column_%d\0" % n + struct.pack("!Ii", 25, -1) for n in range(columns)))


def begin(xid=7, position=1 << 40):
    return b"B" + struct.pack("!QqI", position, 0, xid)


NOTICE = message(b"N", b"SNOTICE\0C00000\0M" + b"x" * 500 + b"\0\0")


class Evil:
    """What it does to a client once the moment has come: methods, one for each way. Each ends by returning."""

    def __init__(self, server, client):
        self.server = server
        self.client = client
        self.gone = server.gone

    def send(self, data):
        self.client.sendall(data)
        self.server.sent += len(data)

    def forever(self, data, limit=700 << 20):
        """A client that takes it all gets so many bytes, then silence."""
        data *= max(1, (1 << 20) // len(data))
        sent = 0
        while sent < limit and not self.gone.is_set():
            self.send(data)
            sent += len(data)
        self.silence()

    def silence(self):
        self.server.said_all.set()
        self.gone.wait(300)

    # At any point ------------------------------------------------------------------------------------------

    def garbage(self):
        self.forever(bytes(range(256)) * 16, limit=1 << 20)

    def close(self):
        pass

    def close_inside(self):
        self.send(message(b"d", b"w" + b"\0" * 20, 1000))

    def half_message(self):
        self.send(message(b"D", b"\0\1", 1000))
        self.silence()

    def notices(self):
        self.forever(NOTICE, limit=1 << 40)

    def negative_length(self):
        self.send(message(b"d", b"", -5))
        self.silence()

    def short_length(self):
        """Less than the length itself takes, so that a body would have no end; and a value that leads far beyond."""
        self.send(message(b"d", b"w" + struct.pack("!QQQ", 1, 1, 0) + b"I" + struct.pack("!IcHcI", 4711, b"N", 2, b"t",
                                                                                         0x7fffffff), 3))
        self.silence()

    def unknown_message(self):
        self.send(message(b"!", b"what"))
        self.silence()

    def huge_error(self):
        """To one client alone: the bound on it is one for each connection."""
        if self.server.huge_error_sent.acquire(blocking=False):
            self.send(message(b"E", b"SERROR\0CXX000\0M", 0x3fffffff))
            self.forever(b"x" * 4096)
        else:
            self.gone.wait(300)

    # At the start ------------------------------------------------------------------------------------------

    def half_authentication(self):
        self.send(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
        self.silence()

    # In an answer ------------------------------------------------------------------------------------------

    def endless_rows(self):
        self.send(row_description([b"a"]))
        self.forever(data_row([b"x" * 1000]))

    def wrong_columns(self):
        self.send(row_description([b"a"]) + data_row([b"1", b"2", b"3"]) + message(b"C", b"SELECT 1\0")
                  + message(b"Z", b"I"))
        self.silence()

    def negative_value(self):
        self.send(row_description([b"a"]) + message(b"D", struct.pack("!Hi", 1, -77)) + message(b"C", b"SELECT 1\0")
                  + message(b"Z", b"I"))
        self.silence()

    def no_rows(self):
        self.send(row_description([b"a"]) + message(b"C", b"SELECT 0\0") + message(b"Z", b"I"))
        self.silence()

    def escapes_in_error(self):
        self.send(error(b"\x1b]0;owned\x07\x1b[2J \xc2\x9b31m \xe2\x80\xae \xff end") + message(b"Z", b"I"))
        self.silence()

    # In a COPY or in the stream --------------------------------------------------------------------------------

    def huge_row(self):
        self.send(message(b"d", b"w", 0x3fffffff))
        self.forever(b"\0" * 4096)

    def two_gigabytes(self):
        self.send(message(b"d", b"w", 0x7fffffff))
        self.forever(b"\0" * 4096)

    def copy_garbage(self):
        self.send(message(b"d", b"PGCOPY\n\xff\r\n\0" + b"\0" * 8))
        self.forever(message(b"d", b"\0\7garbage\n"), limit=10 << 20)

    def stream_of_unknown(self):
        self.send(message(b"d", b"q" + b"\0" * 30))
        self.silence()

    def unknown_change(self):
        self.send(wal(b"\xee" * 30))
        self.silence()

    def wrong_tuple(self):
        """A row with more columns than its table, and lengths below zero."""
        self.send(wal(begin()) + wal(relation(4711, 1)) + wal(
            b"I" + struct.pack("!I", 4711) + b"N" + struct.pack("!H", 30000) + b"t" + struct.pack("!i", -9)))
        self.silence()

    def cut_relation(self):
        self.send(wal(begin()) + wal(relation(4711, 5)[:-7]))
        self.silence()

    def relations(self):
        """64,000 tables of 200 columns."""
        self.send(wal(begin()))
        one = wal(relation(0, 200))
        at = one.index(b"R\0\0\0\0") + 1
        for oid in range(100_000, 164_000):
            self.send(one[:at] + struct.pack("!I", oid) + one[at + 4:])
        self.silence()

    def transactions(self):
        """Thousands that are streamed while they are in progress, none of which ends."""
        described = relation(4711, 1)
        insert = struct.pack("!I", 4711) + b"N" + struct.pack("!Hci", 1, b"t", 60_000) + b"x" * 60_000
        for xid in range(1000, 8000):
            number = struct.pack("!I", xid)
            self.send(wal(b"S" + number + b"\1") + wal(b"R" + number + described[1:]) + wal(b"I" + number + insert)
                      + wal(b"E"))
        self.silence()


class EvilServer:
    """Listens on 127.0.0.1:port; forwards until the moment, then does `how` to that client.

    at        'start', 'answer' (the n-th with rows), 'copy', 'stream'
    cancels   False: a CancelRequest is swallowed, and its connection stays open
    reached   set once it was done to somebody
    said_all  set once nothing more is to be sent
    sent      bytes of what is wrong that were taken
    gone      set when all is over
    """

    def __init__(self, target_port, at, how, nth=6, cancels=True):
        self.target_port, self.at, self.how, self.nth, self.cancels = target_port, at, how, nth, cancels
        self.reached = threading.Event()
        self.cancelled = threading.Event()
        self.said_all = threading.Event()
        self.sent = 0
        self.gone = threading.Event()
        self.huge_error_sent = threading.Lock()
        self._answers = 0
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gone.set()
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._quietly, args=(self._serve, client), daemon=True).start()

    @staticmethod
    def _quietly(work, *arguments):
        with contextlib.suppress(OSError, ValueError):
            work(*arguments)

    @staticmethod
    def _exactly(one, size):
        data = b""
        while len(data) < size:
            part = one.recv(size - len(data))
            if not part:
                raise OSError("the end")
            data += part
        return data

    def _serve(self, client):
        while True:
            head = self._exactly(client, 8)
            length, code = struct.unpack("!II", head)
            if code not in (SSL, GSS):
                break
            client.sendall(b"N")
        start = head + self._exactly(client, length - 8)
        if code == CANCEL:
            self.cancelled.set()
            if not self.cancels:
                self.gone.wait(300)
                return
        if self.at == "start" and code != CANCEL:
            return self._do_evil(client)
        server = socket.create_connection(("127.0.0.1", self.target_port))
        self._sockets.append(server)
        server.sendall(start)
        threading.Thread(target=self._quietly, args=(self._to_server, client, server), daemon=True).start()
        self._to_client(client, server)
        client.close()

    @staticmethod
    def _to_server(client, server):
        while data := client.recv(1 << 16):
            server.sendall(data)
        server.close()

    def _to_client(self, client, server):
        pending = b""
        while data := server.recv(1 << 16):
            pending += data
            while len(pending) >= 5:
                kind, length = pending[:1], struct.unpack("!I", pending[1:5])[0] + 1
                if len(pending) < length:
                    break
                if self._is_the_moment(kind):
                    if kind != b"T":
                        client.sendall(pending[:length])
                    server.close()
                    return self._do_evil(client)
                client.sendall(pending[:length])
                pending = pending[length:]

    def _is_the_moment(self, kind):
        if self.at == "answer" and kind == b"T":
            self._answers += 1
            return self._answers >= self.nth
        return (self.at, kind) in (("copy", b"H"), ("stream", b"W"))

    def _do_evil(self, client):
        # What the client says meanwhile is taken, so that nobody waits for that.
        threading.Thread(target=self._quietly, args=(self._swallow, client), daemon=True).start()
        self.reached.set()
        try:
            getattr(Evil(self, client), self.how)()
        finally:
            self.said_all.set()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()

    @staticmethod
    def _swallow(client):
        while client.recv(1 << 16):
            pass
