# Everything comes from the system; the message names Debian's package where one is missing.
macro(millrace_find package debian)
  find_package(${package} ${ARGN} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "Millrace needs ${package}: apt-get install ${debian}")
  endif()
endmacro()

millrace_find(absl libabsl-dev CONFIG)
millrace_find(fmt libfmt-dev CONFIG)
millrace_find(ZLIB zlib1g-dev)
millrace_find(MillraceZstd libzstd-dev)
millrace_find(MillraceLz4 liblz4-dev)
millrace_find(MillraceSnappy libsnappy-dev)
millrace_find(MillraceRe2 libre2-dev)
millrace_find(Threads libc6-dev)

# What the public headers include, and so every user links.
set(MILLRACE_PUBLIC_LIBRARIES absl::status absl::statusor absl::time absl::any_invocable absl::cord
  Threads::Threads)
