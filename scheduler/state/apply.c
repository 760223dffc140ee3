// SPDX-License-Identifier: Apache-2.0
#include "apply.h"

#include <errno.h>
#include <stdio.h>

#include "apply_internal.h"
#include "net.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { ANSWER_MAX = 64 << 10 };

/* --- clients' writes: once per (client, number) ---------------------------------------------- */

static int write_of(struct state *s, const Orlop__Entry *e, struct buf *answer, struct err *why) {
    if (e->what_case == ORLOP__ENTRY__WHAT_APP_APPLY)
        return apply__app_apply(s, e->app_apply, answer, why);
    if (e->what_case == ORLOP__ENTRY__WHAT_APP_REMOVE)
        return apply__app_remove(s, e->app_remove, why);
    if (e->what_case == ORLOP__ENTRY__WHAT_APP_SCALE) return apply__app_scale(s, e->app_scale, why);
    return apply__app_restart(s, e->app_restart, why);
}

static int default_answer(const struct state *s, struct buf *answer) {
    Orlop__Version v = ORLOP__VERSION__INIT;
    v.inc = s->inc;
    v.idx = s->applied_idx;
    Orlop__WriteAnswer m = ORLOP__WRITE_ANSWER__INIT;
    m.version = &v;
    size_t len;
    auto_free uint8_t *data = pb_pack(&m.base, &len);
    return data ? buf_add(answer, data, len) : -ENOMEM;
}

static void forget_clients(struct state *s) {
    int64_t keep_ms = (int64_t) STATE_CLIENT_DAYS * 24 * 3600 * 1000;
    while (!list_empty(&s->clients_by_age)) {
        struct client *c = list_entry(s->clients_by_age.next, struct client, age);
        if (map_len(&s->clients) <= STATE_CLIENTS_MAX && s->now_ms - c->time_ms < keep_ms) return;
        state__delete_client(s, c);
    }
}

static int remember(struct state *s, const char *key, uint64_t number, struct buf *answer,
                    const struct err *err) {
    struct client *c = map_get(&s->clients, key);
    if (!c) {
        int r = state__add_client(s, key, &c);
        if (r < 0) return r;
    }
    mem_free(c->answer);
    c->answer_len = answer->len;
    c->answer = NULL;
    if (answer->len) {
        c->answer = (uint8_t *) buf_take(answer);
        if (!c->answer) return -ENOMEM;
    }
    c->number = number;
    c->time_ms = s->now_ms;
    c->err = *err;
    list_del(&c->age);
    list_add_tail(&s->clients_by_age, &c->age);
    forget_clients(s);
    return 0;
}

static int client_write(struct state *s, const Orlop__Entry *e, const Orlop__RequestId *id,
                        struct err *why) {
    if (!id || id->client.len != 16)
        return err_say(why, -EINVAL, "the request has no client id of 16 bytes");
    char key[33];
    for (size_t i = 0; i < 16; i++) snprintf(key + 2 * i, 3, "%02x", id->client.data[i]);
    const struct client *c = map_get(&s->clients, key);
    if (c && id->number == c->number) { /* the answer is there already */
        *why = c->err;
        return c->err.code;
    }
    if (c && id->number < c->number)
        return err_say(why, -ESTALE, "request %lu is older than the client's last one",
                       (unsigned long) id->number);
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    int r = write_of(s, e, &answer, why);
    if (r == -ENOMEM) goto out;
    if (r == 0 && !answer.len) r = default_answer(s, &answer);
    if (r == 0) r = buf_error(&answer);
    if (r == -ENOMEM || remember(s, key, id->number, &answer, why) < 0) r = -ENOMEM;
out:
    buf_fini(&answer);
    return r;
}

/* --- one entry ------------------------------------------------------------------------------- */

static int leader_start(struct state *s, const Orlop__EntryLeaderStart *e) {
    s->term = e->term;
    state__emit(s, CHANGE_LEADER, NULL, NULL, NULL, NULL);
    return 0;
}

