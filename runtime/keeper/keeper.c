// SPDX-License-Identifier: Apache-2.0
/* The keeper's process: setting up, the loop, the end. */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "process.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"

static struct keeper the_keeper; /* the one of this process; large, so not on the stack */

/* SIGTERM ends a keeper that has nothing to keep, and no other: sandboxes outlive us all. */
static void on_signal(struct loop_source *s, uint32_t events) {
    (void) events;
    struct keeper *k = container_of(s, struct keeper, signals);
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof info) != sizeof info) return;
    bool end = keeper__nothing_lives(k);
    log_info("keeper.signal", "signal=%u next=\"%s\"", info.ssi_signo,
             end ? "end" : "none: sandboxes live");
    if (end) k->stop = true;
}

static int watch_signals(struct keeper *k, struct err *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);
    (void) signal(SIGPIPE, SIG_IGN);
    auto_fd int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) return err_set(err, -errno, "signalfd");
    int r = loop_add(&k->loop, &k->signals, fd, EPOLLIN, on_signal);
    if (r < 0) return err_set(err, r, "epoll");
    fd = -1; /* the loop's */
    return 0;
}

static void init_tables(struct keeper *k) {
    for (size_t i = 0; i < KEEPER_PID_BUCKETS; i++) list_init(&k->by_pid[i]);
    list_init(&k->awaiting);
    list_init(&k->peers);
    k->now_ms = clock_mono_ms();
}

static int set_up(struct keeper *k, struct err *err) {
    init_tables(k);
    int r = process_raise_nofile(&k->nofile_soft, &k->nofile_hard);
    if (r < 0) return err_set(err, r, "raise the limit on descriptors");
    r = records_open(&k->records, k->paths.run, err);
    if (r < 0) return r;
    r = budget_init(&k->budget);
    if (r == 0) r = loop_init(&k->loop);
    if (r == 0) r = keeper__pump_init(k);
    if (r < 0) return err_set(err, r, "set up");
    r = watch_signals(k, err);
    if (r == 0) r = keeper__fifo_mount(&k->paths, err);
    if (r == 0) r = keeper__hold_listen(k, err);
    if (r == 0) r = keeper__recover(k, err);
    return r < 0 ? r : keeper__listen(k, err); /* last: who connects finds everything */
}

static int timeout_ms(const struct keeper *k) {
    int64_t at = keeper__pump_deadline_ms(k);
    if (!list_empty(&k->awaiting) && at > k->now_ms + AWAIT_TICK_MS) at = k->now_ms + AWAIT_TICK_MS;
    bool wants_anchor = k->anchor_argv && !k->hold.anchor.ready && !k->hold.farewell;
    if (wants_anchor && at > k->hold.next_try_ms) at = k->hold.next_try_ms;
    if (at == INT64_MAX) return -1;
    return at <= k->now_ms ? 0 : (int) (at - k->now_ms);
}

static int run(struct keeper *k) {
    while (!k->stop) {
        int r = loop_turn(&k->loop, timeout_ms(k), &k->now_ms);
        if (r < 0) {
            log_error("keeper.loop", "err=\"%s\"", err_text(r));
            return r;
        }
        keeper__await_turn(k);
        keeper__pump_turn(k);
        keeper__hold_turn(k);
        keeper__upgrade_turn(k);
    }
    return 0;
}

/* Only when nothing lives. Records of what was not forgotten stay: the next keeper tells of them.
 */
static void tear_down(struct keeper *k) {
    list_each_safe (it, &k->peers) keeper__peer_close(list_entry(it, struct peer, node));
    keeper__pump_end(k);
    char path[PATHS_FULL_MAX];
    (void) unlink(paths_run(&k->paths, "keeper.sock", path));
    (void) unlink(paths_run(&k->paths, "hold.sock", path));
    if (map_len(&k->tasks) == 0) records_remove(&k->records);
    keeper__fifo_unmount(&k->paths);
    log_info("keeper.end", "tasks=%zu", map_len(&k->tasks));
}

int keeper_main(const struct keeper_config *cfg) {
    log_init("keeper");
    struct keeper *k = &the_keeper;
    struct err err = {0};
    k->argv = cfg->argv;
    k->anchor_argv = cfg->anchor_argv;
    k->upgrade = -1;
    int r = paths_init(&k->paths, cfg->state, cfg->run, &err);
    if (r == 0) r = process_take_lock(&k->paths, "keeper.lock", &k->lock, &err);
    if (r == 0) r = set_up(k, &err);
    if (r < 0) {
        log_error("keeper.start", "err=\"%s\"", err.text);
        return EXIT_FAILURE;
    }
    if (run(k) < 0) return EXIT_FAILURE;
    tear_down(k);
    return EXIT_SUCCESS;
}
