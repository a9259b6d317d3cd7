# Finds lz4 and offers millrace_dep::lz4. Installed beside millraceConfig.cmake, which uses it too.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_MILLRACE_LZ4 QUIET liblz4)
endif()
find_path(MILLRACE_LZ4_INCLUDE_DIR lz4frame.h HINTS ${PC_MILLRACE_LZ4_INCLUDE_DIRS})
find_library(MILLRACE_LZ4_LIBRARY lz4 HINTS ${PC_MILLRACE_LZ4_LIBRARY_DIRS})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceLz4 REQUIRED_VARS MILLRACE_LZ4_LIBRARY MILLRACE_LZ4_INCLUDE_DIR)
if(MillraceLz4_FOUND AND NOT TARGET millrace_dep::lz4)
  add_library(millrace_dep::lz4 UNKNOWN IMPORTED)
  set_target_properties(millrace_dep::lz4 PROPERTIES IMPORTED_LOCATION "${MILLRACE_LZ4_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MILLRACE_LZ4_INCLUDE_DIR}")
endif()
