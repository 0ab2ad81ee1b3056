# A room is one folder of src/ and one static library. Its link list is the rule of what it may know:
# include paths come only with links, and a room's tests (*_test.cpp) stand beside its code.

add_library(tailrace_options INTERFACE)
target_compile_options(tailrace_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
  -Wold-style-cast -Wcast-align -Woverloaded-virtual -Wconversion -Wsign-conversion -Werror)
# With clang, which builds for the sanitizers: libstdc++ 12 itself calls what it marks as deprecated (stable_sort
# does), and a test's fixture is a long string.
target_compile_options(tailrace_options INTERFACE
  $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations -Wno-overlength-strings>)
if(TAILRACE_SANITIZE)
  target_compile_options(tailrace_options INTERFACE -fsanitize=${TAILRACE_SANITIZE}
    -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(tailrace_options INTERFACE -fsanitize=${TAILRACE_SANITIZE})
endif()
target_include_directories(tailrace_options INTERFACE ${CMAKE_SOURCE_DIR}/src)

# tailrace_room(NAME [LINK lib...] [PRIVATE lib...] [TEST_LINK lib...])
#   LINK       rooms and libraries whose types appear in this room's headers
#   PRIVATE    libraries that stay behind this room's headers
#   TEST_LINK  what only the tests need
function(tailrace_room name)
  cmake_parse_arguments(ROOM "" "" "LINK;PRIVATE;TEST_LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(sources)
    add_library(tailrace_${name} STATIC ${sources})
    target_link_libraries(tailrace_${name} PUBLIC tailrace_options ${ROOM_LINK} PRIVATE ${ROOM_PRIVATE})
  else()
    add_library(tailrace_${name} INTERFACE)
    target_link_libraries(tailrace_${name} INTERFACE tailrace_options ${ROOM_LINK})
  endif()
  if(TAILRACE_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE tailrace_${name} ${ROOM_TEST_LINK} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
  endif()
endfunction()
