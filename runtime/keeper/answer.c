// SPDX-License-Identifier: Apache-2.0
/* Messages to the agents. A peer that does not read is cut off once its queue is full: it comes
 * back and asks with LIST. */
#include <errno.h>
#include <string.h>

#include "keeper.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { LIST_BATCH = 256, MESSAGE_STACK = 4096 };

static int pack_and_send(struct peer *p, const Orlop__KeeperMessage *m, size_t len, void *data,
                         int fd) {
    orlop__keeper_message__pack(m, data);
    return outq_send(&p->out, p->source.fd, data, len, fd);
}

void keeper__send(struct peer *p, Orlop__KeeperMessage *m, int fd) {
    if (!p || !p->source.ready) return; /* it is gone */
    char small[MESSAGE_STACK];
    size_t len = orlop__keeper_message__get_packed_size(m);
    auto_free void *large = len > sizeof small ? mem_alloc(len) : NULL;
    int r = len > sizeof small && !large ? -ENOMEM
                                         : pack_and_send(p, m, len, large ? large : small, fd);
    if (r < 0) {
        log_warn("peer.cut", "err=\"%s\" next=\"it connects again and lists\"", err_text(r));
        keeper__peer_close(p);
        return;
    }
    if (!outq_empty(&p->out)) loop_events(&p->keeper->loop, &p->source, EPOLLOUT);
}

void keeper__send_done(struct peer *p, uint64_t id) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperEmpty empty = ORLOP__KEEPER_EMPTY__INIT;
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_DONE;
    m.done = &empty;
    keeper__send(p, &m, -1);
}

/* protobuf-c's strings are not const; packing does not change them. */
static char *unconst(const char *s) {
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

void keeper__send_failed(struct peer *p, uint64_t id, int error, const char *phase,
                         const char *text) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperFailure f = ORLOP__KEEPER_FAILURE__INIT;
    f.error = error < 0 ? -error : error;
    f.phase = unconst(phase);
    f.text = unconst(text);
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_FAILED;
    m.failed = &f;
    keeper__send(p, &m, -1);
}

void keeper__send_all(struct keeper *k, Orlop__KeeperMessage *m) {
    list_each_safe (it, &k->peers) keeper__send(list_entry(it, struct peer, node), m, -1);
}

void keeper__entry(const struct attempt *a, Orlop__SandboxEntry *ret) {
    Orlop__SandboxEntry e = ORLOP__SANDBOX_ENTRY__INIT;
    e.task = unconst(a->start.task);
    e.boot = a->start.boot;
    e.attempt = a->start.attempt;
    e.pid = a->start.pid;
    e.ended = a->state == ATTEMPT_ENDED;
    e.closed = a->task->closed;
    e.wait_status = a->wait_status;
    e.exit_known = a->exit_known;
    e.never_ran = a->never_ran;
    e.started_unix_ns = a->start.time_unix_ns;
    e.ended_unix_ns = a->ended_unix_ns;
    *ret = e;
}

/* A task that was closed before it ever started has no attempt: boot and attempt are 0 then. */
static void closed_entry(const struct task *t, Orlop__SandboxEntry *ret) {
    Orlop__SandboxEntry e = ORLOP__SANDBOX_ENTRY__INIT;
    e.task = unconst(t->id);
    e.ended = true;
    e.closed = true;
    *ret = e;
}

struct listing {
    struct peer *peer;
    uint64_t id;
    size_t n;
    Orlop__SandboxEntry entries[LIST_BATCH];
    Orlop__SandboxEntry *pointers[LIST_BATCH];
};

static void listing_flush(struct listing *l, bool more) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__SandboxList list = ORLOP__SANDBOX_LIST__INIT;
    list.n_entries = l->n;
    list.entries = l->pointers;
    list.more = more;
    m.id = l->id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_LISTED;
    m.listed = &list;
    keeper__send(l->peer, &m, -1);
    l->n = 0;
}

static Orlop__SandboxEntry *listing_next(struct listing *l) {
    if (l->n == LIST_BATCH) listing_flush(l, true);
    l->pointers[l->n] = &l->entries[l->n];
    return &l->entries[l->n++];
}

void keeper__list(struct keeper *k, struct peer *p, uint64_t id) {
    auto_free struct listing *l = mem_zalloc(sizeof *l);
    if (!l) {
        keeper__send_failed(p, id, ENOMEM, "keeper", "no memory for the list");
        return;
    }
    l->peer = p;
    l->id = id;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&k->tasks, &i, &key, &value);) {
        struct task *t = value;
        list_each (it, &t->attempts)
            keeper__entry(list_entry(it, struct attempt, in_task), listing_next(l));
        if (list_empty(&t->attempts)) closed_entry(t, listing_next(l));
    }
    listing_flush(l, false);
}
