# cmake -DPROGRAM=path -DFOLDER=dir -P run_snippet.cmake: runs a page's program in an empty folder.
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
execute_process(COMMAND "${PROGRAM}" WORKING_DIRECTORY "${FOLDER}" RESULT_VARIABLE result
  OUTPUT_VARIABLE output ERROR_VARIABLE error)
message(STATUS "${output}${error}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${result}")
endif()
