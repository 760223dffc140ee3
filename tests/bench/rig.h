// SPDX-License-Identifier: Apache-2.0
/* tests/bench/rig.h - an anchor and a keeper of its own for a benchmark, and what the agent makes
 * before a start: overlay, cgroup, seccomp program. Every error ends the program. One a process. */
#ifndef ORLOP_BENCH_RIG_H
#define ORLOP_BENCH_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/paths.h"
#include "runtime/keeper/client.h"

enum { RIG_TASK_MAX = 32, RIG_CGROUP_MAX = 48 };

extern struct err rig_err;
#define CK(x) rig_check((long) (x), #x, __FILE__, __LINE__)
long rig_check(long r, const char *what, const char *file, int line);
int64_t rig_now_ns(void);      /* monotonic */
int64_t rig_cpu_ns(pid_t pid); /* that it has run */
struct paths *rig_paths(void);

void rig_init(const char *lower, const char *state, const char *run);
void rig_write_seccomp(const char *path);
/* KEEPER: the executable. Connects; the anchor runs no other role. */
void rig_start(const char *keeper);
void rig_stop(void);
pid_t rig_keeper_pid(void);
pid_t rig_anchor_pid(void);

/* One sandbox: made, then started with ARGV. With ADDRESS (not 0) it gets a link. */
struct rig_box {
    char task[RIG_TASK_MAX], cgroup[RIG_CGROUP_MAX];
    int root, seccomp;
    uint32_t address;
    int64_t log_max_bytes;
};
void rig_box_make(struct rig_box *b, int k);
void rig_box_start(const struct rig_box *b, uint64_t id, char **argv);
void rig_box_signal(const struct rig_box *b, uint64_t id, int signal);
void rig_box_close(const struct rig_box *b, uint64_t id);
void rig_box_forget(const struct rig_box *b, uint64_t id);
void rig_box_remove(struct rig_box *b); /* after its end: cgroup and root */

/* The next message, waited for; freed by keeper_message_free. */
Orlop__KeeperMessage *rig_next(void);

#endif
