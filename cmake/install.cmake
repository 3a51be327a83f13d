# `cmake --install build --prefix DIR` makes a folder that can be moved and runs without the build tree: programs, LibTorch,
# what Debian's packages bring beside it, configs; and for programs of one's own libhone.so, headers and a CMake package. From
# the system come the C and C++ libraries and Open MPI, which has to be the one that starts the ranks.
set(system_libraries "^ld-linux" "^libc\\." "^libm\\." "^libdl\\." "^librt\\." "^libpthread\\." "^libresolv\\." "^libutil\\."
  "^libstdc\\+\\+" "^libgcc_s" "^libmpi" "^libopen-(rte|pal)" "^libhwloc" "^libevent" "^libudev" "^libpmix" "^libcuda\\.")
# Old-style, so that the libraries that Debian's libraries need are found here too.
set(relocatable LINKER:--disable-new-dtags)

set(programs hone)
if(HONE_TORCH)
  list(APPEND programs hone-train)
endif()
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
foreach(program IN LISTS programs)
  target_link_options(${program} PRIVATE ${relocatable})
endforeach()
install(TARGETS ${programs} RUNTIME_DEPENDENCY_SET libraries RUNTIME DESTINATION bin)
install(RUNTIME_DEPENDENCY_SET libraries PRE_EXCLUDE_REGEXES ${system_libraries} DESTINATION lib)
install(DIRECTORY configs DESTINATION share/hone)
install(FILES LICENSE README.md DESTINATION share/hone)

if(HONE_TORCH)
  set(parts core formats data hub parallel comm spec kernels models trainer)
  add_library(hone_shared SHARED ${CMAKE_SOURCE_DIR}/cmake/version.cpp)
  set_target_properties(hone_shared PROPERTIES OUTPUT_NAME hone INSTALL_RPATH "$ORIGIN")
  target_compile_definitions(hone_shared PRIVATE HONE_VERSION="${PROJECT_VERSION}")
  target_link_options(hone_shared PRIVATE ${relocatable})
  foreach(part IN LISTS parts)
    # All of it, and what it links with besides.
    target_sources(hone_shared PRIVATE $<TARGET_OBJECTS:hone_${part}>)
    target_link_libraries(hone_shared PRIVATE hone_${part})
  endforeach()
  install(TARGETS hone_shared LIBRARY DESTINATION lib)
  install(DIRECTORY core formats data hub kernels models parallel trainer DESTINATION include/hone FILES_MATCHING PATTERN "*.h")
  install(DIRECTORY ${torch_root}/include/ DESTINATION include/torch)
  get_target_property(json_include nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
  install(DIRECTORY ${json_include}/nlohmann DESTINATION include/hone)
  configure_file(cmake/honeConfig.cmake.in honeConfig.cmake @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/honeConfig.cmake DESTINATION lib/cmake/hone)
endif()
