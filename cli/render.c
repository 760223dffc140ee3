// SPDX-License-Identifier: Apache-2.0
#include "render.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "duration.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"

/* --- tables --------------------------------------------------------------------------------- */

void table_begin(struct table_out *t, const char *const *head, size_t columns) {
    ensure(columns <= TABLE_COLUMNS_MAX);
    *t = (struct table_out){.head = head, .columns = columns};
}

void table_cell(struct table_out *t, const char *fmt, ...) {
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    ensure(n >= 0);
    str_make_printable(text, "");
    ensure(strv_take(&t->cells, text) == 0);
}

/* Characters, not bytes, of UTF-8. */
static size_t width(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += ((unsigned char) *s & 0xc0) != 0x80;
    return n;
}

static void print_row(const struct table_out *t, const char *const *cells, const size_t *widths) {
    for (size_t i = 0; i < t->columns; i++) {
        fputs(cells[i], stdout);
        if (i + 1 < t->columns) printf("%*s", (int) (widths[i] - width(cells[i]) + 3), "");
    }
    putchar('\n');
}

void table_print(struct table_out *t) {
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < t->columns; i++) widths[i] = width(t->head[i]);
    for (size_t i = 0; i < t->cells.n; i++) {
        size_t w = width(t->cells.v[i]), *have = &widths[i % t->columns];
        if (w > *have) *have = w;
    }
    print_row(t, t->head, widths);
    for (size_t i = 0; i + t->columns <= t->cells.n; i += t->columns)
        print_row(t, (const char *const *) &t->cells.v[i], widths);
    strv_fini(&t->cells);
}

/* --- JSON of any message -------------------------------------------------------------------- */

static json_t *json_of_u64(uint64_t v) {
    if (v <= INT64_MAX) return json_integer((json_int_t) v);
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long) v);
    return json_string(text);
}

static json_t *json_of_enum(const ProtobufCEnumDescriptor *d, int v) {
    const ProtobufCEnumValue *e = protobuf_c_enum_descriptor_get_value(d, v);
    if (!e) return json_integer(v);
    char name[64];
    snprintf(name, sizeof name, "%s", e->name);
    for (char *p = name; *p; p++) *p = (char) tolower((unsigned char) *p);
    return json_string(name);
}

static json_t *json_of_bytes(const ProtobufCBinaryData *b) {
    char *hex = need(mem_alloc(2 * b->len + 1));
    for (size_t i = 0; i < b->len; i++) snprintf(hex + 2 * i, 3, "%02x", b->data[i]);
    hex[2 * b->len] = 0;
    json_t *j = json_string(hex);
    mem_free(hex);
    return j;
}

static bool is_address(const char *name) {
    return str_eq(name, "address") || str_eq(name, "vip") || str_eq(name, "gateway") ||
           str_eq(name, "subnet");
}

static json_t *json_of_value(const ProtobufCFieldDescriptor *f, const void *at) {
    char quad[STR_IPV4_MAX];
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(const char *const *) at);
    case PROTOBUF_C_TYPE_BYTES:
        return json_of_bytes(at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return render_json_of(*(const ProtobufCMessage *const *) at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *) at);
    case PROTOBUF_C_TYPE_ENUM:
        return json_of_enum(f->descriptor, *(const int *) at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if (is_address(f->name)) return json_string(str_from_ipv4(*(const uint32_t *) at, quad));
        return json_of_u64(*(const uint32_t *) at);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *) at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_of_u64(*(const uint64_t *) at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_integer(*(const int64_t *) at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double) *(const float *) at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *) at);
    }
    return NULL;
}

static size_t size_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        break;
    }
    return 4;
}

static json_t *json_of_repeated(const ProtobufCFieldDescriptor *f, const char *base) {
    json_t *list = need(json_array());
    size_t n;
    memcpy(&n, base + f->quantifier_offset, sizeof n);
    const char *v;
    memcpy(&v, base + f->offset, sizeof v);
    for (size_t i = 0; i < n; i++)
        ensure(json_array_append_new(list, json_of_value(f, v + i * size_of(f->type))) == 0);
    return list;
}

