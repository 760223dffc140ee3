// SPDX-License-Identifier: Apache-2.0
/* How a proposal travels: store_propose() queues it; the next loop turn puts all that is queued
 * into one raft_apply; when the disk has it, raft calls apply() once per proposal, in order, and
 * each proposal's callback runs right behind its apply. Only then is the next raft_apply made.
 *
 * Failure: the raft_apply is refused or fails as a whole -> every proposal of the batch gets the
 * code. A full disk is looked for before raft sees the batch (0.15 crashes on ENOSPC with two
 * appends in flight, with one it answers cleanly).
 *
 * An entry is {u64 length, bytes, zeros up to a whole word}: raft 0.15 writes entries in whole
 * words and reads back exact lengths, so that behind an entry of another length it would take the
 * rest of the segment for a torn write and drop it, acknowledged or not. */
#include "store.h"

#include <errno.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "datadir.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "snapshot_frame.h"
#include "term.h"
#include "transport_none.h"
#include "verify.h"

enum {
    BATCH_MAX = 256,
    BATCH_BYTES_MAX = 16 << 20,
    SEGMENT_BYTES = 4 << 20,
    /* A Raft of one needs no quick failure detection, and each tick is a wake-up of an idle
       machine. */
    HEARTBEAT_MS = 500,
    ELECTION_MS = 5000,
};

struct proposal {
    struct list in_queue;
    uint8_t *data;
    size_t len;
    store_cb cb;
    void *ctx;
};

struct store {
    uv_loop_t *loop;
    const struct store_ops *ops;
    void *ctx;
    int dirfd;
    struct raft raft;
    struct raft_io io;
    struct raft_uv_transport transport;
    int (*set_term)(struct raft_io *io, raft_term term); /* raft's own; ours are before them */
    int (*set_vote)(struct raft_io *io, raft_id id);
    void (*io_close)(struct raft_io *io, raft_io_close_cb cb);
    raft_io_close_cb on_io_closed; /* NULL once it was called */
    struct term term;
    struct raft_fsm fsm;
    struct raft_apply request;
    uv_idle_t pump;     /* active while something is queued and nothing in flight */
    uv_check_t watch;   /* raft 0.15 tells nobody when leadership changes */
    struct list queue;  /* proposals not yet given to raft */
    struct list flight; /* given, not yet applied; in log order */
    size_t queued;
    uint64_t flight_idx; /* index of the first of FLIGHT */
    bool in_flight;
    bool leading;
    bool closing;
    unsigned open_handles;
    void (*done)(void *ctx);
    void *done_ctx;
};

static void finish(struct store *s, struct list *from, int status, uint64_t idx) {
    struct proposal *p = list_entry(from->next, struct proposal, in_queue);
    list_del(&p->in_queue);
    s->queued--;
    p->cb(p->ctx, status, idx);
    mem_free(p->data);
    mem_free(p);
}

static void finish_all(struct store *s, struct list *from, int status) {
    while (!list_empty(from)) finish(s, from, status, 0);
}

enum { WORD = 8 };

static size_t entry_size(size_t len) {
    return WORD + (len + WORD - 1) / WORD * WORD;
}

static void entry_fill(uint8_t *entry, const uint8_t *data, size_t len) {
    uint64_t head = len;
    memset(entry, 0, entry_size(len));
    memcpy(entry, &head, sizeof head);
    if (len) memcpy(entry + WORD, data, len);
}

/* The bytes inside; a length that does not fit is of a damaged entry, which applies as nothing. */
static const uint8_t *entry_data(const struct raft_buffer *buf, size_t *ret_len) {
    uint64_t head = 0;
    if (buf->len >= WORD) memcpy(&head, buf->base, sizeof head);
    *ret_len = buf->len >= WORD && head <= buf->len - WORD ? (size_t) head : 0;
    return (const uint8_t *) buf->base + (buf->len >= WORD ? WORD : 0);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result) {
    struct store *s = fsm->data;
    uint64_t idx = raft_last_applied(&s->raft) + 1;
    *result = NULL;
    size_t len;
    const uint8_t *data = entry_data(buf, &len);
    s->ops->apply(s->ctx, idx, data, len);
    if (s->in_flight && idx >= s->flight_idx && !list_empty(&s->flight)) {
        ensure(idx == s->flight_idx);
        s->flight_idx++;
        finish(s, &s->flight, 0, idx);
    }
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs) {
    struct store *s = fsm->data;
    auto_free uint8_t *state = NULL;
    size_t len;
    if (s->ops->snapshot(s->ctx, &state, &len) < 0) return RAFT_NOMEM;
    struct snapshot_frame frame;
    snapshot_frame_fill(&frame, raft_last_applied(&s->raft), state, len);
    struct raft_buffer *buf = raft_malloc(sizeof *buf);
    uint8_t *data = raft_malloc(sizeof frame + len);
    if (!buf || !data) {
        raft_free(buf);
        raft_free(data);
        return RAFT_NOMEM;
    }
    memcpy(data, &frame, sizeof frame);
    memcpy(data + sizeof frame, state, len);
    *buf = (struct raft_buffer){data, sizeof frame + len};
    *bufs = buf;
    *n_bufs = 1;
    return 0;
}

