// SPDX-License-Identifier: Apache-2.0
/* The tables: tasks by id, their attempts, attempts by pid. An attempt's life:
 *
 *     STARTING --exec--> RUNNING --exit--> ENDED
 *         \____________________exit___________/
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "keeper.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sm.h"
#include "runtime/base/str.h"

enum { COMPACT_MIN = 128 };

static const struct sm_state states[ATTEMPT__COUNT] = {
    [ATTEMPT_UNSET] = {"unset",
                       SM_BIT(ATTEMPT_STARTING) | SM_BIT(ATTEMPT_RUNNING) | SM_BIT(ATTEMPT_ENDED),
                       false},
    [ATTEMPT_STARTING] = {"starting", SM_BIT(ATTEMPT_RUNNING) | SM_BIT(ATTEMPT_ENDED), false},
    [ATTEMPT_RUNNING] = {"running", SM_BIT(ATTEMPT_ENDED), false},
    [ATTEMPT_ENDED] = {"ended", 0, true},
};

void keeper__attempt_move(struct attempt *a, enum attempt_state to) {
    char name[ATTEMPT_NAME_MAX];
    sm_move(states, &a->state, (int) to);
    log_info("attempt.state", "attempt=%s state=%s pid=%d", keeper__attempt_name(a, name),
             states[to].name, (int) a->start.pid);
}

struct task *keeper__task_find(const struct keeper *k, const char *id) {
    return map_get(&k->tasks, id);
}

struct task *keeper__task_get(struct keeper *k, const char *id) {
    struct task *t = map_get(&k->tasks, id);
    if (t) return t;
    ensure(strlen(id) < sizeof t->id);
    t = mem_zalloc(sizeof *t);
    if (!t) return NULL;
    memcpy(t->id, id, strlen(id) + 1);
    t->keeper = k;
    list_init(&t->attempts);
    list_init(&t->attempts);
    if (map_set(&k->tasks, id, t) < 0) {
        mem_free(t);
        return NULL;
    }
    return t;
}

void keeper__attempt_drop(struct keeper *k, struct attempt *a) {
    ensure(a->state == ATTEMPT_ENDED || a->state == ATTEMPT_UNSET);
    keeper__streams_close(k, a);
    loop_remove(&k->loop, &a->pidfd);
    loop_remove(&k->loop, &a->status);
    list_del(&a->in_task);
    list_del(&a->in_pid);
    list_del(&a->in_awaiting);
    mem_free(a->failure);
    if (a->state == ATTEMPT_ENDED) k->stale += 2; /* a start and an exit record */
    loop_free_later(&k->loop, &a->garbage, a);
}

void keeper__task_drop(struct keeper *k, struct task *t) {
    list_each_safe (it, &t->attempts)
        keeper__attempt_drop(k, list_entry(it, struct attempt, in_task));
    if (t->sink_open) sink_close(&t->sink);
    (void) map_del(&k->tasks, t->id);
    loop_free_later(&k->loop, &t->garbage, t);
}

static struct list *bucket(struct keeper *k, pid_t pid) {
    return &k->by_pid[(unsigned) pid % KEEPER_PID_BUCKETS];
}

struct attempt *keeper__attempt_new(struct task *t, const struct record_start *start) {
    struct attempt *a = mem_zalloc(sizeof *a);
    if (!a) return NULL;
    a->task = t;
    a->start = *start;
    a->pidfd_awaiting = -1;
    for (unsigned i = 0; i < 2; i++) {
        a->out[i].owner = a;
        a->out[i].number = i == 0 ? LOG_STDOUT : LOG_STDERR;
        list_init(&a->out[i].queue);
    }
    list_init(&a->in_awaiting);
    list_init(&a->in_pid);
    list_add_tail(&t->attempts, &a->in_task);
    return a;
}

void keeper__attempt_set_pid(struct keeper *k, struct attempt *a, pid_t pid, uint64_t start_ticks) {
    a->start.pid = pid;
    a->start.start_ticks = start_ticks;
    list_del(&a->in_pid);
    list_add_tail(bucket(k, pid), &a->in_pid);
}

struct attempt *keeper__attempt_find(const struct task *t, uint64_t boot, uint32_t attempt) {
    list_each (it, &t->attempts) {
        struct attempt *a = list_entry(it, struct attempt, in_task);
        if (a->start.boot == boot && a->start.attempt == attempt) return a;
    }
    return NULL;
}

struct attempt *keeper__attempt_newest(const struct task *t) {
    return list_empty(&t->attempts) ? NULL : list_entry(t->attempts.prev, struct attempt, in_task);
}

struct attempt *keeper__attempt_living(const struct task *t) {
    list_each (it, &t->attempts) {
        struct attempt *a = list_entry(it, struct attempt, in_task);
        if (a->state != ATTEMPT_ENDED) return a;
    }
    return NULL;
}

struct attempt *keeper__attempt_of_exit(struct keeper *k, const struct record_exit *r) {
    list_each (it, bucket(k, r->pid)) {
        struct attempt *a = list_entry(it, struct attempt, in_pid);
        if (a->start.pid == r->pid && a->start.start_ticks == r->start_ticks &&
            a->start.boot_hash == r->boot_hash)
            return a;
    }
    return NULL;
}

void keeper__attempt_prune(struct keeper *k, struct task *t) {
    size_t n = 0;
    list_each (it, &t->attempts) n++;
    list_each_safe (it, &t->attempts) {
        struct attempt *a = list_entry(it, struct attempt, in_task);
        if (n <= KEEPER_ENDED_KEPT + 1 || a->state != ATTEMPT_ENDED) return;
        keeper__attempt_drop(k, a);
        n--;
    }
}

bool keeper__nothing_lives(const struct keeper *k) {
    const char *id;
    void *t;
    for (size_t i = 0; map_next(&k->tasks, &i, &id, &t);)
        if (keeper__attempt_living(t)) return false;
    return true;
}

const char *keeper__attempt_name(const struct attempt *a, char buf[static ATTEMPT_NAME_MAX]) {
    snprintf(buf, ATTEMPT_NAME_MAX, "%s-%llu.%u", a->start.task, (unsigned long long) a->start.boot,
             a->start.attempt);
    return buf;
}

static bool keep_start(void *ctx, const void *record) {
    const struct record_start *r = record;
    const struct task *t = keeper__task_find(ctx, r->task);
    return t && keeper__attempt_find(t, r->boot, r->attempt);
}

static bool keep_exit(void *ctx, const void *record) {
    return keeper__attempt_of_exit(ctx, record) != NULL;
}

static bool keep_closed(void *ctx, const void *record) {
    const struct record_closed *r = record;
    return r->what == RECORD_TASK_CLOSED && keeper__task_find(ctx, r->task);
}

/* `closed` last: as long as it says "forgotten", a start record that is still there means nothing.
 */
void keeper__compact(struct keeper *k) {
    if (k->stale < COMPACT_MIN + map_len(&k->tasks)) return;
    int r = records_compact(&k->records, RECORDS_STARTS, keep_start, k);
    if (r == 0) {
        r = records_compact(&k->records, RECORDS_EXITS, keep_exit, k);
        k->exits_read = 0; /* the anchor may have added one meanwhile; the others say nothing new */
    }
    if (r == 0) r = records_compact(&k->records, RECORDS_CLOSED, keep_closed, k);
    if (r < 0) log_warn("records.compact", "err=\"%s\" next=\"again later\"", err_text(r));
    k->stale = 0;
}
