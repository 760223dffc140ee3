// SPDX-License-Identifier: Apache-2.0
/* Happy path   connect -> LIST -> listed(); each request gets an id and an entry in `requests`, its
 *              answer finds it by the id; events have id 0.
 * Full socket  the packet waits in `queue` with duplicated descriptors until the socket is
 *              writable.
 * Keeper gone  every request in flight is dropped (execs and waiters are told), lost(), connect
 *              again with back-off. A keeper that talks nonsense is treated as gone.
 */
#include "agent/keeper_link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/arena.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/keeper/client.h"

enum request_kind { R_START, R_LIST, R_CLOSE, R_EXEC, R_DONE, R_IGNORED };

struct request {
    struct list node;
    uint64_t id;
    enum request_kind kind;
    char task[64];
    uint32_t attempt;
    klink_done_cb done;
    const struct klink_exec_ops *exec;
    void *ctx;
    bool started, abandoned;
};

struct packet { /* waits for room in the socket */
    struct list node;
    struct arena arena;
    Orlop__KeeperRequest *message;
    int fds[KEEPER_FDS_MAX];
    size_t n_fds;
};

struct conn {
    uv_poll_t poll;
    struct keeper_client *client;
    struct klink *link; /* NULL: given up */
};

struct klink {
    uv_loop_t *loop;
    const struct klink_ops *ops;
    void *ctx;
    char *socket;
    struct conn *conn;
    uv_timer_t retry;
    uint64_t retry_ms;
    uint64_t next_id;
    struct list requests, queue;
    size_t n_queue;
    bool up, closing;
    /* The list as it comes in parts. */
    struct arena list_arena;
    Orlop__SandboxEntry **list;
    size_t n_list;
};

static void connect_now(struct klink *k);

static void on_retry(uv_timer_t *t) {
    struct klink *k = t->data;
    if (!k->conn) {
        connect_now(k);
        return;
    }
    int r = klink_list(k);
    (void) r; /* a connection that has gone meanwhile lists by itself */
}

/* ---- sending ---- */

static void packet_free(struct packet *p) {
    for (size_t i = 0; i < p->n_fds; i++) fd_close(&p->fds[i]);
    arena_fini(&p->arena);
    mem_free(p);
}

static struct packet *packet_new(const Orlop__KeeperRequest *m, const int *fds, size_t n_fds) {
    struct packet *p = mem_zalloc(sizeof *p);
    if (!p) return NULL;
    arena_init(&p->arena, 4 * KEEPER_PACKET_MAX);
    p->message = arena_copy(&p->arena, &m->base);
    for (size_t i = 0; p->message && i < n_fds; i++) {
        p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (p->fds[i] < 0) break;
        p->n_fds++;
    }
    if (p->message && p->n_fds == n_fds) return p;
    packet_free(p);
    return NULL;
}

static void on_poll(uv_poll_t *h, int status, int events);

static void want_events(struct klink *k) {
    int events = UV_READABLE | (list_empty(&k->queue) ? 0 : UV_WRITABLE);
    uv_poll_start(&k->conn->poll, events, on_poll);
}

static int send_or_queue(struct klink *k, const Orlop__KeeperRequest *m, const int *fds,
                         size_t n_fds) {
    if (!k->conn) return -ENOTCONN;
    if (n_fds > KEEPER_FDS_MAX || k->n_queue >= KLINK_QUEUE_MAX) return -EAGAIN;
    if (list_empty(&k->queue)) {
        int r = keeper_client_send(k->conn->client, m, fds, n_fds, NULL);
        if (r != -EAGAIN) return r == -EPIPE || r == -ECONNRESET ? -ENOTCONN : r;
    }
    struct packet *p = packet_new(m, fds, n_fds);
    if (!p) return -ENOMEM;
    list_add_tail(&k->queue, &p->node);
    k->n_queue++;
    want_events(k);
    return 0;
}

static void flush_queue(struct klink *k) {
    while (k->conn && !list_empty(&k->queue)) {
        struct packet *p = list_entry(k->queue.next, struct packet, node);
        int r = keeper_client_send(k->conn->client, p->message, p->fds, p->n_fds, NULL);
        if (r == -EAGAIN) break;
        list_del(&p->node);
        k->n_queue--;
        packet_free(p); /* another failure shows on the next read */
    }
    if (k->conn) want_events(k);
}

static struct request *request_new(struct klink *k, enum request_kind kind) {
    struct request *q = mem_zalloc(sizeof *q);
    if (!q) return NULL;
    q->id = ++k->next_id;
    q->kind = kind;
    return q;
}

