# Finds re2 and offers millrace_dep::re2. Installed beside millraceConfig.cmake, which uses it too.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_MILLRACE_RE2 QUIET re2)
endif()
find_path(MILLRACE_RE2_INCLUDE_DIR re2/re2.h HINTS ${PC_MILLRACE_RE2_INCLUDE_DIRS})
find_library(MILLRACE_RE2_LIBRARY re2 HINTS ${PC_MILLRACE_RE2_LIBRARY_DIRS})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MillraceRe2 REQUIRED_VARS MILLRACE_RE2_LIBRARY MILLRACE_RE2_INCLUDE_DIR)
if(MillraceRe2_FOUND AND NOT TARGET millrace_dep::re2)
  add_library(millrace_dep::re2 UNKNOWN IMPORTED)
  set_target_properties(millrace_dep::re2 PROPERTIES IMPORTED_LOCATION "${MILLRACE_RE2_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MILLRACE_RE2_INCLUDE_DIR}")
endif()
