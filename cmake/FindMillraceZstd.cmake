# Finds zstd and offers millrace_dep::zstd. Installed beside millraceConfig.cmake, which uses it too.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_MILLRACE_ZSTD QUIET libzstd)
endif()
find_path(MILLRACE_ZSTD_INCLUDE_DIR zstd.h HINTS ${PC_MILLRACE_ZSTD_INCLUDE_DIRS})
find_library(MILLRACE_ZSTD_LIBRARY zstd HINTS ${PC_MILLRACE_ZSTD_LIBRARY_DIRS})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceZstd REQUIRED_VARS MILLRACE_ZSTD_LIBRARY MILLRACE_ZSTD_INCLUDE_DIR)
if(MillraceZstd_FOUND AND NOT TARGET millrace_dep::zstd)
  add_library(millrace_dep::zstd UNKNOWN IMPORTED)
  set_target_properties(millrace_dep::zstd PROPERTIES IMPORTED_LOCATION "${MILLRACE_ZSTD_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MILLRACE_ZSTD_INCLUDE_DIR}")
endif()