/* TAKES Q. M's id is set here. */
static int submit(struct klink *k, struct request *q, Orlop__KeeperRequest *m, const int *fds,
                  size_t n_fds) {
    m->id = q->id;
    int r = send_or_queue(k, m, fds, n_fds);
    if (r < 0) {
        mem_free(q);
        return r;
    }
    list_add_tail(&k->requests, &q->node);
    return 0;
}

/* ---- receiving ---- */

static struct request *request_find(struct klink *k, uint64_t id) {
    list_each (it, &k->requests) {
        struct request *q = list_entry(it, struct request, node);
        if (q->id == id) return q;
    }
    return NULL;
}

static void request_drop(struct request *q) {
    list_del(&q->node);
    mem_free(q);
}

static void list_reset(struct klink *k) {
    arena_fini(&k->list_arena);
    arena_init(&k->list_arena, 64 << 20);
    mem_free(k->list);
    k->list = NULL;
    k->n_list = 0;
}

static int list_add(struct klink *k, const Orlop__SandboxList *part) {
    if (k->n_list + part->n_entries > KLINK_LIST_MAX) return -EFBIG;
    Orlop__SandboxEntry **v = mem_resize(k->list, k->n_list + part->n_entries + 1, sizeof *v);
    if (!v) return -ENOMEM;
    k->list = v;
    for (size_t i = 0; i < part->n_entries; i++) {
        v[k->n_list] = arena_copy(&k->list_arena, &part->entries[i]->base);
        if (!v[k->n_list]) return -ENOMEM;
        k->n_list++;
    }
    return 0;
}

static int on_list(struct klink *k, struct request *q, const Orlop__SandboxList *part) {
    int r = list_add(k, part);
    if (r < 0 || part->more) return r;
    request_drop(q);
    k->up = true;
    k->retry_ms = KLINK_RETRY_MIN_MS;
    k->ops->listed(k->ctx, k->list, k->n_list);
    list_reset(k);
    return 0;
}

static void on_exec_failed(struct request *q, int status, const char *phase, const char *text) {
    struct err err = {.code = status};
    snprintf(err.text, sizeof err.text, "%s", text);
    if (q->abandoned) return;
    if (str_eq(phase, "exec") && q->exec->no_program)
        q->exec->no_program(q->ctx, status, &err);
    else
        q->exec->closed(q->ctx, status, 0, &err);
}

static void on_failed(struct klink *k, struct request *q, const Orlop__KeeperFailure *f) {
    int status = f->error > 0 ? -f->error : -EIO;
    if (q->kind == R_START) k->ops->start_failed(k->ctx, q->task, q->attempt, f);
    if (q->kind == R_EXEC) on_exec_failed(q, status, f->phase, f->text);
    if (q->kind == R_DONE) q->done(q->ctx, status);
    if (q->kind ==
        R_CLOSE) /* its record could not be written; after the next list it is asked again */
        uv_timer_start(&k->retry, on_retry, KLINK_RETRY_MAX_MS, 0);
    request_drop(q);
}

static void on_exec_started(struct request *q, int32_t pid, int fd) {
    q->started = true;
    if (q->abandoned) {
        fd_close(&fd);
        return;
    }
    q->exec->started(q->ctx, pid, fd);
}

static void on_exec_exited(struct klink *k, const Orlop__KeeperExecExited *e) {
    struct request *q = request_find(k, e->exec);
    if (!q || q->kind != R_EXEC) return;
    if (!q->abandoned) q->exec->closed(q->ctx, 0, e->wait_status, NULL);
    request_drop(q);
}

static int on_answer(struct klink *k, struct request *q, Orlop__KeeperMessage *m, int *fd) {
    switch (m->what_case) {
    case ORLOP__KEEPER_MESSAGE__WHAT_FAILED:
        on_failed(k, q, m->failed);
        return 0;
    case ORLOP__KEEPER_MESSAGE__WHAT_STARTED:
        k->ops->started(k->ctx, m->started);
        request_drop(q);
        return 0;
    case ORLOP__KEEPER_MESSAGE__WHAT_DONE:
        if (q->kind == R_DONE) q->done(q->ctx, 0);
        request_drop(q);
        return 0;
    case ORLOP__KEEPER_MESSAGE__WHAT_CLOSED:
        k->ops->closed(k->ctx, m->closed->task);
        request_drop(q);
        return 0;
    case ORLOP__KEEPER_MESSAGE__WHAT_LISTED:
        return q->kind == R_LIST ? on_list(k, q, m->listed) : -EBADMSG;
    case ORLOP__KEEPER_MESSAGE__WHAT_EXEC_STARTED:
        if (q->kind != R_EXEC) return -EBADMSG;
        on_exec_started(q, m->exec_started->pid, steal_fd(fd));
        return 0;
    case ORLOP__KEEPER_MESSAGE__WHAT_EXITED:
    case ORLOP__KEEPER_MESSAGE__WHAT_EXEC_EXITED:
    case ORLOP__KEEPER_MESSAGE__WHAT__NOT_SET:
    case _ORLOP__KEEPER_MESSAGE__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return -EBADMSG;
}

static int on_message(struct klink *k, Orlop__KeeperMessage *m, int *fd) {
    if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_EXITED) {
        if (k->up) k->ops->exited(k->ctx, m->exited); /* before the list: the list has it */
        return 0;
    }
    if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_EXEC_EXITED) {
        on_exec_exited(k, m->exec_exited);
        return 0;
    }
    struct request *q = request_find(k, m->id);
    return q ? on_answer(k, q, m, fd) : 0;
}

