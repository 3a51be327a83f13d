# hone_folder(NAME DEPENDS ... LIBRARIES ... EXCLUDE REGEX): the static library hone_NAME of all .cpp files of the current
# folder. DEPENDS are the arrows of docs/architecture.md, nothing else; LIBRARIES are third-party targets; files that
# match EXCLUDE are left out (the twin of a backend this build has, or has not).
add_library(hone_flags INTERFACE)
# GCC 12 reports std::string concatenation as -Wrestrict (GCC bug 105651). Designated initialisers leave out fields on
# purpose.
target_compile_options(hone_flags INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
target_include_directories(hone_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(HONE_SANITIZE)
  target_compile_options(hone_flags INTERFACE -fsanitize=${HONE_SANITIZE} -fno-omit-frame-pointer
    $<$<BOOL:${HONE_FUZZ}>:-fno-sanitize-recover=all>)
  # GCC 12 takes libstdc++'s own <regex> for uninitialized once the sanitizers are in.
  target_compile_options(hone_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(hone_flags INTERFACE -fsanitize=${HONE_SANITIZE})
endif()

function(hone_folder name)
  cmake_parse_arguments(arg "TORCH" "EXCLUDE" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main(_train)?\\.cpp$")
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  set(scope PUBLIC)
  if(sources)
    add_library(hone_${name} STATIC ${sources})
  else()
    add_library(hone_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(hone_${name} ${scope} hone_flags ${arg_LIBRARIES})
  foreach(dependency IN LISTS arg_DEPENDS)
    target_link_libraries(hone_${name} ${scope} hone_${dependency})
  endforeach()
  if(arg_TORCH)
    hone_use_torch(hone_${name} ${scope})
  endif()
endfunction()

# Links LibTorch and shares its precompiled headers: a unit that includes it costs 19 s without. Libraries and programs
# differ in -fPIC and -fPIE, which a precompiled header must match, so there is one for each.
function(hone_use_torch target scope)
  target_link_libraries(${target} ${scope} hone_torch)
  if(scope STREQUAL INTERFACE)
    return()
  endif()
  get_target_property(type ${target} TYPE)
  set(shared hone_torch_headers_${type})
  if(NOT TARGET ${shared})
    file(WRITE ${CMAKE_BINARY_DIR}/${shared}.cpp "int main() { return 0; }\n")
    if(type STREQUAL EXECUTABLE)
      add_executable(${shared} ${CMAKE_BINARY_DIR}/${shared}.cpp)
    else()
      add_library(${shared} STATIC ${CMAKE_BINARY_DIR}/${shared}.cpp)
    endif()
    target_link_libraries(${shared} PRIVATE hone_flags hone_torch)
    target_compile_options(${shared} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
    target_precompile_headers(${shared} PRIVATE <torch/csrc/autograd/custom_function.h> <ATen/ATen.h>)
  endif()
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  target_precompile_headers(${target} REUSE_FROM ${shared})
endfunction()
