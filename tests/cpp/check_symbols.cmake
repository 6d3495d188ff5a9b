# cmake -DNM=nm -DOBJECTS=a.o;b.o -P check_symbols.cmake
#
# Fails on a weak (W V w v) or unique (u) symbol in the objects. Of a function that two objects both
# define weakly, the linker keeps one: code compiled for AVX-512 could then run on a machine without
# it.
if(NOT OBJECTS)
  message(FATAL_ERROR "no objects given")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" "${object}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  if(NOT symbols MATCHES " T ")
    message(SEND_ERROR "${object}: defines no function, so there was nothing to check")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVwvu] [^\n]*" found "${symbols}")
  foreach(symbol IN LISTS found)
    message(SEND_ERROR "${object}: ${symbol}")
  endforeach()
endforeach()