static bool is_set(const ProtobufCFieldDescriptor *f, const char *base) {
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which;
        memcpy(&which, base + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    if (f->type != PROTOBUF_C_TYPE_MESSAGE) return true;
    const void *sub;
    memcpy(&sub, base + f->offset, sizeof sub);
    return sub != NULL;
}

json_t *render_json_of(const ProtobufCMessage *m) {
    json_t *object = need(json_object());
    const char *base = (const char *) m;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        json_t *value = NULL;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            value = json_of_repeated(f, base);
        else if (is_set(f, base))
            value = json_of_value(f, base + f->offset);
        else
            continue;
        ensure(json_object_set_new(object, f->name, value) == 0);
    }
    return object;
}

json_t *render_json_list(size_t n, ProtobufCMessage *const *v) {
    json_t *list = need(json_array());
    for (size_t i = 0; i < n; i++) ensure(json_array_append_new(list, render_json_of(v[i])) == 0);
    return list;
}

int render_json(json_t *j) {
    int r = json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(j);
    putchar('\n');
    return r == 0 ? EXIT_OK : cli_fail(EXIT_FAILED, "cannot write to the output");
}

/* --- words ---------------------------------------------------------------------------------- */

const char *render_bytes(uint64_t n, char buf[static RENDER_BYTES_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double) n;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < array_len(units); u++) v /= 1024;
    snprintf(buf, RENDER_BYTES_MAX, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return buf;
}

const char *render_age(int64_t unix_ms, char buf[static RENDER_AGE_MAX]) {
    char text[DURATION_TEXT_MAX];
    if (unix_ms <= 0)
        snprintf(buf, RENDER_AGE_MAX, "-");
    else
        snprintf(buf, RENDER_AGE_MAX, "%s ago", duration_text(clock_unix_ms() - unix_ms, text));
    return buf;
}

const char *render_state(Orlop__TaskState s) {
    static const char *const names[] = {"unknown",  "pending",  "assigned", "preparing",
                                        "starting", "running",  "stopping", "complete",
                                        "failed",   "shutdown", "rejected", "orphaned"};
    return (size_t) s < array_len(names) ? names[s] : "unknown";
}

const char *render_health(Orlop__Health h) {
    static const char *const names[] = {"", "starting", "healthy", "unhealthy"};
    return (size_t) h < array_len(names) ? names[h] : "";
}

static void ended(const Orlop__TaskStatus *s, struct buf *out) {
    char age[RENDER_AGE_MAX];
    if (s->exit_known)
        buf_printf(out, "Exited (%d)", s->exit_code);
    else
        buf_printf(out, "%s",
                   s->state == ORLOP__TASK_STATE__REJECTED ? "Rejected" : "Ended (code unknown)");
    if (s->oom) buf_puts(out, ", out of memory");
    if (s->ended_unix_ms) buf_printf(out, " %s", render_age(s->ended_unix_ms, age));
    if (!str_empty(s->reason) && s->state != ORLOP__TASK_STATE__COMPLETE)
        buf_printf(out, ": %s", s->reason);
}

static void running(const Orlop__TaskStatus *s, struct buf *out) {
    char text[DURATION_TEXT_MAX];
    buf_printf(out, "Up %s", duration_text(clock_unix_ms() - s->started_unix_ms, text));
    if (s->health) buf_printf(out, " (%s)", render_health(s->health));
    if (s->oom) buf_printf(out, ", %s", s->reason);
}

