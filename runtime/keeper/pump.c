// SPDX-License-Identifier: Apache-2.0
/* Log bytes: FIFO -> sink, at most STREAM_STEP per stream and turn.
 *
 * All FIFOs are watched by an epoll of their own, which the keeper's loop listens to; after a turn it
 * does not for PUMP_PACE_MS. So the first line after a silence is moved at once, and of many writers
 * all lines of a few milliseconds cost one wake-up together. Requests and exits never wait for that.
 *
 * A stream is idle (edge-triggered epoll wakes it), ready (has its turn), or waiting (its token
 * bucket is empty, or the disk is full: the bytes stay in the pipe and the container waits:
 * back-pressure). FIFOs have names, so a keeper after us opens them again as long as anybody holds
 * them open: the container itself, or the anchor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "keeper.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum { FINISH_BYTES_MAX = 8 << 20, PUMP_PACE_MS = 4, STREAM_ROUNDS_MAX = 64 };

const char *keeper__fifo_name(const struct stream *s, char buf[static FIFO_NAME_MAX]) {
    char attempt[ATTEMPT_NAME_MAX];
    snprintf(buf, FIFO_NAME_MAX, "%s.%s", keeper__attempt_name(s->owner, attempt),
             s->number == LOG_STDOUT ? "out" : "err");
    return buf;
}

const char *keeper__fifo_path(const struct keeper *k, const struct stream *s,
                              char buf[static PATHS_FULL_MAX]) {
    char name[FIFO_NAME_MAX];
    snprintf(buf, PATHS_FULL_MAX, "%s/fifo/%s", k->paths.run, keeper__fifo_name(s, name));
    return buf;
}

int keeper__streams_make(struct keeper *k, struct attempt *a, struct err *err) {
    for (unsigned i = 0; i < 2; i++) {
        char path[PATHS_FULL_MAX];
        keeper__fifo_path(k, &a->out[i], path);
        if (mkfifo(path, 0600) < 0 && errno != EEXIST)
            return err_set(err, -errno, "mkfifo %s", path);
    }
    return 0;
}

static void make_ready(struct keeper *k, struct stream *s) {
    list_del(&s->queue);
    list_add_tail(&k->pump.ready, &s->queue);
}

static void on_fifo(struct loop_source *source, uint32_t events) {
    (void) events; /* also EPOLLHUP, once: nobody has it open for writing just now */
    struct stream *s = container_of(source, struct stream, source);
    if (list_empty(&s->queue)) make_ready(s->owner->task->keeper, s);
}

static void on_streams(struct loop_source *source, uint32_t events) {
    (void) events;
    struct keeper *k = container_of(source, struct keeper, pump.streams);
    int rounds = STREAM_ROUNDS_MAX;
    while (loop_turn(&k->pump.loop, 0, &k->now_ms) == LOOP_BATCH && --rounds > 0) {
    }
    loop_events(&k->loop, source, 0);
    k->pump.listen_ms = k->now_ms + PUMP_PACE_MS;
}

int keeper__pump_init(struct keeper *k) {
    list_init(&k->pump.ready);
    list_init(&k->pump.waiting);
    int r = loop_init(&k->pump.loop);
    if (r < 0) return r;
    return loop_add(&k->loop, &k->pump.streams, k->pump.loop.epoll, EPOLLIN, on_streams);
}

/* Lines of two attempts never mix: what an earlier one left on a full disk comes first. */
static int finish_earlier(struct keeper *k, struct task *t, struct err *err) {
    if (!t->sink_open) return 0;
    list_each (it, &t->attempts) {
        struct attempt *a = list_entry(it, struct attempt, in_task);
        if (a->state == ATTEMPT_ENDED) keeper__streams_finish(k, a);
    }
    if (!t->sink_open) return 0;
    return err_say(err, -ENOSPC, "the last lines of the attempt before wait for room on the disk");
}

