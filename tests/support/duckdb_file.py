"""DuckdbFile: reads a DuckDB file through libduckdb's C API, independently of tailrace's own code.

Every value is asked for as VARCHAR, so that rows are plain tuples of str or None.
"""
import ctypes
import os
from pathlib import Path

LIBRARY = Path(os.environ.get("DUCKDB_ROOT", Path(__file__).resolve().parents[2] / ".deps/duckdb"))
INLINE_LENGTH = 12  # strings up to this length live inside duckdb_string_t itself


class DuckdbError(Exception):
    pass


class _Result(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint64), ("rows", ctypes.c_uint64), ("changed", ctypes.c_uint64),
                ("columns", ctypes.c_void_p), ("error", ctypes.c_char_p), ("internal", ctypes.c_void_p)]


def _load():
    library = ctypes.CDLL(str(LIBRARY / "lib/libduckdb.so"))
    pointer, index, text = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p
    for name, result, *arguments in (
            ("duckdb_create_config", ctypes.c_int, pointer),
            ("duckdb_set_config", ctypes.c_int, pointer, text, text),
            ("duckdb_destroy_config", None, pointer),
            ("duckdb_open_ext", ctypes.c_int, text, pointer, pointer, pointer),
            ("duckdb_connect", ctypes.c_int, pointer, pointer),
            ("duckdb_disconnect", None, pointer),
            ("duckdb_close", None, pointer),
            ("duckdb_free", None, pointer),
            ("duckdb_query", ctypes.c_int, pointer, text, pointer),
            ("duckdb_destroy_result", None, pointer),
            ("duckdb_result_error", text, pointer),
            ("duckdb_column_count", index, pointer),
            ("duckdb_column_type", ctypes.c_int, pointer, index),
            ("duckdb_fetch_chunk", pointer, _Result),
            ("duckdb_destroy_data_chunk", None, pointer),
            ("duckdb_data_chunk_get_size", index, pointer),
            ("duckdb_data_chunk_get_vector", pointer, pointer, index),
            ("duckdb_vector_get_data", pointer, pointer),
            ("duckdb_vector_get_validity", pointer, pointer)):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_duckdb = None


class DuckdbFile:
    """Opened for reading only unless told otherwise; a context manager."""

    VARCHAR = 17  # duckdb_type of the only column type that is fetched

    def __init__(self, path, writable=False):
        global _duckdb
        _duckdb = _duckdb or _load()
        self._database, self._connection = ctypes.c_void_p(), ctypes.c_void_p()
        config, error = ctypes.c_void_p(), ctypes.c_char_p()
        _duckdb.duckdb_create_config(ctypes.byref(config))
        for name, value in ((b"access_mode", b"READ_WRITE" if writable else b"READ_ONLY"),
                            (b"autoinstall_known_extensions", b"false"), (b"threads", b"2")):
            _duckdb.duckdb_set_config(config, name, value)
        state = _duckdb.duckdb_open_ext(os.fsencode(path), ctypes.byref(self._database), config,
                                        ctypes.byref(error))
        _duckdb.duckdb_destroy_config(ctypes.byref(config))
        if state != 0:
            raise DuckdbError(error.value.decode())
        _duckdb.duckdb_connect(self._database, ctypes.byref(self._connection))
        self.query("SET TimeZone = 'UTC'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        _duckdb.duckdb_disconnect(ctypes.byref(self._connection))
        _duckdb.duckdb_close(ctypes.byref(self._database))

    def query(self, sql):
        """All rows. Every column of a SELECT must be VARCHAR: cast in the query."""
        result = _Result()
        state = _duckdb.duckdb_query(self._connection, sql.encode(), ctypes.byref(result))
        try:
            if state != 0:
                raise DuckdbError(_duckdb.duckdb_result_error(ctypes.byref(result)).decode())
            return self._rows(result) if sql.lstrip().upper().startswith(("SELECT", "WITH", "FROM")) else []
        finally:
            _duckdb.duckdb_destroy_result(ctypes.byref(result))

    def value(self, expression):
        return self.query(f"SELECT CAST(({expression}) AS VARCHAR)")[0][0]

    def tables(self):
        """(schema, table) of all that is not tailrace's own."""
        return [tuple(row) for row in self.query(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('tailrace', 'information_schema', 'pg_catalog')"
            " AND table_catalog = current_database() ORDER BY ALL")]

    def columns(self, schema, table):
        """{name: type} in the table's order."""
        return dict(self.query(
            "SELECT column_name, data_type FROM information_schema.columns"
            f" WHERE table_schema = {literal(schema)} AND table_name = {literal(table)}"
            " AND table_catalog = current_database() ORDER BY ordinal_position"))

    def _rows(self, result):
        width = _duckdb.duckdb_column_count(ctypes.byref(result))
        for column in range(width):
            if _duckdb.duckdb_column_type(ctypes.byref(result), column) != self.VARCHAR:
                raise DuckdbError(f"column {column} of the query is not VARCHAR")
        rows = []
        while True:
            chunk = ctypes.c_void_p(_duckdb.duckdb_fetch_chunk(result))
            if not chunk.value:
                return rows
            size = _duckdb.duckdb_data_chunk_get_size(chunk)
            rows.extend(zip(*(self._strings(chunk, column, size) for column in range(width))))
            _duckdb.duckdb_destroy_data_chunk(ctypes.byref(chunk))

    @staticmethod
    def _strings(chunk, column, size):
        vector = _duckdb.duckdb_data_chunk_get_vector(chunk, column)
        cells = ctypes.string_at(_duckdb.duckdb_vector_get_data(vector), 16 * size)
        validity = _duckdb.duckdb_vector_get_validity(vector)
        valid = -1  # all bits set: no validity mask means no NULLs
        if validity:
            valid = int.from_bytes(ctypes.string_at(validity, 8 * ((size + 63) // 64)), "little")
        values = []
        for row in range(size):
            if not valid >> row & 1:
                values.append(None)
                continue
            start = 16 * row
            length = int.from_bytes(cells[start:start + 4], "little")
            if length <= INLINE_LENGTH:
                values.append(cells[start + 4:start + 4 + length].decode())
            else:
                address = int.from_bytes(cells[start + 8:start + 16], "little")
                values.append(ctypes.string_at(address, length).decode())
        return values


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def identifier(name):
    return '"' + name.replace('"', '""') + '"'
