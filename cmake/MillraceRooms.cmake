# A room of the house (ARCHITECTURE.md): an object library that sees the rooms below it and no other.
#   millrace_room(record BELOW base SOURCES batch.cc LINK PRIVATE zstd)
# millrace_test_room(record) builds tests/record against it and what lies below, so that a room's tests
# need no room above it.
define_property(TARGET PROPERTY MILLRACE_BELOW BRIEF_DOCS "rooms" FULL_DOCS "the rooms below")

add_library(millrace_flags INTERFACE)
# At -O3 g++ 12 takes code of std::vector for reads beyond its end.
target_compile_options(millrace_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overread> ${MILLRACE_WARNINGS})

function(millrace_room name)
  cmake_parse_arguments(ROOM "" "" "BELOW;SOURCES;LINK" ${ARGN})
  set(target millrace_${name})
  add_library(${target} OBJECT ${ROOM_SOURCES})
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/lib>")
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:millrace_flags>
    PUBLIC ${MILLRACE_PUBLIC_LIBRARIES} fmt::fmt absl::core_headers ${ROOM_LINK})
  set(below "")
  foreach(room IN LISTS ROOM_BELOW)
    get_target_property(more millrace_${room} MILLRACE_BELOW)
    list(APPEND below ${room} ${more})
  endforeach()
  list(REMOVE_DUPLICATES below)
  list(REMOVE_ITEM below "more-NOTFOUND")
  set_target_properties(${target} PROPERTIES MILLRACE_BELOW "${below}")
endfunction()

# millrace_use_rooms(TARGET log record ...): the objects of the rooms, and of all below them.
function(millrace_use_rooms target)
  set(all ${ARGN})
  foreach(room IN LISTS ARGN)
    get_target_property(below millrace_${room} MILLRACE_BELOW)
    list(APPEND all ${below})
  endforeach()
  list(REMOVE_DUPLICATES all)
  foreach(room IN LISTS all)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:millrace_${room}>)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:millrace_${room}>)
  endforeach()
endfunction()

# millrace_test_room(log ROOMS log testing SOURCES segment_test.cc): one test binary a room.
function(millrace_test_room name)
  cmake_parse_arguments(TEST "" "" "ROOMS;SOURCES" ${ARGN})
  set(target test_${name})
  add_executable(${target} ${TEST_SOURCES} $<TARGET_OBJECTS:millrace_test_main>)
  target_link_libraries(${target} PRIVATE millrace_flags Catch2::Catch2)
  # Catch's macros take long to optimise; what the tests call is optimised all the same. And g++ 12 sees
  # overlaps where a text is joined to a literal (GCC bug 105651).
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  millrace_use_rooms(${target} ${TEST_ROOMS})
  catch_discover_tests(${target} TEST_PREFIX "${name}: " PROPERTIES TIMEOUT 300
    DISCOVERY_MODE PRE_TEST)
endfunction()
