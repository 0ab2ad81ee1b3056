"""PgCluster: a throw-away PostgreSQL server of any supported version.

Everything lives in one temporary directory and listens on a free port of its own. PostgreSQL refuses to run as
root, so a root session runs it as an unprivileged user.
"""
import atexit
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS = (13, 14, 15, 16, 17, 18)

# Settings that change how values look as text are set to unusual ones on purpose: nothing that tailrace does
# may depend on them.
DEFAULT_SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    "max_connections": "120",
    "fsync": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
}


# Where the servers' folders are made; by default where temporary files are. `make test` says a folder in memory.
SERVERS = Path(os.environ.get("TAILRACE_SERVERS") or tempfile.gettempdir())


def new_home(version):
    """A folder for one server, named after this process; takes away what processes left that were killed, for a folder
    in memory is nobody's to fill."""
    for left in SERVERS.glob("tailrace-pg*-*-*"):
        maker = re.fullmatch(r"tailrace-pg\d+-(\d+)-\w+", left.name)
        if maker and not Path("/proc", maker[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"tailrace-pg{version}-{os.getpid()}-", dir=SERVERS))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unprivileged_prefix():
    """The command prefix that runs a server as somebody who is not root; empty for those who are not."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    raise RuntimeError("running as root, and there is neither a user 'postgres' nor 'nobody' to run servers as")


def server_directory(version):
    """The prefix of a server's bin/ and share/: Debian's for 15, the npm packages' for the others."""
    debian = Path(f"/usr/lib/postgresql/{version}")
    if (debian / "bin/postgres").exists():
        return debian
    local = REPOSITORY / f".deps/postgres/{version}"
    if not (local / "bin/postgres").exists():
        raise RuntimeError(f"there is no PostgreSQL {version} under {local}: run 'make deps'")
    return reachable(local, version)


def reachable(directory, version):
    """The directory itself, or a copy where the unprivileged user can get at it (a checkout under /root)."""
    prefix = unprivileged_prefix()
    if not prefix or subprocess.run([*prefix, "test", "-x", directory / "bin/postgres"]).returncode == 0:
        return directory
    copy = Path(tempfile.gettempdir()) / f"tailrace-postgres-{version}"
    if not (copy / "bin/postgres").exists():
        staging = Path(tempfile.mkdtemp(prefix="tailrace-postgres-"))
        shutil.copytree(directory, staging / "tree", symlinks=True)
        staging.chmod(0o755)
        os.rename(staging / "tree", copy)
        staging.rmdir()
    return copy


