// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/keeper.h - the keeper's inside: its tables, and who does what with them.
 *
 * Role     private to keeper.c, table.c, start.c, stop.c, answer.c, pump.c, peer.c, hold.c, exec.c,
 *          recover.c, upgrade.c.
 * Thread   [keeper]: one thread, one loop; nothing here waits but for the disk.
 * Owns     tasks own attempts, an attempt owns its streams, pidfd and pipes; a peer owns its socket
 *          and the execs it asked for.
 *
 *   START   check, FIFOs, clone, start record, HOLD to the anchor, go byte, (exec), reply
 *   exit    pidfd readable, look, record, reap, last bytes of the FIFOs, `exited` to all peers
 *   CLOSE   closed record, SIGKILL, (exit as above), `closed` when nothing lives
 */
#ifndef ORLOP_KEEPER_KEEPER_H
#define ORLOP_KEEPER_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper.pb-c.h"
#include "loop.h"
#include "outq.h"
#include "records.h"
#include "request.h"
#include "runtime/base/list.h"
#include "runtime/base/map.h"
#include "runtime/base/paths.h"
#include "runtime/container/container.h"
#include "sink.h"

enum {
    KEEPER_PID_BUCKETS = 1024,
    KEEPER_PEERS_MAX = 16,
    KEEPER_EXECS_MAX = 1024, /* living ones, all peers together */
    KEEPER_ENDED_KEPT = 2,   /* ended attempts of a task beside its newest */
    KEEPER_CLOSE_WAITERS_MAX = 8,
    KEEPER_PEER_QUEUE_MAX = 4 << 20,
    KEEPER_PACKET_BYTES = 192 * 1024, /* = KEEPER_PACKET_MAX of client.h */
    STREAM_STEP = 64 * 1024,          /* bytes per stream and turn */
    STREAM_RATE = 4 << 20,            /* bytes per second and stream */
    STREAM_BURST = 1 << 20,
    STREAM_RETRY_MS = 500, /* after a full disk */
};

struct keeper;
struct attempt;

/* Whom to answer. A peer that goes away takes its waiters with it. */
struct waiter {
    struct peer *peer; /* NULL: nobody */
    uint64_t id;
};

struct stream {
    struct loop_source source; /* the FIFO's read end */
    struct attempt *owner;
    unsigned number;   /* enum log_stream */
    struct list queue; /* in pump.ready or pump.waiting, or in none: idle */
    int64_t tokens;
    int64_t refilled_ms;
    int64_t wait_until_ms;
    bool stalled; /* the disk is full, and the log of ours says so */
};

enum attempt_state {
    ATTEMPT_UNSET,
    ATTEMPT_STARTING, /* cloned, perhaps before its exec */
    ATTEMPT_RUNNING,
    ATTEMPT_ENDED,
    ATTEMPT__COUNT,
};

struct start_failure {
    int error; /* positive errno */
    char phase[32];
    char text[ERR_TEXT_MAX];
};

struct attempt {
    struct list in_task, in_pid, in_awaiting;
    struct task *task;
    int state;
    struct record_start start;
    struct loop_source pidfd;
    struct loop_source status; /* container_process.status_fd */
    int pidfd_awaiting;        /* ended, but its exit record is not there yet */
    int64_t awaiting_since_ms;
    struct waiter starter;
    struct start_failure *failure; /* its start failed */
    bool exit_known, never_ran;
    int32_t wait_status;
    int64_t ended_unix_ns;
    struct stream out[2];
    struct loop_garbage garbage;
};

struct task {
    char id[RECORD_TASK_MAX];
    struct keeper *keeper;
    struct list attempts; /* oldest first */
    bool closed;
    struct waiter closers[KEEPER_CLOSE_WAITERS_MAX];
    struct sink sink;
    bool sink_open;
    struct loop_garbage garbage;
};

struct peer {
    struct list node;
    struct keeper *keeper;
    struct loop_source source;
    struct outq out;
    struct list execs;
    struct loop_garbage garbage;
};

