# orlop_protobuf(TARGET FILE.proto...): a static library of what protoc-c makes of them.
find_program(PROTOC_C protoc-c REQUIRED)
function(orlop_protobuf target)
  set(sources)
  set(out ${PROJECT_BINARY_DIR}/generated/proto)
  file(MAKE_DIRECTORY ${out})
  foreach(proto IN LISTS ARGN)
    get_filename_component(name ${proto} NAME_WE)
    add_custom_command(
      OUTPUT ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_CURRENT_SOURCE_DIR} --c_out=${out}
        ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto})
    list(APPEND sources ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h)
  endforeach()
  add_library(${target} STATIC ${sources})
  target_link_libraries(${target} PRIVATE orlop_generated_options)
  target_include_directories(${target} SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/generated
    ${PROJECT_BINARY_DIR}/generated/proto ${libprotobuf_c_INCLUDE_DIRS})
endfunction()