class PgCluster:
    """initdb on construction; start() when the settings are as wanted; close() removes every trace."""

    def __init__(self, version=15, **settings):
        self.version = version
        self.bin = server_directory(version) / "bin"
        self.port = free_port()
        self.home = new_home(version)
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.process = None
        self._prefix = unprivileged_prefix()
        if self._prefix:
            shutil.chown(self.home, int(self._prefix[1].split("=")[1]))
        atexit.register(self.close)
        if settings.pop("initdb", True):
            self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale",
                      "-N")
            self.configure(**{**DEFAULT_SETTINGS, **settings})

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def _run(self, program, *arguments):
        # A program that is not the server's own (openssl) is found on the path.
        command = self.bin / program if (self.bin / program).exists() else program
        outcome = subprocess.run([*self._prefix, command, *arguments], cwd=self.home,
                                 capture_output=True, text=True)
        if outcome.returncode != 0:
            raise RuntimeError(f"{program} of PostgreSQL {self.version} failed: {outcome.stderr}")

    def configure(self, **settings):
        """Adds settings; the last word wins. A running server needs reload() or restart() to see them."""
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")

    def encrypt(self):
        """Gives it a certificate; takes effect with a restart."""
        key, certificate = self.data / "server.key", self.data / "server.crt"
        self._run("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost", "-keyout", key,
                  "-out", certificate)
        self.configure(ssl="on")

    def encrypt_by_authority(self):
        """Gives it a certificate for localhost that an authority of its own signed; takes effect with a restart.
        Returns that authority's."""
        authority, key = self.home / "authority.crt", self.home / "authority.key"
        self._run("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", f"/CN=authority {self.port}",
                  "-keyout", key, "-out", authority)
        request, certificate = self.home / "server.csr", self.data / "server.crt"
        self._run("openssl", "req", "-new", "-nodes", "-subj", "/CN=localhost", "-keyout", self.data / "server.key",
                  "-out", request)
        self._run("openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", key, "-CAcreateserial",
                  "-days", "2", "-out", certificate)
        self.configure(ssl="on")
        return authority

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    # Running ---------------------------------------------------------------------------------------------

    def start(self, timeout=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, self.bin / "postgres", "-D", self.data, "-p", str(self.port),
                 "-c", f"unix_socket_directories={self.home}"],
                stdout=log, stderr=log, cwd=self.home, start_new_session=True)
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL {self.version} did not start: {self.log_text()[-2000:]}")
            try:
                with psycopg.connect(self.url(), connect_timeout=2):
                    return self
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def stop(self, mode="fast"):
        """mode: smart, fast, immediate (no checkpoint: recovery at the next start)."""
        if self.process is None:
            return
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        if self.process.poll() is None:
            self.process.send_signal(signals[mode])
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                # An old walsender may wait for a client that does not answer.
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(timeout=30)
        self.process = None

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def close(self):
        self.stop("immediate")
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.close)

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    # Talking to it ---------------------------------------------------------------------------------------

    def url(self, database="postgres", user="postgres", password=None, port=None):
        secret = f":{password}" if password else ""
        return f"postgres://{user}{secret}@127.0.0.1:{port or self.port}/{database}"

    def socket_url(self, database="postgres", user="postgres"):
        return f"postgres://{user}@/{database}?host={self.home}&port={self.port}"

    def connect(self, database="postgres", **options):
        return psycopg.connect(self.url(database), **{"autocommit": True, **options})

    def execute(self, sql, database="postgres"):
        """Runs one or more statements and returns the rows of the last one that has any."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql)
            rows = None
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows

    def value(self, sql, database="postgres"):
        return self.execute(sql, database)[0][0]

    def create_database(self, name):
        self.execute(f'CREATE DATABASE "{name}"')

    def drop_database(self, name):
        """Also when slots and connections still hold it."""
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                               " WHERE database = %s AND active", (name,))
            deadline = time.monotonic() + 20
            while True:
                try:
                    connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                                       " WHERE database = %s", (name,))
                    break
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # Standbys --------------------------------------------------------------------------------------------

    def standby(self, **settings):
        """A started streaming standby of this running server. Low-level backup: not all builds have tools."""
        begin, end = (("pg_backup_start('standby', true)", "pg_backup_stop(false)") if self.version >= 15 else
                      ("pg_start_backup('standby', true, false)", "pg_stop_backup(false)"))
        other = PgCluster(self.version, initdb=False)
        with self.connect() as connection:
            connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")
            connection.execute(f"SELECT {begin}")
            subprocess.run([*self._prefix, "cp", "-a", self.data, other.data], check=True, cwd=self.home)
            label = connection.execute(f"SELECT (f).labelfile FROM {end} AS f").fetchone()[0]
        (other.data / "postmaster.pid").unlink()
        for name in ("pg_replslot", "pg_wal"):
            shutil.rmtree(other.data / name)
            other._write_directory(name)
        other._write_directory("pg_wal/archive_status")
        other._write_file("backup_label", label)
        other._write_file("standby.signal", "")
        other.configure(primary_conninfo=f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres",
                        primary_slot_name="standby", hot_standby="on", hot_standby_feedback="on", **settings)
        return other.start()

    def promote(self):
        self.execute("SELECT pg_promote(true, 60)")

    def _write_directory(self, name):
        subprocess.run([*self._prefix, "mkdir", "-m", "700", self.data / name], check=True, cwd=self.home)

    def _write_file(self, name, text):
        path = self.data / name
        path.write_text(text, encoding="utf-8")
        if self._prefix:
            shutil.chown(path, int(self._prefix[1].split("=")[1]), int(self._prefix[2].split("=")[1]))
