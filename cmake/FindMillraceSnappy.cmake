# Finds snappy and offers millrace_dep::snappy. Installed beside millraceConfig.cmake, which uses it too.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_MILLRACE_SNAPPY QUIET snappy)
endif()
find_path(MILLRACE_SNAPPY_INCLUDE_DIR snappy.h HINTS ${PC_MILLRACE_SNAPPY_INCLUDE_DIRS})
find_library(MILLRACE_SNAPPY_LIBRARY snappy HINTS ${PC_MILLRACE_SNAPPY_LIBRARY_DIRS})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceSnappy REQUIRED_VARS MILLRACE_SNAPPY_LIBRARY MILLRACE_SNAPPY_INCLUDE_DIR)
if(MillraceSnappy_FOUND AND NOT TARGET millrace_dep::snappy)
  add_library(millrace_dep::snappy UNKNOWN IMPORTED)
  set_target_properties(millrace_dep::snappy PROPERTIES IMPORTED_LOCATION "${MILLRACE_SNAPPY_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MILLRACE_SNAPPY_INCLUDE_DIR}")
endif()