static int open_sink(struct keeper *k, struct attempt *a, struct err *err) {
    struct task *t = a->task;
    if (t->sink_open && a->state != ATTEMPT_UNSET) return 0; /* adopted, as the one before it */
    int earlier = finish_earlier(k, t, err);
    if (earlier < 0) return earlier;
    char dir[PATHS_FULL_MAX];
    snprintf(dir, sizeof dir, "%s/tasks/%s/log", k->paths.state, t->id);
    bool none = a->start.flags & RECORD_START_LOG_NONE;
    int r =
        sink_open(&t->sink, none ? NULL : dir, a->start.log_max_bytes, a->start.log_max_files, err);
    if (r < 0) return r;
    t->sink_open = true;
    if (a->state != ATTEMPT_UNSET) return 0; /* adopted: it has begun already */
    r = sink_boundary(&t->sink, clock_unix_ns());
    return r < 0 ? err_set(err, r, "log index in %s", dir) : 0;
}

static int open_stream(struct keeper *k, struct stream *s, struct err *err) {
    char path[PATHS_FULL_MAX];
    keeper__fifo_path(k, s, path);
    auto_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return err_set(err, -errno, "open %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
        return err_set(err, -EIO, "%s is no FIFO", path);
    int r = loop_add(&k->pump.loop, &s->source, fd, EPOLLIN | EPOLLET, on_fifo);
    if (r < 0) return err_set(err, r, "watch %s", path);
    fd = -1; /* the loop's */
    s->tokens = STREAM_BURST;
    s->refilled_ms = k->now_ms;
    make_ready(k, s); /* pump once at least: what is in it already wakes nobody */
    return 0;
}

int keeper__streams_open(struct keeper *k, struct attempt *a, struct err *err) {
    int r = open_sink(k, a, err);
    if (r == 0) r = open_stream(k, &a->out[0], err);
    if (r == 0) r = open_stream(k, &a->out[1], err);
    return r;
}

static void wait_until(struct keeper *k, struct stream *s, int64_t ms) {
    list_del(&s->queue);
    s->wait_until_ms = ms;
    list_add_tail(&k->pump.waiting, &s->queue);
}

static void refill(struct keeper *k, struct stream *s) {
    int64_t elapsed = k->now_ms - s->refilled_ms;
    s->refilled_ms = k->now_ms;
    s->tokens = elapsed > 1000 ? STREAM_BURST : s->tokens + elapsed * (STREAM_RATE / 1000);
    if (s->tokens > STREAM_BURST) s->tokens = STREAM_BURST;
}

/* Bytes in the FIFO. */
static int64_t waiting_bytes(const struct stream *s) {
    int n = 0;
    return ioctl(s->source.fd, FIONREAD, &n) < 0 ? -errno : n;
}

static void stall(struct keeper *k, struct stream *s, int64_t why) {
    if (!s->stalled)
        log_warn("log.stalled", "task=%s err=\"%s\" next=\"again every %d ms\"", s->owner->task->id,
                 err_text((int) why), STREAM_RETRY_MS);
    s->stalled = true;
    wait_until(k, s, k->now_ms + STREAM_RETRY_MS);
}

static void step(struct keeper *k, struct stream *s) {
    list_del(&s->queue);
    if (s->owner->state == ATTEMPT_ENDED) {
        keeper__streams_finish(k, s->owner);
        return;
    }
    int64_t have = waiting_bytes(s);
    if (have <= 0) return; /* idle; the next byte wakes it */
    refill(k, s);
    if (s->tokens <= 0) {
        wait_until(k, s, k->now_ms + STREAM_STEP / (STREAM_RATE / 1000));
        return;
    }
    int64_t n =
        sink_move(&s->owner->task->sink, s->source.fd, s->number, STREAM_STEP, clock_unix_ns());
    if (n < 0) {
        stall(k, s, n);
        return;
    }
    s->stalled = false;
    s->tokens -= n;
    if (n < have) make_ready(k, s); /* what came since we looked is an edge of its own */
}

void keeper__pump_turn(struct keeper *k) {
    if (k->pump.listen_ms && k->pump.listen_ms <= k->now_ms) {
        k->pump.listen_ms = 0;
        loop_events(&k->loop, &k->pump.streams, EPOLLIN);
    }
    list_each_safe (it, &k->pump.waiting) {
        struct stream *s = list_entry(it, struct stream, queue);
        if (s->wait_until_ms <= k->now_ms) make_ready(k, s);
    }
    struct list turn; /* one step each; who is ready again has its next step in the next turn */
    list_init(&turn);
    while (!list_empty(&k->pump.ready)) {
        struct list *it = k->pump.ready.next;
        list_del(it);
        list_add_tail(&turn, it);
    }
    while (!list_empty(&turn)) step(k, list_entry(turn.next, struct stream, queue));
}

int64_t keeper__pump_deadline_ms(const struct keeper *k) {
    if (!list_empty(&k->pump.ready)) return 0;
    int64_t first = k->pump.listen_ms ? k->pump.listen_ms : INT64_MAX;
    list_each (it, &k->pump.waiting) {
        const struct stream *s = list_entry(it, struct stream, queue);
        if (s->wait_until_ms < first) first = s->wait_until_ms;
    }
    return first;
}

static void close_stream(struct keeper *k, struct stream *s) {
    list_del(&s->queue);
    int64_t left = s->source.ready && s->stalled ? waiting_bytes(s) : 0;
    if (left > 0)
        log_error("log.lost", "task=%s bytes=%lld why=\"its disk stayed full\"", s->owner->task->id,
                  (long long) left);
    if (s->source.ready) {
        loop_remove(&k->pump.loop, &s->source);
        keeper__hold_drop(k, s);
    }
    char path[PATHS_FULL_MAX];
    (void) unlink(keeper__fifo_path(k, s, path)); /* a name without a process harms nobody */
}

void keeper__streams_close(struct keeper *k, struct attempt *a) {
    close_stream(k, &a->out[0]);
    close_stream(k, &a->out[1]);
}

/* What is left when all writers are dead: at most a pipe's capacity, so no bucket. False: it stays
 * there, the disk is full. */
static bool drain(struct keeper *k, struct stream *s) {
    int64_t moved = 0;
    while (s->source.ready && moved < FINISH_BYTES_MAX && waiting_bytes(s) > 0) {
        int64_t n =
            sink_move(&s->owner->task->sink, s->source.fd, s->number, STREAM_STEP, clock_unix_ns());
        if (n < 0) stall(k, s, n);
        if (n <= 0) return n == 0;
        moved += n;
    }
    return true;
}

static bool streams_in_use(const struct task *t) {
    list_each (it, &t->attempts) {
        const struct attempt *a = list_entry(it, struct attempt, in_task);
        if (a->out[0].source.ready || a->out[1].source.ready) return true;
    }
    return false;
}

void keeper__streams_finish(struct keeper *k, struct attempt *a) {
    struct task *t = a->task;
    bool out = !t->sink_open || drain(k, &a->out[0]), err = !t->sink_open || drain(k, &a->out[1]);
    if (!out || !err) return; /* step() comes here again, and so does the next keeper */
    keeper__streams_close(k, a);
    if (!t->sink_open || streams_in_use(t)) return;
    sink_close(&t->sink);
    t->sink_open = false;
}

void keeper__pump_end(struct keeper *k) {
    const char *id;
    void *t;
    for (size_t i = 0; map_next(&k->tasks, &i, &id, &t);) {
        list_each (it, &((struct task *) t)->attempts) {
            struct attempt *a = list_entry(it, struct attempt, in_task);
            keeper__streams_finish(k, a);
            keeper__streams_close(k, a);
        }
    }
}

static const char *fifo_dir(const struct paths *p, char buf[static PATHS_FULL_MAX]) {
    return paths_run(p, "fifo", buf);
}

static bool mounted(const char *dir, const char *parent) {
    struct stat a, b;
    struct statfs fs;
    return stat(dir, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev &&
           statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

int keeper__fifo_mount(const struct paths *p, struct err *err) {
    char dir[PATHS_FULL_MAX];
    fifo_dir(p, dir);
    /* 0700: a FIFO belongs to its container's user, who may be somebody on the machine as well. */
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) return err_set(err, -errno, "mkdir %s", dir);
    if (mounted(dir, p->run)) return 0;
    int r = sys_mount("orlop-fifo", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                      "mode=0700,size=1m");
    return r < 0 ? err_set(err, r, "mount a tmpfs on %s", dir) : 0;
}

void keeper__fifo_unmount(const struct paths *p) {
    char dir[PATHS_FULL_MAX];
    int r = mounted(fifo_dir(p, dir), p->run) ? sys_umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) : 0;
    if (r < 0) log_warn("fifo.unmount", "dir=\"%s\" err=\"%s\"", dir, err_text(r));
    (void) rmdir(dir); /* busy or gone: the next keeper uses it */
}