/* ---- connection ---- */

static void on_conn_closed(uv_handle_t *h) {
    struct conn *c = h->data;
    keeper_client_free(c->client);
    mem_free(c);
}

static void conn_drop(struct klink *k) {
    struct conn *c = k->conn;
    k->conn = NULL;
    if (!c) return;
    c->link = NULL;
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *) &c->poll, on_conn_closed);
}

static void drop_requests(struct klink *k) {
    struct list all;
    list_init(&all);
    while (!list_empty(&k->requests)) {
        struct list *n = k->requests.next;
        list_del(n);
        list_add_tail(&all, n);
    }
    while (!list_empty(&all)) {
        struct request *q = list_entry(all.next, struct request, node);
        if (q->kind == R_EXEC && !k->closing)
            on_exec_failed(q, -ECONNRESET, "keeper", "the keeper is gone");
        if (q->kind == R_DONE && !k->closing) q->done(q->ctx, -ECONNRESET);
        request_drop(q);
    }
    while (!list_empty(&k->queue)) {
        struct packet *p = list_entry(k->queue.next, struct packet, node);
        list_del(&p->node);
        packet_free(p);
    }
    k->n_queue = 0;
}

static void again_later(struct klink *k) {
    if (k->closing) return;
    uv_timer_start(&k->retry, on_retry, k->retry_ms, 0);
    k->retry_ms = k->retry_ms * 2 < KLINK_RETRY_MAX_MS ? k->retry_ms * 2 : KLINK_RETRY_MAX_MS;
}

static void lost(struct klink *k, const struct err *why) {
    conn_drop(k);
    k->up = false;
    list_reset(k);
    drop_requests(k);
    k->ops->lost(k->ctx, why);
    again_later(k);
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct conn *c = h->data;
    struct err err = {0};
    if (!c->link) return;
    if (status < 0) {
        err_set(&err, status, "poll the keeper's socket");
        lost(c->link, &err);
        return;
    }
    if (events & UV_WRITABLE) flush_queue(c->link);
    while (c->link && (events & UV_READABLE)) {
        Orlop__KeeperMessage *m = NULL;
        int fd = -1;
        int r = keeper_client_read(c->client, &m, &fd, &err);
        if (r == -EAGAIN) return;
        if (r == 0) r = on_message(c->link, m, &fd);
        fd_close(&fd);
        keeper_message_free(m);
        if (r < 0 && c->link) {
            if (!err.code) err_set(&err, r, "message of the keeper");
            lost(c->link, &err);
        }
    }
}

static void connect_now(struct klink *k) {
    struct err err = {0};
    struct conn *c = mem_zalloc(sizeof *c);
    int r = c ? keeper_client_open(k->socket, &c->client, &err) : -ENOMEM;
    if (r < 0) {
        mem_free(c);
        again_later(k);
        return;
    }
    c->link = k;
    c->poll.data = c;
    r = uv_poll_init(k->loop, &c->poll, keeper_client_fd(c->client));
    if (r < 0) {
        keeper_client_free(c->client);
        mem_free(c);
        again_later(k);
        return;
    }
    k->conn = c;
    want_events(k);
    r = klink_list(k);
    if (r < 0) {
        err_set(&err, r, "ask the keeper for its list");
        lost(k, &err);
    }
}

int klink_new(uv_loop_t *loop, const char *socket, const struct klink_ops *ops, void *ctx,
              struct klink **ret) {
    struct klink *k = mem_zalloc(sizeof *k);
    if (!k) return -ENOMEM;
    *k = (struct klink){.loop = loop, .ops = ops, .ctx = ctx, .retry_ms = KLINK_RETRY_MIN_MS};
    k->socket = mem_strdup(socket);
    if (!k->socket) {
        mem_free(k);
        return -ENOMEM;
    }
    list_init(&k->requests);
    list_init(&k->queue);
    arena_init(&k->list_arena, 64 << 20);
    uv_timer_init(loop, &k->retry);
    k->retry.data = k;
    uv_timer_start(&k->retry, on_retry, 0, 0);
    *ret = k;
    return 0;
}

