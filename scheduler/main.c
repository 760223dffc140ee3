// SPDX-License-Identifier: Apache-2.0
/* Order of start: lock (one scheduler for a run directory) -> log and snapshot into the state ->
 * api.sock. Order of end: sessions and api.sock, then the log, then the loop runs out. */
#include "main.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "api/api.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "sched.h"

struct program {
    struct sched sched;
    uv_loop_t loop;
    uv_signal_t term, interrupt;
    int lock;
    bool ending;
};

static int parse(int argc, char **argv, struct paths *ret, struct err *err) {
    static const struct option options[] = {{"run-dir", required_argument, NULL, 'r'},
                                            {"state-dir", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    const char *run = NULL, *state = NULL;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r')
            run = optarg;
        else if (c == 's')
            state = optarg;
        else
            return err_say(err, -EINVAL, "usage: scheduler [--run-dir DIR] [--state-dir DIR]");
    }
    if (optind < argc) return err_say(err, -EINVAL, "unexpected argument %s", argv[optind]);
    return paths_init(ret, state, run, err);
}

static int take_lock(struct program *p, struct err *err) {
    char path[PATHS_FULL_MAX];
    int r = fd_mkdirs(AT_FDCWD, p->sched.paths.run, 0700);
    if (!r) r = fd_mkdirs(AT_FDCWD, p->sched.paths.state, 0700);
    if (r < 0) return err_set(err, r, "make %s and %s", p->sched.paths.run, p->sched.paths.state);
    paths_run(&p->sched.paths, "scheduler.lock", path);
    p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (p->lock < 0) return err_set(err, -errno, "open %s", path);
    pid_t holder = 0;
    r = fd_lock(p->lock, &holder);
    if (r == -EAGAIN)
        return err_say(err, r, "a scheduler runs already (pid %d holds %s)", (int) holder, path);
    return r < 0 ? err_set(err, r, "lock %s", path) : 0;
}

static int open_log(struct program *p, struct err *err) {
    char path[PATHS_FULL_MAX];
    paths_state(&p->sched.paths, "raft", path);
    int r = fd_mkdirs(AT_FDCWD, path, 0700);
    if (r < 0) return err_set(err, r, "make %s", path);
    return store_open(&p->loop, path, &sched_store_ops, &p->sched, &p->sched.store, err);
}

static int listen_api(struct program *p, struct err *err) {
    char path[PATHS_FULL_MAX], url[PATHS_FULL_MAX + 8];
    int r = bus_new(&p->loop, &p->sched.bus);
    if (r < 0) return err_set(err, r, "start the bus");
    snprintf(url, sizeof url, "ipc://%s", paths_run(&p->sched.paths, "api.sock", path));
    return bus_listen(p->sched.bus, url, &api_conn_ops, &p->sched, &p->sched.listener, err);
}

/* --- end ------------------------------------------------------------------------------------- */

static void log_closed(void *ctx) {
    struct program *p = ctx;
    p->sched.store = NULL;
}

static void bus_closed(void *ctx) {
    struct program *p = ctx;
    p->sched.bus = NULL;
    if (p->sched.store) store_close(p->sched.store, log_closed, p);
}

static void end(struct program *p) {
    if (p->ending) return;
    p->ending = true;
    log_info("scheduler.end", "idx=%lu", (unsigned long) p->sched.state.applied_idx);
    uv_close((uv_handle_t *) &p->term, NULL);
    uv_close((uv_handle_t *) &p->interrupt, NULL);
    sched_close(&p->sched);
    if (p->sched.bus)
        bus_close(p->sched.bus, bus_closed, p);
    else
        bus_closed(p);
}

static void on_signal(uv_signal_t *h, int signum) {
    (void) signum;
    end(h->data);
}

static int watch_signals(struct program *p) {
    int r = uv_signal_init(&p->loop, &p->term);
    if (!r) r = uv_signal_init(&p->loop, &p->interrupt);
    p->term.data = p->interrupt.data = p;
    if (!r) r = uv_signal_start(&p->term, on_signal, SIGTERM);
    if (!r) r = uv_signal_start(&p->interrupt, on_signal, SIGINT);
    return r;
}

static int run(struct program *p, const struct paths *paths, struct err *err) {
    int r = uv_loop_init(&p->loop);
    if (r < 0) return err_set(err, r, "start the loop");
    r = sched_init(&p->sched, &p->loop, paths, err);
    if (!r) r = take_lock(p, err);
    if (!r) r = watch_signals(p);
    if (!r) r = open_log(p, err);
    if (!r) r = listen_api(p, err);
    if (r < 0) return r; /* the process ends: nothing is undone by hand */
    log_info("scheduler.start", "run=\"%s\" state=\"%s\" idx=%lu", paths->run, paths->state,
             (unsigned long) p->sched.state.applied_idx);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    sched_fini(&p->sched);
    uv_loop_close(&p->loop);
    fd_close(&p->lock);
    return 0;
}

int scheduler_main(int argc, char **argv) {
    static struct program p = {.lock = -1}; /* large; one for a process */
    struct paths paths;
    struct err err = {0};
    mem_be_thrifty();
    log_init("scheduler");
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    int r = parse(argc, argv, &paths, &err);
    if (r < 0) {
        log_error("scheduler.arguments", "error=\"%s\"", err.text);
        return 2;
    }
    r = run(&p, &paths, &err);
    if (r == 0) return 0;
    log_error("scheduler.failed", "error=\"%s\"", err.text);
    return 1;
}