struct exec {
    struct list in_peer;
    struct keeper *keeper;
    struct peer *peer; /* NULL: gone, the process was killed */
    uint64_t id;
    pid_t pid;
    bool started;
    struct loop_source pidfd, status;
    int master; /* with tty, for RESIZE */
    struct loop_garbage garbage;
};

struct pump {
    struct list ready, waiting;
    struct loop loop;           /* all FIFOs */
    struct loop_source streams; /* that loop's epoll, in the keeper's own loop */
    int64_t listen_ms;          /* not listened to until then; 0 = it is */
};

struct hold {
    struct loop_source listener, anchor;
    struct outq out;
    bool farewell; /* the anchor said goodbye: none is wanted */
    bool synced;   /* an anchor has written the records of what ended before us */
    int64_t next_try_ms;
    pid_t child; /* an anchor that we started */
    struct loop_source child_pidfd;
};

struct keeper {
    struct paths paths;
    char **argv;        /* how to start a keeper */
    char **anchor_argv; /* how to start an anchor; NULL when systemd does */
    int lock;           /* RUN/keeper.lock */
    int upgrade;        /* the executable to become when nothing is under way, or -1 */
    struct loop loop;
    struct loop_source signals, listener;
    struct records records;
    uint64_t exits_read; /* offset in RUN/exits */
    size_t stale;        /* records on disk of what is not in the tables any more */
    struct map tasks;
    struct list by_pid[KEEPER_PID_BUCKETS];
    struct list awaiting;
    struct list peers;
    size_t n_execs;
    struct pump pump;
    struct hold hold;
    struct budget budget;
    uint64_t nofile_soft, nofile_hard; /* what we were given, for the containers */
    int64_t now_ms;                    /* CLOCK_MONOTONIC, once a turn */
    bool stop;
    char packet[KEEPER_PACKET_BYTES];
};

/* keeper.c: the process. */
struct keeper_config {
    const char *state, *run; /* NULL: environment, defaults */
    char **argv, **anchor_argv;
};
must_use int keeper_main(const struct keeper_config *cfg);

/* table.c: tasks and attempts, no I/O but closing what they own. */
struct task *keeper__task_find(const struct keeper *k, const char *id);
struct task *keeper__task_get(struct keeper *k,
                              const char *id);            /* made when missing; NULL = no memory */
void keeper__task_drop(struct keeper *k, struct task *t); /* nothing of it lives */
struct attempt *keeper__attempt_new(struct task *t, const struct record_start *start);
void keeper__attempt_set_pid(struct keeper *k, struct attempt *a, pid_t pid, uint64_t start_ticks);
void keeper__attempt_drop(struct keeper *k, struct attempt *a); /* ended, or never cloned */
struct attempt *keeper__attempt_find(const struct task *t, uint64_t boot, uint32_t attempt);
struct attempt *keeper__attempt_newest(const struct task *t);
struct attempt *keeper__attempt_living(const struct task *t); /* NULL = none */
struct attempt *keeper__attempt_of_exit(struct keeper *k, const struct record_exit *r);
void keeper__attempt_move(struct attempt *a, enum attempt_state to);
void keeper__attempt_prune(struct keeper *k, struct task *t); /* keeps KEEPER_ENDED_KEPT */
bool keeper__nothing_lives(const struct keeper *k);
/* "TASK-BOOT.ATTEMPT", the name of cgroup, FIFOs, links. */
enum { ATTEMPT_NAME_MAX = RECORD_TASK_MAX + 36, FIFO_NAME_MAX = ATTEMPT_NAME_MAX + 8 };
const char *keeper__attempt_name(const struct attempt *a, char buf[static ATTEMPT_NAME_MAX]);
void keeper__compact(struct keeper *k); /* when enough is stale */

/* start.c, stop.c, answer.c, exec.c: the requests. */
void keeper__start(struct keeper *k, struct peer *p, Orlop__KeeperRequest *req, const int *fds,
                   size_t n_fds);
