# libduckdb comes from its npm package (tools/deps puts it under .deps/duckdb); a system one is used when
# DUCKDB_ROOT names its prefix.
set(DUCKDB_ROOT ${CMAKE_SOURCE_DIR}/.deps/duckdb CACHE PATH "Prefix with include/duckdb.h and lib/libduckdb.so")
find_library(DUCKDB_LIBRARY duckdb PATHS ${DUCKDB_ROOT}/lib NO_DEFAULT_PATH)
find_path(DUCKDB_INCLUDE duckdb.h PATHS ${DUCKDB_ROOT}/include NO_DEFAULT_PATH)
if(NOT DUCKDB_LIBRARY OR NOT DUCKDB_INCLUDE)
  message(FATAL_ERROR "libduckdb is not under ${DUCKDB_ROOT}: run 'make deps', or set -DDUCKDB_ROOT=PREFIX")
endif()
add_library(DuckDB::DuckDB SHARED IMPORTED)
set_target_properties(DuckDB::DuckDB PROPERTIES
  IMPORTED_LOCATION ${DUCKDB_LIBRARY} IMPORTED_NO_SONAME ON
  INTERFACE_INCLUDE_DIRECTORIES ${DUCKDB_INCLUDE})
# Where the program finds the library.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/tailrace")
