// SPDX-License-Identifier: Apache-2.0
#include "agent/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup.h"

enum { VMSTAT_MAX = 64 * 1024 };

struct oom {
    struct agent *agent;
    uv_timer_t timer;
    uint64_t seen;
    bool look_again; /* the kernel counts for the machine first, then for the cgroup */
};

static uint64_t kills_on_this_machine(void) {
    static const char key[] = "\noom_kill ";
    auto_free char *text = NULL;
    uint64_t n = 0;
    if (fd_read_file(AT_FDCWD, "/proc/vmstat", VMSTAT_MAX, &text, NULL) < 0) return 0;
    const char *at = strstr(text, key);
    return at && sscanf(at + sizeof key - 1, "%" SCNu64, &n) == 1 ? n : 0;
}

static void look_at(struct agent *a, const struct task *t) {
    char name[TASK_SANDBOX_MAX];
    struct cgroup_usage usage;
    task_sandbox_name(t->id, t->boot, t->attempt, name);
    if (cgroup_read_usage(a->paths.cgroup, name, &usage) < 0) return; /* it is just ending */
    if (usage.oom_kills == t->oom_kills) return;
    log_warn("task.oom", "task=%s kills=%" PRIu64, t->id, usage.oom_kills);
    agent_event(
        a, &(struct rec_event){
               .kind = REC_EV_OOM, .task = t->id, .attempt = t->attempt, .idx = usage.oom_kills});
}

static void on_look(uv_timer_t *timer) {
    struct oom *o = container_of(timer, struct oom, timer);
    struct agent *a = o->agent;
    uint64_t now = kills_on_this_machine();
    if (!a->rec.keeper_up || (now == o->seen && !o->look_again)) return;
    o->look_again = now != o->seen;
    o->seen = now;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, &key, &value);) {
        const struct task *t = value;
        if (t->state == TASK_RUNNING) look_at(a, t); /* the event drops none: it only tells */
    }
}

int oom_new(struct agent *a, struct oom **ret) {
    struct oom *o = mem_zalloc(sizeof *o);
    if (!o) return -ENOMEM;
    o->agent = a;
    uv_timer_init(a->loop, &o->timer);
    uv_timer_start(&o->timer, on_look, OOM_LOOK_MS, OOM_LOOK_MS);
    *ret = o;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    mem_free(container_of((uv_timer_t *) h, struct oom, timer));
}

void oom_close(struct oom *o) {
    if (o) uv_close((uv_handle_t *) &o->timer, on_closed);
}
