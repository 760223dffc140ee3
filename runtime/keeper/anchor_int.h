// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/anchor_int.h - the anchor's inside: roles (roles.c), held FIFOs (held.c), the
 * process (anchor.c).
 *
 * Thread   [anchor].
 */
#ifndef ORLOP_KEEPER_ANCHOR_INT_H
#define ORLOP_KEEPER_ANCHOR_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "anchor.h"
#include "loop.h"
#include "records.h"
#include "runtime/base/map.h"
#include "runtime/base/paths.h"

enum {
    ROLE_BACKOFF_MIN_MS = 100,
    ROLE_BACKOFF_MAX_MS = 5000,
    ROLE_STEADY_MS = 10000, /* lived this long: the back-off starts anew */
    ROLE_LOG_MAX = 4 << 20, /* a longer one is emptied */
    ROLE_TRIM_MS = 60000,
    ANCHOR_STOP_MS = 10000, /* then SIGKILL (never the keeper) */
    ANCHOR_USR1_MS = 1000,  /* a restarted agent has its handler by then */
    ANCHOR_DRAIN_TRIES = 3, /* an agent that exits by itself that often does not start */
    HELD_RETRY_MS = 10,
};

enum role_id { ROLE_KEEPER, ROLE_PROXY, ROLE_SCHEDULER, ROLE_AGENT, ROLE__COUNT };

struct role {
    const char *name;
    char **argv;      /* NULL: not wanted */
    const char *file; /* "/proc/self/exe", or orlop's path */
    pid_t pid;        /* 0: does not run */
    bool child;       /* ours: SIGCHLD tells; else adopted: its pidfd does */
    struct loop_source pidfd;
    int64_t started_ms, next_start_ms, backoff_ms;
    unsigned restarts;
};

enum anchor_phase { ANCHOR_RUNNING, ANCHOR_DRAINING /* SIGUSR1 */, ANCHOR_STOPPING };

struct anchor {
    struct paths paths;
    struct loop loop;
    struct loop_source signals;
    struct records records;
    struct role roles[ROLE__COUNT];
    struct loop_source keeper; /* hold.sock */
    struct map held;           /* FIFO's name -> struct held */
    int64_t next_connect_ms;
    int64_t next_trim_ms;
    int64_t now_ms;
    int64_t deadline_ms; /* of DRAINING's reminder, or of STOPPING */
    int phase;
    unsigned drain_failures;
    bool stop_keeper; /* all ends, the keeper too */
    bool reap_again;  /* an exit record could not be written */
    bool ready;       /* systemd was told */
    bool compared;    /* the keeper's executable with ours */
    bool end;
    int exit_code;
};

/* roles.c */
void anchor__roles_init(struct anchor *a, const struct anchor_config *cfg);
void anchor__roles_adopt(struct anchor *a); /* who holds a lock already */
void anchor__roles_turn(struct anchor *a);  /* start what is due */
int64_t anchor__roles_deadline_ms(const struct anchor *a);
void anchor__role_signal(struct anchor *a, enum role_id id, int sig);
void anchor__role_ended(struct anchor *a, struct role *r,
                        int wait_status); /* anchor.c decides more */
struct role *anchor__role_of_child(struct anchor *a, pid_t pid);
void anchor__on_role_end(struct anchor *a, enum role_id id, int wait_status); /* anchor.c */

/* held.c */
void anchor__held_turn(struct anchor *a); /* connect to the keeper when it is time */
void anchor__held_rest(struct anchor *a); /* the keeper is dead: take what it still said */
void anchor__held_farewell(struct anchor *a);

#endif
