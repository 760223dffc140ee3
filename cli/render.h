// SPDX-License-Identifier: Apache-2.0
/* cli/render.h - tables and JSON on stdout.
 *
 * Thread   one.
 */
#ifndef ORLOP_CLI_RENDER_H
#define ORLOP_CLI_RENDER_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "api.pb-c.h"
#include "runtime/base/buf.h"
#include "runtime/base/str.h"

enum { TABLE_COLUMNS_MAX = 12 };

/* A table is printed when all cells are known, so that columns are as wide as they must be. Control
 * characters in cells are shown as '?'. */
struct table_out {
    const char *const *head;
    size_t columns;
    struct strv cells;
};
void table_begin(struct table_out *t, const char *const *head, size_t columns);
void table_cell(struct table_out *t, const char *fmt, ...) printf_like(2, 3);
void table_print(struct table_out *t); /* and frees */

/* Any message as an object: names as in the .proto file, enums as lower-case names, bytes as hex,
 * numbers above 2^63 as text, addresses as dotted quads; unset sub-messages are left out. New
 * reference. */
json_t *render_json_of(const ProtobufCMessage *m);
/* Prints with two blanks of indentation and a newline. Takes the reference. Returns an exit code.
 */
int render_json(json_t *j);
json_t *render_json_list(size_t n, ProtobufCMessage *const *v);

/* "1.5 GiB" */
enum { RENDER_BYTES_MAX = 24 };
const char *render_bytes(uint64_t n, char buf[static RENDER_BYTES_MAX]);
/* "3 minutes ago" */
enum { RENDER_AGE_MAX = 48 };
const char *render_age(int64_t unix_ms, char buf[static RENDER_AGE_MAX]);

const char *render_state(Orlop__TaskState s); /* "running" */
const char *render_health(Orlop__Health h);   /* "healthy", "" for none */
/* "Up 5 minutes (healthy), 2 restarts", "Exited (1) 3 seconds ago: reason", ... */
void render_status(const Orlop__TaskInfo *t, struct buf *out);
/* "127.0.0.1:8080->80/tcp, 443/tcp" */
void render_ports(const Orlop__TaskInfo *t, struct buf *out);
/* One task as a flat object, for `ps` and `task ls`. */
json_t *render_task(const Orlop__TaskInfo *t);

#endif