/* On success raft gives BUF's memory to us. */
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf) {
    struct store *s = fsm->data;
    struct snapshot_frame frame;
    if (snapshot_frame_check(buf->base, buf->len, &frame) < 0) return RAFT_CORRUPT;
    const uint8_t *data = (const uint8_t *) buf->base + sizeof frame;
    if (s->ops->restore(s->ctx, frame.idx, data, (size_t) frame.len) < 0) return RAFT_CORRUPT;
    raft_free(buf->base);
    return 0;
}

static int from_raft(int code) {
    return code == RAFT_NOSPACE ? -ENOSPC : -ECONNABORTED;
}

static void on_pump(uv_idle_t *h);

static void pump_later(struct store *s) {
    if (!s->closing && !s->in_flight && !list_empty(&s->queue)) uv_idle_start(&s->pump, on_pump);
}

static void on_applied(struct raft_apply *req, int status, void *result) {
    (void) result;
    struct store *s = req->data;
    /* On success the callback comes with the *first* entry of the batch: the batch is over when its
     * last one was applied, which fsm_apply sees. */
    if (status == 0) return;
    s->in_flight = false;
    finish_all(s, &s->flight, from_raft(status));
    pump_later(s);
}

static bool disk_is_full(const struct store *s) {
    struct statvfs v;
    if (fstatvfs(s->dirfd, &v) < 0) return false; /* raft will say what is wrong with the disk */
    return (uint64_t) v.f_bavail * v.f_frsize < STORE_RESERVE_BYTES;
}

/* Move proposals from the queue into BUFS; they keep their data until raft has taken its copy. */
static unsigned take_batch(struct store *s, struct raft_buffer *bufs) {
    unsigned n = 0;
    size_t bytes = 0;
    while (n < BATCH_MAX && !list_empty(&s->queue)) {
        struct proposal *p = list_entry(s->queue.next, struct proposal, in_queue);
        if (n && bytes + p->len > BATCH_BYTES_MAX) break;
        void *copy = raft_malloc(entry_size(p->len));
        if (!copy) break;
        entry_fill(copy, p->data, p->len);
        bufs[n++] = (struct raft_buffer){copy, entry_size(p->len)};
        bytes += p->len;
        list_del(&p->in_queue);
        list_add_tail(&s->flight, &p->in_queue);
        mem_free(p->data);
        p->data = NULL;
    }
    return n;
}

static void on_pump(uv_idle_t *h) {
    struct store *s = container_of(h, struct store, pump);
    uv_idle_stop(h);
    if (s->in_flight || s->closing || list_empty(&s->queue)) return;
    if (disk_is_full(s)) {
        finish_all(s, &s->queue, -ENOSPC);
        return;
    }
    struct raft_buffer bufs[BATCH_MAX];
    unsigned n = take_batch(s, bufs);
    if (n == 0) {
        finish_all(s, &s->queue, -ENOMEM);
        return;
    }
    s->in_flight = true;
    s->flight_idx = raft_last_index(&s->raft) + 1;
    s->request.data = s;
    int r = raft_apply(&s->raft, &s->request, bufs, n, on_applied);
    if (r == 0) return;
    s->in_flight = false;
    for (unsigned i = 0; i < n; i++) raft_free(bufs[i].base);
    finish_all(s, &s->flight, from_raft(r));
}

static void on_watch(uv_check_t *h) {
    struct store *s = container_of(h, struct store, watch);
    if (s->closing) return;
    if (s->in_flight && list_empty(&s->flight)) s->in_flight = false; /* the batch is applied */
    pump_later(s);
    bool leading = raft_state(&s->raft) == RAFT_LEADER;
    if (leading == s->leading) return;
    s->leading = leading;
    if (!leading) {
        finish_all(s, &s->flight, -ECONNABORTED);
        finish_all(s, &s->queue, -ECONNABORTED);
    }
    s->ops->leading(s->ctx, leading, s->raft.current_term);
}

