// SPDX-License-Identifier: Apache-2.0
/* The anchor's process. Phases:
 *
 *   RUNNING --SIGTERM--> STOPPING: agent, scheduler, proxy end; keeper and sandboxes live on; exit 0
 *   RUNNING --SIGUSR1--> DRAINING: the agent stops all sandboxes; when it has exited with 0
 *                        --> STOPPING, the keeper too (it ends only if nothing lives: else exit 1);
 *                        when it cannot start --> STOPPING without the keeper, exit 1
 */
#include "anchor_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "process.h"
#include "reap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { REAP_AGAIN_MS = 100 };

static struct anchor self;

static bool all_ended(const struct anchor *a) {
    for (int i = ROLE_KEEPER; i < ROLE__COUNT; i++)
        if (a->roles[i].pid && (i != ROLE_KEEPER || a->stop_keeper)) return false;
    return true;
}

static void finish_if_ended(struct anchor *a) {
    if (a->phase == ANCHOR_STOPPING && all_ended(a)) a->end = true;
}

static void stop(struct anchor *a, bool keeper_too) {
    if (a->phase == ANCHOR_STOPPING) return;
    log_info("anchor.stop", "keeper=%s", keeper_too ? "ends" : "lives on");
    a->phase = ANCHOR_STOPPING;
    a->stop_keeper = keeper_too;
    a->deadline_ms = a->now_ms + ANCHOR_STOP_MS;
    process_notify("STOPPING=1");
    anchor__roles_adopt(a);   /* who is not known yet ends as well */
    anchor__held_farewell(a); /* in both cases: it must not start another anchor */
    anchor__role_signal(a, ROLE_AGENT, SIGTERM);
    anchor__role_signal(a, ROLE_SCHEDULER, SIGTERM);
    anchor__role_signal(a, ROLE_PROXY, SIGTERM);
    if (keeper_too) anchor__role_signal(a, ROLE_KEEPER, SIGTERM);
    finish_if_ended(a);
}

static void drain(struct anchor *a) {
    if (a->phase != ANCHOR_RUNNING) return;
    a->phase = ANCHOR_DRAINING;
    a->deadline_ms = INT64_MAX;
    log_info("anchor.drain", "next=\"the agent stops all\"");
    if (a->roles[ROLE_AGENT].pid)
        anchor__role_signal(a, ROLE_AGENT, SIGUSR1);
    else if (a->roles[ROLE_AGENT].argv)
        a->deadline_ms = a->now_ms + ANCHOR_USR1_MS; /* it is being restarted */
    else
        stop(a, true);
}

/* An agent that cannot start (a damaged store) stops nobody: the keeper stays with what it has, and
 * whoever waits for its end sees that. */
static void give_up_draining(struct anchor *a) {
    log_error("anchor.drain", "err=\"the agent does not start; see its log\"");
    stop(a, false);
    a->exit_code = EXIT_FAILURE;
}

void anchor__on_role_end(struct anchor *a, enum role_id id, int wait_status) {
    if (id == ROLE_KEEPER) anchor__held_rest(a);
    if (a->phase == ANCHOR_DRAINING && id == ROLE_AGENT) {
        if (wait_status == 0)
            stop(a, true);
        else if (WIFEXITED(wait_status) && ++a->drain_failures == ANCHOR_DRAIN_TRIES)
            give_up_draining(a);
        else
            a->deadline_ms = a->now_ms + ANCHOR_USR1_MS + ROLE_BACKOFF_MIN_MS;
    }
    finish_if_ended(a);
}

static void deadline(struct anchor *a) {
    if (a->now_ms < a->deadline_ms) return;
    if (a->phase == ANCHOR_DRAINING) {
        a->deadline_ms = a->roles[ROLE_AGENT].pid ? INT64_MAX : a->now_ms + ANCHOR_USR1_MS;
        anchor__role_signal(a, ROLE_AGENT, SIGUSR1);
        return;
    }
    if (a->phase != ANCHOR_STOPPING) return;
    log_error("anchor.stop", "err=\"a role did not end in time\"");
    anchor__role_signal(a, ROLE_AGENT, SIGKILL);
    anchor__role_signal(a, ROLE_SCHEDULER, SIGKILL);
    anchor__role_signal(a, ROLE_PROXY, SIGKILL);
    a->exit_code = EXIT_FAILURE;
    a->end = true;
}