void render_status(const Orlop__TaskInfo *t, struct buf *out) {
    static const Orlop__TaskStatus none = ORLOP__TASK_STATUS__INIT;
    const Orlop__TaskStatus *s = t->status ? t->status : &none;
    if (s->state == ORLOP__TASK_STATE__RUNNING)
        running(s, out);
    else if (s->state >= ORLOP__TASK_STATE__COMPLETE)
        ended(s, out);
    else if (!str_empty(t->waiting))
        buf_printf(out, "Pending: %s", t->waiting);
    else {
        const char *name = s->state ? render_state(s->state) : "pending";
        buf_printf(out, "%c%s", toupper((unsigned char) name[0]), name + 1);
        if (!str_empty(s->reason)) buf_printf(out, ": %s", s->reason);
    }
    if (s->restarts) buf_printf(out, ", %u restart%s", s->restarts, s->restarts == 1 ? "" : "s");
}

static void port(const Orlop__Port *p, struct buf *out) {
    if (p->published) {
        bool v6 = strchr(p->host_ip, ':') != NULL;
        const char *ip = str_empty(p->host_ip) ? "0.0.0.0" : p->host_ip;
        buf_printf(out, v6 ? "[%s]:%u->" : "%s:%u->", ip, p->published);
    }
    buf_printf(out, "%u/%s", p->target, p->protocol == ORLOP__PORT__PROTOCOL__UDP ? "udp" : "tcp");
}

void render_ports(const Orlop__TaskInfo *t, struct buf *out) {
    for (size_t i = 0; i < t->n_ports; i++) {
        if (i) buf_puts(out, ", ");
        port(t->ports[i], out);
    }
}

static json_t *json_text(void (*render)(const Orlop__TaskInfo *, struct buf *),
                         const Orlop__TaskInfo *t) {
    struct buf b;
    buf_init(&b, 64 << 10);
    render(t, &b);
    json_t *j = need(json_string(buf_str(&b)));
    buf_fini(&b);
    return j;
}

static json_t *json_addresses(const Orlop__TaskInfo *t) {
    json_t *list = need(json_array());
    char quad[STR_IPV4_MAX];
    for (size_t i = 0; i < t->n_addresses; i++)
        ensure(json_array_append_new(
                   list, json_string(str_from_ipv4(t->addresses[i]->address, quad))) == 0);
    return list;
}

static json_t *json_pairs(Orlop__KeyValue *const *list, size_t n) {
    json_t *j = need(json_object());
    for (size_t i = 0; i < n; i++)
        ensure(json_object_set_new(j, list[i]->key, json_string(list[i]->value)) == 0);
    return j;
}

json_t *render_task(const Orlop__TaskInfo *t) {
    static const Orlop__TaskStatus none = ORLOP__TASK_STATUS__INIT;
    const Orlop__TaskStatus *s = t->status ? t->status : &none;
    Orlop__TaskState state = s->state ? s->state : ORLOP__TASK_STATE__PENDING;
    json_t *j = need(json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:i, s:i, s:b, "
        "s:o}",
        "name", t->name, "task", t->task, "app", t->app, "service", t->service, "slot",
        (int) t->slot, "revision", (json_int_t) t->revision, "node", t->node, "state",
        render_state(state), "health", render_health(s->health), "status",
        json_text(render_status, t), "ports", json_text(render_ports, t), "image", t->image,
        "image_digest", t->image_digest, "command", t->command, "pid", (int) s->pid, "restarts",
        (int) s->restarts, "oom", (int) s->oom, "addresses", json_addresses(t)));
    ensure(json_object_set_new(j, "exit_code",
                               s->exit_known ? json_integer(s->exit_code) : json_null()) == 0);
    ensure(json_object_set_new(j, "reason", json_string(s->reason)) == 0);
    ensure(json_object_set_new(j, "waiting", json_string(t->waiting)) == 0);
    ensure(json_object_set_new(j, "created_unix_ms", json_integer(t->created_unix_ms)) == 0);
    ensure(json_object_set_new(j, "current", json_boolean(t->current)) == 0);
    ensure(json_object_set_new(j, "labels", json_pairs(t->labels, t->n_labels)) == 0);
    ensure(json_object_set_new(j, "service_labels",
                               json_pairs(t->service_labels, t->n_service_labels)) == 0);
    return j;
}
