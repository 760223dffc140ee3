# Warning, hardening and sanitizer flags, each an interface target. tests/check/hardening reads the
# built ELFs and proves that they arrived.
option(ORLOP_WERROR "Warnings are errors (CI)" OFF)
set(ORLOP_SANITIZE "" CACHE STRING "'' | address | thread | fuzz")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Assertions of ours (ensure) never depend on NDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g")

# What every translation unit gets, generated ones too.
add_library(orlop_generated_options INTERFACE)
target_compile_definitions(orlop_generated_options INTERFACE _GNU_SOURCE)
target_compile_options(orlop_generated_options INTERFACE -fno-common -fstack-protector-strong
  -fstack-clash-protection)
if(ORLOP_SANITIZE STREQUAL "")
  target_compile_options(orlop_generated_options INTERFACE -fcf-protection=full
    $<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3>
    $<$<AND:$<CONFIG:Release>,$<C_COMPILER_ID:GNU>>:-ftrivial-auto-var-init=zero>)
  target_link_options(orlop_generated_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
elseif(ORLOP_SANITIZE STREQUAL "address")
  target_compile_options(orlop_generated_options INTERFACE -O1 -fno-omit-frame-pointer
    -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(orlop_generated_options INTERFACE -fsanitize=address,undefined)
elseif(ORLOP_SANITIZE STREQUAL "thread")
  target_compile_options(orlop_generated_options INTERFACE -O1 -fno-omit-frame-pointer -fsanitize=thread)
  target_link_options(orlop_generated_options INTERFACE -fsanitize=thread)
elseif(ORLOP_SANITIZE STREQUAL "fuzz")
  if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "ORLOP_SANITIZE=fuzz needs clang: use the preset 'fuzz'")
  endif()
  target_compile_options(orlop_generated_options INTERFACE -O1 -fno-omit-frame-pointer
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(orlop_generated_options INTERFACE -fsanitize=address,undefined)
else()
  message(FATAL_ERROR "ORLOP_SANITIZE must be empty, address, thread or fuzz; it is '${ORLOP_SANITIZE}'")
endif()

add_library(orlop_options INTERFACE)
target_link_libraries(orlop_options INTERFACE orlop_generated_options)
target_compile_options(orlop_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wformat=2 -Wundef -Wvla -Walloca -Wpointer-arith -Wwrite-strings
  -Wcast-align -Wcast-qual -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdate-time
  -Wframe-larger-than=16384
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op> $<$<C_COMPILER_ID:GNU>:-Wduplicated-cond>
  $<$<C_COMPILER_ID:GNU>:-Wduplicated-branches>
  $<$<C_COMPILER_ID:Clang>:-Wno-cast-qual> # GCC exempts macros of system headers: protobuf-c's __INIT
  $<$<BOOL:${ORLOP_WERROR}>:-Werror>)
# GCC's flow analysis gives false positives once sanitizers have rewritten the code.
if(NOT ORLOP_SANITIZE STREQUAL "")
  target_compile_options(orlop_options INTERFACE -Wno-null-dereference
    $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
