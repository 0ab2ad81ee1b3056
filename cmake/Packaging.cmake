include(GNUInstallDirs)
if(TARGET tailrace)
install(TARGETS tailrace RUNTIME DESTINATION bin)
install(DIRECTORY ${PROJECT_BINARY_DIR}/share/man DESTINATION share)
install(DIRECTORY ${PROJECT_BINARY_DIR}/share/bash-completion ${PROJECT_BINARY_DIR}/share/zsh
  ${PROJECT_BINARY_DIR}/share/fish DESTINATION share)
endif()
install(FILES ${DUCKDB_LIBRARY} DESTINATION lib/tailrace)

# The pages, beside each other as in the checkout, so that their links lead somewhere.
install(FILES LICENSE NOTICE README.md DESTINATION share/doc/tailrace)
install(FILES NOTICE DESTINATION share/doc/tailrace RENAME copyright)
install(DIRECTORY docs DESTINATION share/doc/tailrace FILES_MATCHING PATTERN "*.md" PATTERN "*.svg")
install(FILES monitoring/alerts.yml monitoring/alerts_test.yml monitoring/grafana-dashboard.json
  DESTINATION share/tailrace/monitoring)
file(CREATE_LINK ../../tailrace/monitoring ${PROJECT_BINARY_DIR}/monitoring SYMBOLIC)
install(FILES ${PROJECT_BINARY_DIR}/monitoring DESTINATION share/doc/tailrace)

# systemd looks there below /usr and below /usr/local.
install(FILES packaging/systemd/tailrace.service packaging/systemd/tailrace@.service
  DESTINATION lib/systemd/system)
install(FILES packaging/systemd/tailrace.sysusers DESTINATION lib/sysusers.d RENAME tailrace.conf)
# /etc is outside of every prefix: in the package alone, which keeps what was changed there.
install(FILES packaging/debian/default DESTINATION /etc/default RENAME tailrace
  COMPONENT settings EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tailrace)
set(CPACK_PACKAGE_CONTACT "the tailrace developers <tailrace@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${CMAKE_BINARY_DIR};tailrace;ALL;/;${CMAKE_BINARY_DIR};tailrace;settings;/")
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${DUCKDB_ROOT}/lib)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/debian/conffiles
  ${PROJECT_SOURCE_DIR}/packaging/debian/postinst ${PROJECT_SOURCE_DIR}/packaging/debian/prerm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_STRIP_FILES ON)
include(CPack)