/* Children of ours, and what a dead keeper has left. */
static void reap(struct anchor *a) {
    struct reaped dead;
    a->reap_again = false;
    while (reap_look(P_ALL, 0, &dead) == 1) {
        struct role *r = anchor__role_of_child(a, dead.pid);
        if (r) {
            reap_plain(dead.pid);
            anchor__role_ended(a, r, dead.wait_status);
            continue;
        }
        int e = reap_record(&a->records, &dead, NULL);
        if (e == 0) continue;
        log_error("exit.record", "pid=%d err=\"%s\" next=\"again soon\"", (int) dead.pid,
                  err_text(e));
        a->reap_again = true;
        return;
    }
}

static void on_signal(struct loop_source *s, uint32_t events) {
    (void) events;
    struct anchor *a = container_of(s, struct anchor, signals);
    struct signalfd_siginfo info;
    while (read(s->fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stop(a, false);
        if (info.ssi_signo == SIGUSR1) drain(a);
    }
    reap(a);
}

static sigset_t our_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    return set;
}

static int watch_signals(struct anchor *a) {
    sigset_t set = our_signals();
    auto_fd int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) return -errno;
    int r = loop_add(&a->loop, &a->signals, fd, EPOLLIN, on_signal);
    if (r == 0) fd = -1; /* the loop's */
    return r;
}

static int set_up(struct anchor *a, const struct anchor_config *cfg, struct err *err) {
    int lock;
    int r = paths_init(&a->paths, cfg->state, cfg->run, err);
    if (r == 0) r = process_take_lock(&a->paths, "anchor.lock", &lock, err);
    if (r < 0) return r;
    char logs[PATHS_FULL_MAX];
    r = fd_mkdirs(AT_FDCWD, paths_run(&a->paths, "logs", logs), 0750);
    if (r == 0) r = fd_mkdirs(AT_FDCWD, a->paths.state, 0700);
    if (r < 0)
        return err_set(err, r, "make the directories of %s and %s", a->paths.run, a->paths.state);
    uint64_t soft, hard;
    r = process_raise_nofile(&soft,
                             &hard); /* before anything is held: with too few, bytes get lost */
    if (r < 0) return err_set(err, r, "raise the limit on descriptors");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return err_set(err, -errno, "subreaper");
    r = records_open(&a->records, a->paths.run, err);
    if (r < 0) return r;
    r = loop_init(&a->loop);
    if (r == 0) r = watch_signals(a);
    if (r == 0 && (setenv("ORLOP_RUN_DIR", a->paths.run, 1) < 0 ||
                   setenv("ORLOP_STATE_DIR", a->paths.state, 1) < 0))
        r = -ENOMEM;
    return r < 0 ? err_set(err, r, "set up") : 0;
}

static int timeout_ms(const struct anchor *a) {
    int64_t at = anchor__roles_deadline_ms(a);
    if (a->phase != ANCHOR_RUNNING && a->deadline_ms < at) at = a->deadline_ms;
    if (!a->keeper.ready && a->roles[ROLE_KEEPER].pid && a->next_connect_ms < at)
        at = a->next_connect_ms;
    if (a->reap_again && a->now_ms + REAP_AGAIN_MS < at) at = a->now_ms + REAP_AGAIN_MS;
    if (at == INT64_MAX) return -1;
    return at <= a->now_ms ? 0 : (int) (at - a->now_ms);
}

static void turn(struct anchor *a) {
    if (a->reap_again) reap(a);
    anchor__roles_turn(a);
    anchor__held_turn(a);
    deadline(a);
    if (!a->ready && a->keeper.ready) {
        a->ready = true;
        process_notify("READY=1");
    }
}

int anchor_main(const struct anchor_config *cfg) {
    log_init("anchor");
    (void) prctl(PR_SET_NAME, "orlop-anchor");
    struct anchor *a = &self;
    struct err err = {0};
    sigset_t signals = our_signals(); /* before the lock: by it we are found and signalled */
    (void) sigprocmask(SIG_SETMASK, &signals, NULL);
    int r = set_up(a, cfg, &err);
    if (r < 0) {
        log_error("anchor.start", "err=\"%s\"", err.text);
        return EXIT_FAILURE;
    }
    a->now_ms = clock_mono_ms();
    anchor__roles_init(a, cfg);
    anchor__roles_adopt(a);
    while (!a->end) {
        turn(a);
        r = a->end ? 0 : loop_turn(&a->loop, timeout_ms(a), &a->now_ms);
        if (r < 0) {
            log_error("anchor.loop", "err=\"%s\"", err_text(r));
            return EXIT_FAILURE;
        }
    }
    log_info("anchor.end", "code=%d", a->exit_code);
    return a->exit_code;
}