static int raft_err(struct store *s, int r, const char *dir, const char *what, struct err *err) {
    int code = r == RAFT_CORRUPT ? -EBADMSG : r == RAFT_NOMEM ? -ENOMEM : -EIO;
    const char *detail = raft_errmsg(&s->raft);
    return err_say(err, code, "the log in %s: %s: %s%s%s", dir, what, raft_strerror(r),
                   detail && *detail ? ": " : "", detail ? detail : "");
}

static int set_term(struct raft_io *io, raft_term term) {
    struct store *s = container_of(io, struct store, io);
    struct term t = {.term = term};
    if (term_save(s->dirfd, &t) < 0) return RAFT_IOERR;
    s->term = t;
    return s->set_term(io, term);
}

static int set_vote(struct raft_io *io, raft_id id) {
    struct store *s = container_of(io, struct store, io);
    struct term t = {.term = s->term.term, .vote = id};
    if (term_save(s->dirfd, &t) < 0) return RAFT_IOERR;
    s->term = t;
    return s->set_vote(io, id);
}

static int bootstrap(struct store *s, const char *dir, struct err *err) {
    struct raft_configuration conf;
    raft_configuration_init(&conf);
    int r = raft_configuration_add(&conf, 1, "1", RAFT_VOTER);
    if (r == 0) r = raft_bootstrap(&s->raft, &conf);
    raft_configuration_close(&conf);
    if (r != 0) return raft_err(s, r, dir, "bootstrap", err);
    s->term = (struct term){.term = 1};
    r = term_save(s->dirfd, &s->term);
    return r < 0 ? err_set(err, r, "write the term in %s", dir) : datadir_ready(s->dirfd, err);
}

static unsigned snapshot_entries(void) {
    const char *test = getenv("ORLOP_TEST_SNAPSHOT_ENTRIES"); /* tests kill us while we take one */
    uint32_t n;
    return test && str_to_u32(test, STORE_SNAPSHOT_ENTRIES, &n) == 0 && n ? n
                                                                          : STORE_SNAPSHOT_ENTRIES;
}

static int start(struct store *s, const char *dir, bool fresh, struct err *err) {
    raft_set_election_timeout(&s->raft, ELECTION_MS);
    raft_set_heartbeat_timeout(&s->raft, HEARTBEAT_MS);
    raft_set_pre_vote(&s->raft, true);
    raft_set_snapshot_threshold(&s->raft, snapshot_entries());
    raft_set_snapshot_trailing(&s->raft, snapshot_entries() / 8);
    if (fresh) {
        int r = bootstrap(s, dir, err);
        if (r < 0) return r;
    }
    int r = raft_start(&s->raft);
    if (r != 0) return raft_err(s, r, dir, "start", err);
    if (raft_last_index(&s->raft) == 0)
        return err_say(
            err, -EBADMSG,
            "the log in %s was in use but is empty now: its segments were deleted or its "
            "metadata is damaged; restore the directory from a backup",
            dir);
    return 0;
}

static void on_handle_closed(uv_handle_t *h) {
    struct store *s = h->data;
    if (--s->open_handles > 0) return;
    raft_uv_close(&s->io);
    fd_close(&s->dirfd);
    void (*done)(void *) = s->done;
    void *ctx = s->done_ctx;
    mem_free(s);
    if (done) done(ctx);
}

static void close_handles(struct store *s) {
    s->open_handles = 2;
    s->pump.data = s->watch.data = s;
    uv_close((uv_handle_t *) &s->pump, on_handle_closed);
    uv_close((uv_handle_t *) &s->watch, on_handle_closed);
}

static void on_last_turn(uv_idle_t *h) {
    close_handles(container_of(h, struct store, pump));
}

/* A turn later: handles of raft's last segment may be closing in this one, and come back to it. */
static void on_raft_closed(struct raft *raft) {
    struct store *s = raft->data;
    finish_all(s, &s->flight, -ECONNABORTED);
    uv_idle_stop(&s->pump);
    uv_idle_start(&s->pump, on_last_turn);
}

/* raft 0.15 tells the end of its I/O a second time when the handles of a segment close after the
 * work on it has ended, and frees twice. */
static void tell_io_closed_once(struct raft_io *io) {
    struct store *s = container_of(io, struct store, io);
    raft_io_close_cb cb = s->on_io_closed;
    s->on_io_closed = NULL;
    if (cb) cb(io);
}

