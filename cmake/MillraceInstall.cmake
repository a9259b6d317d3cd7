# install(): the static libraries, their headers, a CMake package and millrace.pc, the command, its
# completions. Proven by tests/install, which builds tiny programs against the installed files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/millrace")

install(TARGETS millrace millrace_testing EXPORT millraceTargets FILE_SET HEADERS)
install(EXPORT millraceTargets NAMESPACE millrace:: DESTINATION "${config_dir}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/millraceConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/millraceConfig.cmake" INSTALL_DESTINATION "${config_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/millraceConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/millraceConfig.cmake"
  "${PROJECT_BINARY_DIR}/millraceConfigVersion.cmake"
  cmake/FindMillraceZstd.cmake cmake/FindMillraceLz4.cmake cmake/FindMillraceSnappy.cmake
  cmake/FindMillraceRe2.cmake DESTINATION "${config_dir}")

# Relative, so that `cmake --install --prefix` may put it anywhere.
file(RELATIVE_PATH MILLRACE_PC_TO_PREFIX "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
string(REGEX REPLACE "/$" "" MILLRACE_PC_TO_PREFIX "${MILLRACE_PC_TO_PREFIX}")
configure_file(cmake/millrace.pc.in "${PROJECT_BINARY_DIR}/millrace.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/millrace.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
if(TARGET millrace-cli)
  install(TARGETS millrace-cli)
  install(FILES packaging/completions/millrace.bash
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME millrace)
  install(FILES packaging/completions/_millrace
    DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
endif()