void keeper__close(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req);
void keeper__signal(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req);
void keeper__forget(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req);
void keeper__list(struct keeper *k, struct peer *p, uint64_t id);
void keeper__shutdown(struct keeper *k, struct peer *p, uint64_t id);
void keeper__exec(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req, const int *fds,
                  size_t n_fds);
void keeper__exec_signal(struct peer *p, const Orlop__KeeperRequest *req);
void keeper__resize(struct peer *p, const Orlop__KeeperRequest *req);
void keeper__execs_abandon(struct peer *p); /* the peer is gone */

/* start.c: read the child's report, if it is there, and answer the starter. */
void keeper__start_resolve(struct keeper *k, struct attempt *a);
void keeper__answer_starter(struct attempt *a);
/* What container.h's status_fd says: 1 = a failure in *ret, 0 = the end (exec'ed), -EAGAIN =
 * nothing yet. */
must_use int keeper__read_report(int status_fd, struct start_failure *ret);

/* stop.c: the ends of attempts. */
void keeper__watch(struct keeper *k, struct attempt *a, int pidfd); /* TAKES */
void keeper__attempt_ended(struct keeper *k, struct attempt *a, const struct record_exit *how);
void keeper__end_unknown(struct keeper *k, struct attempt *a); /* records that nobody knows how */
void keeper__read_exits(struct keeper *k);
void keeper__await_record(struct keeper *k, struct attempt *a); /* it is gone: unknown, or not? */
void keeper__await_turn(struct keeper *k); /* every AWAIT_TICK_MS while k->awaiting is not empty */
enum { AWAIT_TICK_MS = 10 };

/* answer.c */
void keeper__entry(const struct attempt *a, Orlop__SandboxEntry *ret); /* borrows A's strings */
void keeper__send(struct peer *p, Orlop__KeeperMessage *m, int fd);
void keeper__send_done(struct peer *p, uint64_t id);
void keeper__send_failed(struct peer *p, uint64_t id, int error, const char *phase,
                         const char *text);
void keeper__send_all(struct keeper *k, Orlop__KeeperMessage *m);

/* peer.c */
must_use int keeper__listen(struct keeper *k, struct err *err);
void keeper__peer_close(struct peer *p);

/* pump.c: FIFO -> log file. */
must_use int keeper__pump_init(struct keeper *k);
must_use int keeper__streams_open(struct keeper *k, struct attempt *a, struct err *err);
must_use int keeper__streams_make(struct keeper *k, struct attempt *a,
                                  struct err *err); /* the FIFOs */
const char *keeper__fifo_name(const struct stream *s, char buf[static FIFO_NAME_MAX]);
const char *keeper__fifo_path(const struct keeper *k, const struct stream *s,
                              char buf[static PATHS_FULL_MAX]);
void keeper__pump_turn(struct keeper *k);
int64_t keeper__pump_deadline_ms(const struct keeper *k); /* 0 = at once, INT64_MAX = none */
/* It has ended: last bytes, close. On a full disk later. */
void keeper__streams_finish(struct keeper *k, struct attempt *a);
void keeper__streams_close(struct keeper *k, struct attempt *a);
void keeper__pump_end(struct keeper *k); /* nothing lives: what cannot be written now is lost */
must_use int keeper__fifo_mount(const struct paths *p, struct err *err);
void keeper__fifo_unmount(const struct paths *p);

/* hold.c: the anchor holds the FIFOs and the pidfd too. */
must_use int keeper__hold_listen(struct keeper *k, struct err *err);
void keeper__hold_stream(struct keeper *k, struct stream *s);
void keeper__hold_drop(struct keeper *k, struct stream *s);
void keeper__hold_process(struct keeper *k, struct attempt *a, int pidfd);
void keeper__hold_drop_process(struct keeper *k, struct attempt *a);
void keeper__hold_turn(struct keeper *k); /* no anchor: start one */

/* recover.c */
must_use int keeper__recover(struct keeper *k, struct err *err);

/* upgrade.c */
void keeper__upgrade_turn(struct keeper *k);

#endif
