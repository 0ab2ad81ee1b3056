"""ControlSocket: what a running tailrace says of itself, by the protocol in docs/status.md."""
import json
import socket


class ControlSocket:
    """The running tailrace's own answer to `status`, without a process for each question."""

    def __init__(self, path):
        self.path = str(path)

    def status(self):
        """None while nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(self.path)
                link.sendall(b'{"command":"status"}\n')
                answer = b""
                while not answer.endswith(b"\n"):
                    part = link.recv(65536)
                    if not part:
                        return None
                    answer += part
        except OSError:
            return None
        return json.loads(answer).get("status")
