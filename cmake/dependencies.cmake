# Finds what cmake/setup.sh installed and offers it as imported targets.
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CLI11 REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(Threads REQUIRED)
if(HONE_MPI)
  find_package(MPI REQUIRED COMPONENTS C)
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(libgit2 REQUIRED IMPORTED_TARGET libgit2)
pkg_check_modules(libcurl REQUIRED IMPORTED_TARGET libcurl>=7.85)

find_program(CCACHE ccache)
if(CCACHE)
  # The sloppiness lets ccache handle precompiled headers; the base folder lets a second clone hit what the first compiled.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

# The dependency folder is named after the pins, as in cmake/setup.sh.
file(SHA256 ${CMAKE_SOURCE_DIR}/cmake/versions.env versions_hash)
string(SUBSTRING ${versions_hash} 0 12 versions_key)
if(DEFINED ENV{HONE_DEPS})
  set(HONE_DEPS $ENV{HONE_DEPS})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(HONE_DEPS $ENV{XDG_CACHE_HOME}/hone/deps-${versions_key})
else()
  set(HONE_DEPS $ENV{HOME}/.cache/hone/deps-${versions_key})
endif()

if(HONE_TORCH)
  # The folder behind the link: a change of another pin then leaves the compiler cache valid.
  file(REAL_PATH ${HONE_DEPS}/sdk sdk)
  set(torch_root ${sdk}/torch)
  if(NOT EXISTS ${torch_root}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "LibTorch is not in ${torch_root}: run cmake/setup.sh first")
  endif()
  # The wheel's own CMake package asks for a CUDA toolkit even for CPU use, so the libraries are linked by path.
  add_library(hone_torch INTERFACE)
  target_include_directories(hone_torch SYSTEM INTERFACE
    ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
  target_link_libraries(hone_torch INTERFACE
    ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so ${torch_root}/lib/libgomp.so.1)
  # at::parallel_for is inline and serial without it; the OpenMP runtime is the one LibTorch brings.
  target_compile_options(hone_torch INTERFACE -fopenmp)
  target_link_options(hone_torch INTERFACE LINKER:--allow-shlib-undefined)
  if(HONE_CUDA)
    target_link_libraries(hone_torch INTERFACE
      -Wl,--no-as-needed ${torch_root}/lib/libtorch_cuda.so ${torch_root}/lib/libc10_cuda.so -Wl,--as-needed)
  endif()
endif()

if(HONE_CUDA)
  file(REAL_PATH ${HONE_DEPS}/sdk/nvidia nvidia)
  file(REAL_PATH ${HONE_DEPS}/cuda_headers/nvidia cuda_headers)
  if(NOT EXISTS ${nvidia}/nccl/lib/libnccl.so.2 OR NOT EXISTS ${cuda_headers}/cu13/include/crt/host_defines.h)
    message(FATAL_ERROR "NCCL or CUDA's headers are not in ${HONE_DEPS}: run cmake/setup.sh first")
  endif()
  add_library(hone_nccl INTERFACE)
  target_include_directories(hone_nccl SYSTEM INTERFACE
    ${nvidia}/nccl/include ${nvidia}/cu13/include ${cuda_headers}/cu13/include)
  target_link_libraries(hone_nccl INTERFACE ${nvidia}/nccl/lib/libnccl.so.2 ${nvidia}/cu13/lib/libcudart.so.13)
endif()