static void close_io(struct raft_io *io, raft_io_close_cb cb) {
    struct store *s = container_of(io, struct store, io);
    s->on_io_closed = cb;
    s->io_close(io, tell_io_closed_once);
}

void store_close(struct store *s, void (*done)(void *ctx), void *ctx) {
    ensure(!s->closing);
    s->closing = true;
    s->done = done;
    s->done_ctx = ctx;
    finish_all(s, &s->queue, -ECONNABORTED);
    raft_close(&s->raft, on_raft_closed);
}

/* What raft would not notice, or not survive. */
static int verify(int dirfd, const char *dir, struct term *ret, struct err *err) {
    struct strv said = {0};
    int r = term_verify(dirfd, &said, ret, err);
    if (r == 0) r = verify_log(dirfd, &said, err);
    for (size_t i = 0; i < said.n; i++)
        log_warn("log.damage", "dir=\"%s\" what=\"%s\"", dir, said.v[i]);
    strv_fini(&said);
    return r < 0 ? err_wrap(err, r, "the log in %s", dir) : 0;
}

int store_open(uv_loop_t *loop, const char *dir, const struct store_ops *ops, void *ctx,
               struct store **ret, struct err *err) {
    bool fresh;
    struct term term = {0};
    auto_fd int dirfd = datadir_open(dir, &fresh, err);
    if (dirfd < 0) return dirfd;
    int r = fresh ? 0 : verify(dirfd, dir, &term, err);
    if (r < 0) return r;
    struct store *s = mem_zalloc(sizeof *s);
    if (!s) return err_set(err, -ENOMEM, "open the log");
    *s = (struct store){.loop = loop, .ops = ops, .ctx = ctx, .dirfd = -1, .term = term};
    list_init(&s->queue);
    list_init(&s->flight);
    transport_none_init(&s->transport);
    s->fsm = (struct raft_fsm){.version = 1,
                               .data = s,
                               .apply = fsm_apply,
                               .snapshot = fsm_snapshot,
                               .restore = fsm_restore};
    r = raft_uv_init(&s->io, loop, dir, &s->transport);
    if (r != 0) {
        r = err_say(err, -EIO, "the log in %s: %s", dir, raft_strerror(r));
        mem_free(s);
        return r;
    }
    raft_uv_set_auto_recovery(&s->io, false);
    raft_uv_set_segment_size(&s->io, SEGMENT_BYTES);
    if (raft_uv_set_snapshot_compression(&s->io, false) != 0)
        log_debug("log.compression", "left=on");
    s->set_term = s->io.set_term;
    s->set_vote = s->io.set_vote;
    s->io.set_term = set_term;
    s->io.set_vote = set_vote;
    s->io_close = s->io.close;
    s->io.close = close_io;
    r = raft_init(&s->raft, &s->io, &s->fsm, 1, "1");
    if (r != 0) {
        r = raft_err(s, r, dir, "init", err);
        raft_uv_close(&s->io);
        mem_free(s);
        return r;
    }
    s->raft.data = s;
    s->dirfd = steal_fd(&dirfd);
    uv_idle_init(loop, &s->pump);
    uv_check_init(loop, &s->watch);
    uv_check_start(&s->watch, on_watch);
    uv_unref((uv_handle_t *) &s->watch);
    r = start(s, dir, fresh, err);
    if (r < 0) {
        store_close(s, NULL, NULL); /* the caller runs its loop to the end, or exits */
        return r;
    }
    *ret = s;
    return 0;
}

int store_propose(struct store *s, const uint8_t *data, size_t len, store_cb cb, void *cb_ctx) {
    if (s->closing) return -ESHUTDOWN;
    if (s->queued >= STORE_QUEUE_MAX) return -EAGAIN;
    struct proposal *p = mem_zalloc(sizeof *p);
    uint8_t *copy = mem_dup(data, len);
    if (!p || !copy) {
        mem_free(p);
        mem_free(copy);
        return -ENOMEM;
    }
    *p = (struct proposal){.data = copy, .len = len, .cb = cb, .ctx = cb_ctx};
    list_add_tail(&s->queue, &p->in_queue);
    s->queued++;
    pump_later(s);
    return 0;
}

bool store_is_leader(const struct store *s) {
    return s->leading;
}

uint64_t store_last_applied(const struct store *s) {
    return raft_last_applied((struct raft *) (uintptr_t) &s->raft);
}
