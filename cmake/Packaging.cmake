include(GNUInstallDirs)
if(TARGET tailrace)
install(TARGETS tailrace RUNTIME DESTINATION bin)
endif()
install(FILES ${DUCKDB_LIBRARY} DESTINATION lib/tailrace)
install(FILES LICENSE NOTICE README.md DESTINATION share/doc/tailrace)
install(FILES monitoring/alerts.yml monitoring/alerts_test.yml monitoring/grafana-dashboard.json
  DESTINATION share/tailrace/monitoring)
# systemd looks there below /usr and below /usr/local.
install(FILES packaging/systemd/tailrace.service packaging/systemd/tailrace@.service
  DESTINATION lib/systemd/system)
install(FILES packaging/systemd/tailrace.sysusers DESTINATION lib/sysusers.d RENAME tailrace.conf)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tailrace)
set(CPACK_PACKAGE_CONTACT "the tailrace developers <tailrace@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${DUCKDB_ROOT}/lib)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_STRIP_FILES ON)
include(CPack)
