# Everything comes from Debian packages (deploy/packages.txt).
find_package(PkgConfig REQUIRED)
foreach(lib IN ITEMS libuv libprotobuf-c libseccomp yaml-0.1 raft jansson libarchive libzstd libmnl libnftables libcrypto)
  string(MAKE_C_IDENTIFIER ${lib} id)
  pkg_check_modules(${id} REQUIRED IMPORTED_TARGET ${lib})
endforeach()
find_package(nng CONFIG REQUIRED)
find_library(PROTOBUF_C_STATIC NAMES libprotobuf-c.a REQUIRED)
