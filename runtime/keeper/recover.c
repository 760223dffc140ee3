// SPDX-License-Identifier: Apache-2.0
/* What a new keeper finds: records of the one before it, sandboxes that live, FIFOs with bytes.
 *
 * The order matters. Pidfds are opened before the exit records are read: a process that was already
 * reaped when its pidfd was asked for has its record written by then, or the anchor is about to write
 * it (held.c) and it is waited for. A pid counts only with the start ticks and the boot id that were
 * recorded for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

struct recovery {
    struct keeper *k;
    struct map forgotten;
    int error;
    size_t adopted;
};

static void read_closed(void *ctx, const struct record_closed *r) {
    struct recovery *v = ctx;
    if (r->what == RECORD_TASK_FORGOTTEN) {
        if (map_set(&v->forgotten, r->task, v) < 0) v->error = -ENOMEM;
        return;
    }
    struct task *t = keeper__task_get(v->k, r->task);
    if (t)
        t->closed = true;
    else
        v->error = -ENOMEM;
}

static void read_start(void *ctx, const struct record_start *r) {
    struct recovery *v = ctx;
    if (map_get(&v->forgotten, r->task)) return;
    struct task *t = keeper__task_get(v->k, r->task);
    if (t && keeper__attempt_find(t, r->boot, r->attempt)) return;
    struct attempt *a = t ? keeper__attempt_new(t, r) : NULL;
    if (!a) {
        v->error = -ENOMEM;
        return;
    }
    keeper__attempt_set_pid(v->k, a, r->pid, r->start_ticks);
    keeper__attempt_move(a, ATTEMPT_RUNNING); /* until its exit is known */
}

typedef void (*attempt_cb)(struct recovery *v, struct attempt *a);

static void each_living(struct recovery *v, attempt_cb f) {
    const char *id;
    void *value;
    for (size_t i = 0; map_next(&v->k->tasks, &i, &id, &value);) {
        struct task *t = value;
        list_each (it, &t->attempts) {
            struct attempt *a = list_entry(it, struct attempt, in_task);
            if (a->state != ATTEMPT_ENDED) f(v, a);
        }
    }
}

static void find_process(struct recovery *v, struct attempt *a) {
    if (a->start.boot_hash != v->k->records.boot_hash) return; /* of a boot that is over */
    auto_fd int pidfd = sys_pidfd_open(a->start.pid, 0);
    if (pidfd < 0 || process_see(a->start.pid).start_ticks != a->start.start_ticks) return;
    a->pidfd_awaiting = steal_fd(&pidfd);
}

static void find_streams(struct recovery *v, struct attempt *a) {
    char path[PATHS_FULL_MAX];
    struct stat st;
    if (stat(keeper__fifo_path(v->k, &a->out[0], path), &st) < 0) return; /* closed long ago */
    struct err err = {0};
    if (keeper__streams_open(v->k, a, &err) < 0)
        log_error("log.lost", "task=%s err=\"%s\"", a->task->id, err.text);
}

static void adopt_or_end(struct recovery *v, struct attempt *a) {
    int pidfd = a->pidfd_awaiting;
    a->pidfd_awaiting = -1;
    if (pidfd < 0 && a->start.boot_hash == v->k->records.boot_hash) {
        keeper__await_record(v->k, a);
        return;
    }
    if (pidfd < 0) {
        keeper__end_unknown(v->k, a);
        return;
    }
    v->adopted++;
    keeper__watch(v->k, a, pidfd);
}

static void drop_forgotten(struct recovery *v) {
    const char *id;
    void *value;
    for (size_t i = 0; map_next(&v->forgotten, &i, &id, &value);) {
        struct task *t = keeper__task_find(v->k, id);
        v->k->stale += 4;
        if (t) keeper__task_drop(v->k, t);
    }
}

static void say_damage(const struct keeper *k) {
    static const char *const consequence[] = {
        [RECORDS_STARTS] = "what was started then is not known here any more",
        [RECORDS_EXITS] = "ends that are not known otherwise are reported as unknown",
        [RECORDS_CLOSED] = "tasks that were closed may be closed again",
    };
    for (enum records_file f = RECORDS_STARTS; f <= RECORDS_CLOSED; f++) {
        struct records_damage d;
        int r = records_examine(&k->records, f, &d);
        if (r == 0 && !d.bad && !d.torn) continue;
        log_error("records.damage",
                  "file=\"%s/%s\" err=\"%s\" records=%llu first_byte=%llu torn_bytes=%llu "
                  "what=\"they are left out: %s\"",
                  k->paths.run, records_name(f), r < 0 ? err_text(r) : "checksum is wrong",
                  r < 0 ? 0ULL : (unsigned long long) d.bad,
                  r < 0 ? 0ULL : (unsigned long long) d.first_byte,
                  r < 0 ? 0ULL : (unsigned long long) d.torn, consequence[f]);
    }
}

int keeper__recover(struct keeper *k, struct err *err) {
    struct recovery v = {.k = k};
    say_damage(k);
    int r = records_read_closed(&k->records, read_closed, &v);
    if (r == 0) drop_forgotten(&v);
    if (r == 0) r = records_read_starts(&k->records, read_start, &v);
    if (r == 0) r = v.error;
    map_fini(&v.forgotten);
    if (r < 0) return err_set(err, r, "read the start records in %s", k->paths.run);
    each_living(&v, find_process);
    each_living(&v, find_streams);
    keeper__read_exits(k);
    each_living(&v, adopt_or_end);
    keeper__compact(k);
    log_info("keeper.recovered", "tasks=%zu living=%zu", map_len(&k->tasks), v.adopted);
    return 0;
}
