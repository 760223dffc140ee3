// SPDX-License-Identifier: Apache-2.0
/* orlop dev: all of Orlop on this machine. The anchor is the parent of everything else and runs in
 * a session of its own; in the foreground we only watch it, and ^C ends it as --stop does. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anchor.h"
#include "args.h"
#include "client.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum { READY_MS = 30000, RETRY_MS = 100, STOP_S = 120 };

static const struct usage usage = {
    .line = "dev [OPTIONS]",
    .summary = "Run Orlop on this machine: scheduler, agent and what they need, without "
               "configuration. Stays in\n"
               "the foreground, where ^C stops everything, unless --detach.",
};

struct dev {
    bool detach, stop, keep, shutdown;
    uint32_t timeout_s;
};

/* --- readiness ------------------------------------------------------------------------------ */

static bool node_is_connected(struct client *c) {
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    void *answer;
    bool connected = false;
    if (client_try(c, ORLOP__METHOD__NODE_LIST, &q.base, &orlop__node_list_answer__descriptor, &a,
                   &answer, NULL) == 0) {
        const Orlop__NodeListAnswer *list = answer;
        for (size_t i = 0; i < list->n_nodes; i++) connected |= list->nodes[i]->connected;
    }
    arena_fini(&a);
    return connected;
}

/* Readable: what may end the waiting. -1 is never. */
struct ends {
    int anchor;  /* pidfd */
    int signals; /* signalfd */
};

static bool is_readable(int fd) {
    struct pollfd f = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&f, 1, 0) > 0;
}

static bool is_over(const struct ends *e) {
    return is_readable(e->anchor) || is_readable(e->signals);
}

/* A scheduler and an agent that outlived their anchor answer before the new one is there. */
static bool is_anchored(const struct cli *cli) {
    return anchor_holder(&cli->paths, "anchor") > 0 && anchor_holder(&cli->paths, "keeper") > 0;
}

/* -1: try again on a new connection. */
static int watch_start(const struct cli *cli, struct client *c, const struct ends *e,
                       int64_t deadline) {
    client_set_patience(c, 0);
    while (clock_mono_ms() < deadline) {
        if (node_is_connected(c) && is_anchored(cli)) return EXIT_OK;
        if (is_over(e)) return EXIT_FAILED;
        (void) client_wait(c, RETRY_MS); /* nobody catches ^C in there */
        if (!bus_conn_is_up(client_conn(c))) return -1;
    }
    return EXIT_FAILED;
}

/* Until anchor and keeper are there, the scheduler answers and a node is connected: "up" may be of
 * before. */
static int wait_ready(struct cli *cli, const struct ends *e) {
    int64_t deadline = clock_mono_ms() + READY_MS;
    int r = -1;
    while (r < 0 && clock_mono_ms() < deadline && !is_over(e)) {
        struct client *c = NULL;
        if (client_try_open(cli, RETRY_MS, &c, NULL) == 0) r = watch_start(cli, c, e, deadline);
        client_close(c);
    }
    return r == EXIT_OK ? EXIT_OK : EXIT_FAILED;
}

static int say_not_ready(const struct cli *cli, bool ended, int64_t since_unix_ms) {
    anchor_print_logs(&cli->paths, since_unix_ms);
    if (ended)
        return cli_fail(EXIT_FAILED,
                        "orlop ended right after its start; what it said, if anything, is above");
    return cli_fail(EXIT_FAILED,
                    "orlop is not ready after %d s; above are its last words (%s/logs)",
                    READY_MS / 1000, cli->paths.run);
}

static void say_ready(const struct cli *cli, const char *how) {
    printf("orlop %s: sockets in %s, state in %s\n", how, cli->paths.run, cli->paths.state);
    fflush(stdout);
}

/* --- start ---------------------------------------------------------------------------------- */

/* E->signals is given, E->anchor filled in. */
static int start(struct cli *cli, struct ends *e) {
    pid_t pid;
    int64_t now = clock_unix_ms();
    int r = anchor_make_dirs(&cli->paths);
    if (!r) r = anchor_start(&cli->paths, &pid);
    if (r) return r;
    e->anchor = sys_pidfd_open(pid, 0);
    if (e->anchor < 0)
        return cli_fail(EXIT_FAILED, "cannot watch the anchor: %s", err_text(e->anchor));
    r = wait_ready(cli, e);
    if (!r) return 0;
    if (is_readable(e->signals)) {
        fprintf(stderr, "\norlop: interrupted; stopping what was started\n");
        r = EXIT_INTERRUPTED;
    } else {
        r = say_not_ready(cli, is_readable(e->anchor), now);
    }
    int stopped = anchor_stop(&cli->paths, false, STOP_S); /* nothing half-made stays */
    return stopped ? stopped : r;
}