static int incarnation(struct state *s, const Orlop__EntryIncarnation *e, struct err *why) {
    if (e->inc != s->inc + 1)
        return err_say(why, -ESTALE, "incarnation %lu does not follow %lu", (unsigned long) e->inc,
                       (unsigned long) s->inc);
    s->inc = e->inc;
    return 0;
}

static int one(struct state *s, const Orlop__Entry *e, struct err *why) {
    switch (e->what_case) {
    case ORLOP__ENTRY__WHAT_LEADER_START:
        return leader_start(s, e->leader_start);
    case ORLOP__ENTRY__WHAT_INCARNATION:
        return incarnation(s, e->incarnation, why);
    case ORLOP__ENTRY__WHAT_APP_APPLY:
        return client_write(s, e, e->app_apply->request, why);
    case ORLOP__ENTRY__WHAT_APP_REMOVE:
        return client_write(s, e, e->app_remove->request, why);
    case ORLOP__ENTRY__WHAT_APP_SCALE:
        return client_write(s, e, e->app_scale->request, why);
    case ORLOP__ENTRY__WHAT_APP_RESTART:
        return client_write(s, e, e->app_restart->request, why);
    case ORLOP__ENTRY__WHAT_NODE_REGISTER:
        return apply__node_register(s, e->node_register, why);
    case ORLOP__ENTRY__WHAT_NODE_SYNC:
        return apply__node_sync(s, e->node_sync, why);
    case ORLOP__ENTRY__WHAT_NODE_DOWN:
        return apply__node_down(s, e->node_down, why);
    case ORLOP__ENTRY__WHAT_NODE_UP:
        return apply__node_up(s, e->node_up, why);
    case ORLOP__ENTRY__WHAT_TASK_CREATE:
        return apply__task_create(s, e->task_create, why);
    case ORLOP__ENTRY__WHAT_TASK_ASSIGN:
        return apply__task_assign(s, e->task_assign, why);
    case ORLOP__ENTRY__WHAT_TASK_DRAIN:
        return apply__task_drain(s, e->task_drain, why);
    case ORLOP__ENTRY__WHAT_TASK_STOP:
        return apply__task_stop(s, e->task_stop, why);
    case ORLOP__ENTRY__WHAT_TASK_STATUS:
        return apply__task_status(s, e->task_status, why);
    case ORLOP__ENTRY__WHAT_APP_DELETE:
        return apply__app_delete(s, e->app_delete, why);
    case ORLOP__ENTRY__WHAT__NOT_SET:
    case _ORLOP__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return err_say(why, -ENOTSUP, "an entry of a newer version");
}

int apply_batch(struct state *s, uint64_t idx, const Orlop__EntryBatch *batch,
                struct err *results) {
    ensure(idx > s->applied_idx);
    s->applied_idx = idx;
    s->next_task = 0;
    if (batch->time_unix_ms > s->now_ms) s->now_ms = batch->time_unix_ms; /* never backwards */
    net_expire(s);
    for (size_t i = 0; i < batch->n_entries; i++) {
        struct err why = {0};
        int r = one(s, batch->entries[i], &why);
        if (r == -ENOMEM) return r;
        if (results) results[i] = why;
        if (results && r < 0 && !why.code) results[i].code = r;
    }
    return 0;
}

int apply_bytes(struct state *s, uint64_t idx, const uint8_t *data, size_t len) {
    struct arena arena;
    arena_init(&arena, APPLY_BUDGET_BYTES);
    Orlop__EntryBatch *b = arena_unpack(&arena, &orlop__entry_batch__descriptor, data, len);
    static const Orlop__EntryBatch nothing = ORLOP__ENTRY_BATCH__INIT;
    int r = apply_batch(s, idx, b && b->n_entries <= APPLY_ENTRIES_MAX ? b : &nothing, NULL);
    arena_fini(&arena);
    return r;
}
