"""Receiving and decoding a backlog, by tailrace and by what it is measured against."""
import json
import os
from dataclasses import dataclass
from pathlib import Path

from processes import ServerSide, run_timed

RECEIVE = Path(os.environ["BENCH_BUILD"]) / "bench/receive"
SLOT = "bench_reader"
STREAMING_RIVAL = "pg_recvlogical streaming"


@dataclass
class Reading:
    seconds: float
    cpu: float
    server_cpu: float
    resident: int = 0
    detail: dict = None


def host(server, transport):
    return str(server.home) if transport == "unix" else "127.0.0.1"


def pg_recvlogical(prepared, transport, binary=True, streaming=False):
    server = prepared.server
    command = [server.bin / "pg_recvlogical", "-h", host(server, transport), "-p", server.port,
               "-U", "postgres", "-d", prepared.database, "-S", SLOT, "--start", "--no-loop", "-f", "/dev/null",
               "-E", prepared.end, "-o", f"proto_version={2 if streaming else 1}", "-o", "messages=true",
               "-o", f"publication_names={prepared.publication}"]
    command += ["-o", "binary=true"] if binary else []
    return command + (["-o", "streaming=on"] if streaming else [])


def receive(mode, prepared, transport, binary=True):
    server = prepared.server
    command = [RECEIVE, mode, host(server, transport), server.port, prepared.database, SLOT,
               prepared.publication, prepared.end]
    return command + (["binary"] if binary else [])


def measure(prepared, reader, transport, binary=True):
    """Reads the whole backlog once. `reader`: pg_recvlogical, or a mode of bench/receive."""
    slots = prepared.slots
    slots.copy(prepared.original_slot, SLOT)
    if reader.startswith("pg_recvlogical"):
        command = pg_recvlogical(prepared, transport, binary, reader == STREAMING_RIVAL)
    else:
        command = receive(reader, prepared, transport, binary)
    with ServerSide(slots, SLOT) as side:
        seconds, cpu, _, output = run_timed(command)
    slots.drop(SLOT)
    return Reading(seconds, cpu, side.seconds or 0, detail=json.loads(output or "{}"))
