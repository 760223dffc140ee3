// SPDX-License-Identifier: Apache-2.0
/* tests/unit/agent/node.h - a whole node for one test: anchor, keeper, proxy and agent as processes
 * in mount and network namespaces of their own, an image made of busybox, and a scheduler of a page
 * in this process.
 *
 * Thread   the test's loop; callbacks record, the test asserts.
 */
#ifndef ORLOP_TESTS_AGENT_NODE_H
#define ORLOP_TESTS_AGENT_NODE_H

#include <sys/types.h>
#include <uv.h>

#include "agent.pb-c.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"
#include "runtime/base/map.h"
#include "runtime/base/paths.h"

enum { NODE_NETWORK = 0x4f520001, NODE_DEADLINE_MS = 60000 };

struct node {
    uv_loop_t loop;
    struct bus *bus;
    struct bus_stream *session; /* NULL: the agent is away */
    bool deaf;                  /* no scheduler in reach: sessions are refused */
    char dir[64];
    struct paths paths;
    char image[80];
    pid_t anchor, agent;
    const char *boot_id;
    char netns[96]; /* of the machine that we came from */

    struct arena arena; /* wanted tasks */
    struct map wanted;  /* id -> Orlop__TaskSpec */
    struct map status;  /* id -> struct node_status */
    struct map volumes_gone;
    uint64_t idx, applied, number;
    uint8_t store[16];
    bool synced;
    unsigned hellos;
};

struct node_status {
    struct arena arena;
    Orlop__TaskStatus *s;
};

/* NULL, or why it is not possible here. */
const char *node_set_up(struct node *n);
void node_tear_down(struct node *n);
/* Turn the loop until PRED holds; false after NODE_DEADLINE_MS. */
bool node_until(struct node *n, bool (*pred)(struct node *n, const void *arg), const void *arg);

void node_start_agent(struct node *n);
int node_end_agent(struct node *n, int signal); /* exit code, or -signal */
void node_kill_keeper(struct node *n);
void node_start_anchor(struct node *n);
void node_end_anchor(struct node *n, int signal);

/* A task that runs `sh -c SCRIPT`; change it before node_want. Lives in the node's arena. */
Orlop__TaskSpec *node_task(struct node *n, const char *id, const char *service, const char *script);
void node_restart_policy(struct node *n, Orlop__TaskSpec *t, Orlop__RestartPolicy__Condition c);
void node_mount(struct node *n, Orlop__TaskSpec *t, Orlop__Mount__Kind kind, const char *source,
                const char *target);
void node_want(struct node *n, Orlop__TaskSpec *t);
void node_set_want(struct node *n, const char *id, Orlop__Want want);
void node_drop(struct node *n, const char *id); /* out of the set */
void node_volume_gone(struct node *n, const char *name);

const Orlop__TaskStatus *node_status_of(struct node *n, const char *id); /* NULL = none yet */
void node_wait_state(struct node *n, const char *id, Orlop__TaskState state);
void node_wait_gone(struct node *n, const char *id);
void node_wait_attempt(struct node *n, const char *id,
                       uint32_t attempt); /* RUNNING in it or a later one */
/* STATE/tasks/ID/log as text (all bytes); the caller's. */
char *node_log(struct node *n, const char *id);
bool node_log_has(struct node *n, const char *id, const char *text); /* waits for it */
bool node_path_exists(const struct node *n, const char *fmt, ...) printf_like(2, 3);

#endif
