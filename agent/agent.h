// SPDX-License-Identifier: Apache-2.0
/* agent/agent.h - the daemon's one struct, and what its parts may call of each other.
 *
 * Role     private to agent/. agent_event() is the only way into the reconciler; actions.c the only
 *          way out.
 * Thread   [loop]
 * Owns     every part; made and freed in main.c in written order.
 */
#ifndef ORLOP_AGENT_AGENT_H
#define ORLOP_AGENT_AGENT_H

#include <uv.h>

#include "agent/keeper_link.h"
#include "agent/prepare_task.h"
#include "agent/reconcile.h"
#include "agent/store.h"
#include "agent/writer.h"
#include "proto/bus/bus.h"
#include "runtime/base/list.h"
#include "runtime/base/paths.h"
#include "runtime/image/image.h"
#include "runtime/net/net.h"

struct aconns;
struct agent_images;
struct execs;
struct health;
struct logs;
struct oom;
struct ports;
struct asession;
struct aview;

/* What the shell knows of a task beside the reconciler: how its attempt was made. */
struct agent_task {
    char id[TASK_ID_MAX];
    uint32_t attempt;
    struct prepared *prepared; /* its descriptors are given away with START */
    bool describing;           /* a pool job finds out what an adopted one was made of */
    bool signal_due;           /* ... and then its stop signal is sent */
    bool watch_due;            /* ... and then its health is watched */
    bool relinking;            /* a pool job makes its links again */
    bool prepare_due;          /* as soon as the sweep is over and the proxy has answered */
};

enum agent_stop {
    AGENT_RUNS,
    AGENT_LEAVES, /* SIGTERM: everything else lives on */
    AGENT_HALTS,  /* SIGUSR1: sandboxes end, nothing of ours stays in the kernel */
};

struct agent {
    uv_loop_t *loop;
    struct paths paths;
    struct bus *bus;
    struct astore *store;
    struct writer *writer;
    struct image_store *images;
    struct net *net;
    struct aview *view;
    struct aconns *conns;
    struct ports *ports;
    struct health *health;
    struct oom *oom;
    struct klink *klink;
    struct agent_images *image_requests;
    struct logs *logs;
    struct execs *execs;
    struct asession *session;

    struct rec rec;
    struct rec_actions actions;
    struct list events;
    bool stepping;
    uv_timer_t tick;
    struct map tasks;          /* struct agent_task */
    size_t jobs;               /* pool jobs under way */
    bool swept, sweeping;      /* leftovers of nobody were, are looked for */
    struct strv volumes_going; /* removals under way */

    enum agent_stop stop;
    int exit_code;
};

/* Feed the reconciler; EV and what it points to are copied. Never fails: without memory the process
 * ends and the next one learns the same from store and keeper. */
void agent_event(struct agent *a, const struct rec_event *ev);
void agent_task_event(struct agent *a, enum rec_event_kind kind, const char *task);

/* Say why and end the process: what must survive is not in it. */
_Noreturn void agent_fatal(const struct agent *a, const char *what, int code);

struct agent_task *agent_task(struct agent *a, const char *id); /* made when missing */
void agent_task_drop(struct agent *a, const char *id);

extern const struct klink_ops agent_klink_ops; /* ctx: struct agent */
void agent_init_core(struct agent *a);
void agent_fini_core(struct agent *a);

/* actions.c */
void actions_perform(struct agent *a, const struct rec_action *action);
void actions_prepare_due(struct agent *a);    /* what some tasks waited for has come */
void actions_sweep(struct agent *a);          /* after the first list */
void actions_remove_volumes(struct agent *a); /* volumes_gone that nobody uses any more */
bool actions_volume_in_use(const struct agent *a, const char *name);

/* main.c: look whether a wanted stop has come to its end. */
void agent_check_stop(struct agent *a);

#endif