/* From the start on, so that ^C while starting leaves nothing half-made. */
static int catch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int stay(struct cli *cli, const struct ends *e, uint32_t timeout_s) {
    struct pollfd f[] = {{.fd = e->anchor, .events = POLLIN}, {.fd = e->signals, .events = POLLIN}};
    while (poll(f, array_len(f), -1) < 0 && errno == EINTR) {
    }
    if (f[0].revents) {
        siginfo_t info = {0};
        (void) waitid(P_PIDFD, (id_t) e->anchor, &info,
                      WEXITED); /* it is our child; its state is not needed */
        fprintf(stderr, "orlop: it was stopped\n");
        return EXIT_OK;
    }
    fprintf(stderr, "\norlop: stopping\n");
    int r = anchor_stop(&cli->paths, false, timeout_s);
    return r ? r : EXIT_OK;
}

static int run_new(struct cli *cli, const struct dev *d, struct ends *e) {
    e->signals = catch_signals();
    if (e->signals < 0)
        return cli_fail(EXIT_FAILED, "cannot catch signals: %s", err_text(e->signals));
    int r = start(cli, e);
    if (r) return r;
    say_ready(cli, d->detach ? "is running" : "is running; ^C stops it");
    return d->detach ? EXIT_OK : stay(cli, e, d->timeout_s);
}

static int run(struct cli *cli, const struct dev *d) {
    struct ends e = {.anchor = -1, .signals = -1};
    pid_t holder = anchor_holder(&cli->paths, "anchor");
    if (holder > 0 && d->detach) {
        if (wait_ready(cli, &e)) return say_not_ready(cli, false, 0);
        say_ready(cli, "is running already");
        return EXIT_OK;
    }
    if (holder > 0)
        return cli_fail(EXIT_FAILED,
                        "orlop is running already (pid %d, %s); 'orlop dev --stop' stops it",
                        (int) holder, cli->paths.run);
    int r = run_new(cli, d, &e);
    fd_close(&e.anchor);
    fd_close(&e.signals);
    return r;
}

/* --- stop ----------------------------------------------------------------------------------- */

/* Sandboxes that --keep left, or of an anchor and a keeper that were killed at once: only an agent
 * can take them down properly, so there must be one first. */
static int stop_kept(struct cli *cli, uint32_t timeout_s) {
    struct ends e = {.anchor = -1, .signals = -1};
    fprintf(stderr, "orlop: only its containers may be running; starting orlop to stop them\n");
    int r = start(cli, &e);
    fd_close(&e.anchor);
    return r ? r : anchor_stop(&cli->paths, false, timeout_s);
}

static int stop(struct cli *cli, const struct dev *d) {
    pid_t holder = anchor_holder(&cli->paths, "anchor");
    bool anchor = holder > 0;
    bool keeper = anchor_holder(&cli->paths, "keeper") > 0 || anchor_was_killed(&cli->paths);
    if (!anchor && (!keeper || d->keep)) {
        printf("orlop is not running%s\n", keeper ? "; its containers are" : "");
        return EXIT_OK;
    }
    if (anchor && !d->shutdown && anchor_is_unit(holder))
        return cli_fail(EXIT_FAILED,
                        "systemd runs orlop (pid %d, orlop.service) and would start it again; run: "
                        "systemctl stop orlop, and then 'orlop dev --stop' to end its containers",
                        (int) holder);
    int r = anchor ? anchor_stop(&cli->paths, d->keep, d->timeout_s) : stop_kept(cli, d->timeout_s);
    if (r) return r;
    printf(d->keep ? "orlop is stopped; its containers go on running\n" : "orlop is stopped\n");
    return EXIT_OK;
}

int cmd_dev(struct cli *cli, int argc, char **argv) {
    struct dev d = {.timeout_s = STOP_S};
    struct args args;
    const struct opt opts[] = {
        {'d', "detach", NULL, OPT_FLAG, &d.detach, "return when it is ready"},
        {0, "stop", NULL, OPT_FLAG, &d.stop, "stop Orlop and all that it runs"},
        {0, "keep", NULL, OPT_FLAG, &d.keep, "with --stop: let the containers go on"},
        {0, "shutdown", NULL, OPT_FLAG, &d.shutdown,
         "with --stop: also what systemd would start again, as the machine goes down"},
        {'t', "timeout", "SECONDS", OPT_NUMBER, &d.timeout_s,
         "wait at most so long for the end (120)"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    if (d.keep && !d.stop) return args_wrong(&usage, "--keep goes with --stop only");
    if (d.shutdown && (!d.stop || d.keep))
        return args_wrong(&usage, "--shutdown goes with --stop only");
    if (d.stop && d.detach) return args_wrong(&usage, "--stop and --detach exclude each other");
    r = cli_paths(cli);
    if (r) return r;
    if (geteuid() != 0)
        return cli_fail(EXIT_NOT_PERMITTED,
                        "orlop dev needs root: it makes namespaces, mounts and network "
                        "devices; run it as root");
    return d.stop ? stop(cli, &d) : run(cli, &d);
}
