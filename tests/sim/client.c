// SPDX-License-Identifier: Apache-2.0
/* One user: writes, one at a time, each repeated under its number until the answer is certain. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "check.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"
#include "runtime/base/mem.h"
#include "sim.h"
#include "tests/lib/manifest_text.h"

enum { WORDS_MAX = 32 };

static struct {
    struct bus_conn *conn;
    struct manifest_text manifest;
    uint64_t number; /* of the last write */
    uint32_t method;
    uint8_t *body; /* of the write under way; NULL: none */
    size_t len;
    bool asked;
} client;

static uint8_t client_id[16] = {7};

/* --- asking ---------------------------------------------------------------------------------- */

static void ask(void *arg);

static void again(void) {
    client.asked = false;
    sim_after_us(SIM_WORLD, sim_delay_us(50000, 1500000), ask, NULL);
}

static void answered(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    bool *got = ctx;
    (void) s;
    (void) body;
    (void) len;
    *got = true;
}

static bool unknown(int code) {
    return code == -EAGAIN || code == -ECONNRESET || code == -ECONNABORTED || code == -EPIPE;
}

static void closed(void *ctx, struct bus_stream *s, const struct err *err) {
    bool got = *(bool *) ctx;
    struct err result = *err;
    (void) s;
    mem_free(ctx);
    if (!got && !result.code) result.code = -ECONNRESET; /* it ended without an answer */
    if (got) result.code = 0;
    sim_trace("the answer: %d %s", result.code, result.text);
    if (unknown(result.code)) {
        again();
        return;
    }
    sim_say("the user's write %llu: %s", (unsigned long long) client.number,
            result.code ? result.text : "done");
    check_answered(client_id, client.number, &result);
    mem_free(client.body);
    client.body = NULL;
    client.asked = false;
}

static void ask(void *arg) {
    static const struct bus_stream_ops ops = {.data = answered, .closed = closed};
    struct bus_stream *s;
    (void) arg;
    if (!client.body || client.asked || !bus_conn_is_up(client.conn)) return;
    client.asked = true;
    sim_trace("the user asks %llu", (unsigned long long) client.number);
    bool *got = mem_zalloc(sizeof *got);
    int r = bus_request(client.conn, client.method, client.body, client.len, &ops, got, &s);
    if (r == 0) return;
    mem_free(got);
    again();
}

static void up(void *ctx, struct bus_conn *c) {
    (void) ctx;
    (void) c;
    ask(NULL);
}

static const struct bus_conn_ops conn_ops = {.up = up};

void sim_client_reset(void) {
    memset(&client, 0, sizeof client);
    manifest_text_init(&client.manifest);
    client.conn = sim_dial(SIM_WORLD, &conn_ops, NULL);
}

bool sim_client_idle(void) {
    return !client.body;
}

/* --- the writes ------------------------------------------------------------------------------ */

static void send_write(uint32_t method, const ProtobufCMessage *m) {
    ensure(!client.body);
    client.method = method;
    client.body = pb_pack(m, &client.len);
    ask(NULL);
}

static Orlop__RequestId next_id(void) {
    Orlop__RequestId id = ORLOP__REQUEST_ID__INIT;
    id.client = (ProtobufCBinaryData){sizeof client_id, client_id};
    id.number = ++client.number;
    return id;
}

static void apply(char **w, size_t n) {
    Orlop__AppApplyRequest r = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id = next_id();
    char *force[WORDS_MAX];
    r.request = &id;
    r.app = manifest_text_app(&client.manifest, w[1]);
    r.remove_orphans = true;
    r.force_recreate = force;
    for (size_t i = 2; i < n; i++)
        if (str_starts(w[i], "force=")) force[r.n_force_recreate++] = w[i] + 6;
    send_write(ORLOP__METHOD__APP_APPLY, &r.base);
    manifest_text_fini(&client.manifest);
    manifest_text_init(&client.manifest);
}

static void scale(char **w, size_t n) {
    Orlop__AppScaleRequest r = ORLOP__APP_SCALE_REQUEST__INIT;
    Orlop__RequestId id = next_id();
    Orlop__ScaleTo to[WORDS_MAX], *list[WORDS_MAX];
    r.request = &id;
    r.app = w[1];
    r.services = list;
    for (size_t i = 2; i < n; i++) {
        Orlop__ScaleTo *t = &to[r.n_services];
        char *value = strchr(w[i], '=');
        ensure(value);
        *value++ = '\0';
        orlop__scale_to__init(t);
        t->service = w[i];
        ensure(str_to_u32(value, UINT32_MAX, &t->replicas) == 0);
        list[r.n_services++] = t;
    }
    send_write(ORLOP__METHOD__APP_SCALE, &r.base);
}

static void restart(char **w, size_t n) {
    Orlop__AppRestartRequest r = ORLOP__APP_RESTART_REQUEST__INIT;
    Orlop__RequestId id = next_id();
    r.request = &id;
    r.app = w[1];
    r.services = w + 2;
    r.n_services = n - 2;
    send_write(ORLOP__METHOD__APP_RESTART, &r.base);
}

static void drop(char **w, size_t n) {
    Orlop__AppRemoveRequest r = ORLOP__APP_REMOVE_REQUEST__INIT;
    Orlop__RequestId id = next_id();
    r.request = &id;
    r.app = w[1];
    r.volumes = n > 2 && str_eq(w[2], "volumes");
    send_write(ORLOP__METHOD__APP_REMOVE, &r.base);
}

void sim_client_write(char *line) {
    char *words[WORDS_MAX], *save;
    size_t n = 0;
    for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    ensure(n >= 2);
    if (str_eq(words[0], "apply"))
        apply(words, n);
    else if (str_eq(words[0], "scale"))
        scale(words, n);
    else if (str_eq(words[0], "restart"))
        restart(words, n);
    else if (str_eq(words[0], "remove"))
        drop(words, n);
    else
        manifest_text_add(&client.manifest, words, n);
}