static void on_timer_closed(uv_handle_t *h) {
    struct klink *k = h->data;
    list_reset(k);
    arena_fini(&k->list_arena);
    mem_free(k->socket);
    mem_free(k);
}

void klink_close(struct klink *k) {
    if (!k || k->closing) return;
    k->closing = true;
    k->up = false;
    conn_drop(k);
    drop_requests(k);
    uv_timer_stop(&k->retry);
    uv_close((uv_handle_t *) &k->retry, on_timer_closed);
}

bool klink_up(const struct klink *k) {
    return k->up;
}

/* ---- requests ---- */

int klink_list(struct klink *k) {
    struct request *q = request_new(k, R_LIST);
    if (!q) return -ENOMEM;
    list_reset(k);
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty empty = ORLOP__KEEPER_EMPTY__INIT;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_LIST;
    m.list = &empty;
    return submit(k, q, &m, NULL, 0);
}

int klink_start(struct klink *k, Orlop__SandboxSpec *spec, const int *fds, size_t n_fds) {
    struct request *q = request_new(k, R_START);
    if (!q) return -ENOMEM;
    snprintf(q->task, sizeof q->task, "%s", spec->task);
    q->attempt = spec->attempt;
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    m.start = spec;
    return submit(k, q, &m, fds, n_fds);
}

static char *copy_id(const char *id, char buf[static 64]) {
    snprintf(buf, 64, "%s", id);
    return buf;
}

int klink_signal(struct klink *k, const char *task, uint64_t boot, uint32_t attempt, int signal) {
    struct request *q = request_new(k, R_IGNORED);
    if (!q) return -ENOMEM;
    char id[64];
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperSignal s = ORLOP__KEEPER_SIGNAL__INIT;
    s.task = copy_id(task, id);
    s.boot = boot;
    s.attempt = attempt;
    s.signal = signal;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_SIGNAL;
    m.signal = &s;
    return submit(k, q, &m, NULL, 0);
}

int klink_close_task(struct klink *k, const char *task) {
    struct request *q = request_new(k, R_CLOSE);
    if (!q) return -ENOMEM;
    char id[64];
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    t.task = copy_id(task, id);
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_CLOSE;
    m.close = &t;
    return submit(k, q, &m, NULL, 0);
}

int klink_forget(struct klink *k, const char *task, klink_done_cb cb, void *ctx) {
    struct request *q = request_new(k, R_DONE);
    if (!q) return -ENOMEM;
    q->done = cb;
    q->ctx = ctx;
    char id[64];
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    t.task = copy_id(task, id);
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_FORGET;
    m.forget = &t;
    return submit(k, q, &m, NULL, 0);
}

int klink_exec(struct klink *k, Orlop__KeeperExec *e, const int *fds, size_t n_fds,
               const struct klink_exec_ops *ops, void *ctx, uint64_t *ret_exec) {
    if (!k->up) return -ENOTCONN;
    struct request *q = request_new(k, R_EXEC);
    if (!q) return -ENOMEM;
    q->exec = ops;
    q->ctx = ctx;
    uint64_t id = q->id;
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_EXEC;
    m.exec = e;
    int r = submit(k, q, &m, fds, n_fds);
    if (r == 0) *ret_exec = id;
    return r;
}

int klink_exec_signal(struct klink *k, uint64_t exec, int signal) {
    struct request *q = request_new(k, R_IGNORED);
    if (!q) return -ENOMEM;
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperSignal s = ORLOP__KEEPER_SIGNAL__INIT;
    s.exec = exec;
    s.signal = signal;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_SIGNAL;
    m.signal = &s;
    return submit(k, q, &m, NULL, 0);
}

int klink_exec_resize(struct klink *k, uint64_t exec, uint32_t rows, uint32_t cols) {
    struct request *q = request_new(k, R_IGNORED);
    if (!q) return -ENOMEM;
    Orlop__KeeperRequest m = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperResize s = ORLOP__KEEPER_RESIZE__INIT;
    s.exec = exec;
    s.rows = rows;
    s.cols = cols;
    m.what_case = ORLOP__KEEPER_REQUEST__WHAT_RESIZE;
    m.resize = &s;
    return submit(k, q, &m, NULL, 0);
}

void klink_exec_abandon(struct klink *k, uint64_t exec) {
    struct request *q = request_find(k, exec);
    if (!q || q->kind != R_EXEC) return;
    q->abandoned = true;
    int r = klink_exec_signal(k, exec, SIGKILL);
    (void) r; /* a connection that is gone has killed it */
}
