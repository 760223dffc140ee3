// SPDX-License-Identifier: Apache-2.0
/* Order of start: lock, store (boot number on disk), images, network, view of the stored set into
 * the kernel, keeper, scheduler. Nothing starts before the keeper's first list.
 *
 * SIGTERM   the session ends, jobs under way are waited for, the process ends. Sandboxes, maps,
 *           names' devices and published ports live on.
 * SIGUSR1   the sandboxes are ended in reverse depends_on order, then network, private files and
 *           cgroup parent are removed. Tasks stay in the store: the next agent starts them again.
 */
#include "agent/main.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cleanup.h"
#include "agent/connections.h"
#include "agent/health.h"
#include "agent/oom.h"
#include "agent/ports.h"
#include "agent/relink.h"
#include "agent/requests.h"
#include "agent/session.h"
#include "agent/view.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup.h"

struct process {
    struct agent agent;
    uv_loop_t loop;
    struct bus_conn *conn;
    int lock;
    uv_signal_t sigterm, sigint, sigusr1;
    uv_timer_t check; /* while stopping: what has no event of its own */
    bool ending, network_removed;
    int removals;
};

enum { HALT_CHECK_MS = 20, HALT_REMOVALS_MAX = 250 };

/* ---- the connection to the scheduler ---- */

static void conn_up(void *ctx, struct bus_conn *c) {
    struct agent *a = ctx;
    log_info("scheduler.up", "next=\"hello\"");
    asession_conn_up(a->session, c);
}

static void conn_down(void *ctx, struct bus_conn *c, const struct err *why) {
    struct agent *a = ctx;
    (void) c;
    log_warn("scheduler.down", "err=\"%s\" next=\"tasks go on; connecting again\"", why->text);
    if (a->session) asession_conn_down(a->session);
}

static void conn_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                         const uint8_t *body, size_t len) {
    (void) c;
    requests_open(ctx, s, method, body, len);
}

static const struct bus_conn_ops conn_ops = {
    .up = conn_up, .down = conn_down, .request = conn_request};

/* ---- end ---- */

static void begin_end(struct process *p) {
    struct agent *a = &p->agent;
    if (p->ending) return;
    p->ending = true;
    asession_close(a->session);
    a->session = NULL;
    health_close(a->health);
    oom_close(a->oom);
    requests_close(a);
    klink_close(a->klink);
    ports_close(a->ports);
    aconns_close(a->conns);
    aview_close(a->view);
    writer_close(a->writer);
    a->writer = NULL;
    uv_close((uv_handle_t *) &a->tick, NULL);
    uv_close((uv_handle_t *) &p->check, NULL);
    uv_close((uv_handle_t *) &p->sigterm, NULL);
    uv_close((uv_handle_t *) &p->sigint, NULL);
    uv_close((uv_handle_t *) &p->sigusr1, NULL);
    bus_close(a->bus, NULL, NULL);
}

/* Everything of ours in the kernel that is not a sandbox. False: something is still busy, again
 * soon. */
static bool remove_all(struct process *p) {
    struct agent *a = &p->agent;
    struct err err = {0};
    if (!p->network_removed && net_teardown(a->net, &err) < 0)
        log_warn("halt.network", "err=\"%s\" next=\"left as it is\"", err.text);
    p->network_removed = true;
    if (cgroup_remove_parent(a->paths.cgroup, &err) < 0) {
        if (++p->removals < HALT_REMOVALS_MAX) return false;
        log_warn("halt.cgroup", "err=\"%s\" next=\"left as it is\"", err.text);
    }
    prepare_unmount_private(&a->paths);
    log_info("agent.halted", "next=\"exit\"");
    return true;
}

void agent_check_stop(struct agent *a) {
    struct process *p = container_of(a, struct process, agent);
    if (p->ending || a->stop == AGENT_RUNS || a->jobs || !writer_idle(a->writer)) return;
    if (a->stop == AGENT_HALTS && (!rec_halted(&a->rec) || !remove_all(p))) return;
    begin_end(p);
}

static void on_check(uv_timer_t *t) {
    agent_event(t->data, &(struct rec_event){.kind = REC_EV_TICK});
}

static void stop(struct process *p, enum agent_stop how) {
    struct agent *a = &p->agent;
    if (a->stop >= how) return;
    a->stop = how;
    log_info("agent.stop", "how=%s", how == AGENT_HALTS ? "halt" : "leave");
    uv_timer_start(&p->check, on_check, HALT_CHECK_MS, HALT_CHECK_MS);
    if (how == AGENT_HALTS) {
        agent_event(a, &(struct rec_event){.kind = REC_EV_HALT});
        actions_prepare_due(a); /* nobody waits for the proxy any more */
    }
    agent_event(a, &(struct rec_event){.kind = REC_EV_TICK});
}

static void on_signal(uv_signal_t *s, int number) {
    stop(s->data, number == SIGUSR1 ? AGENT_HALTS : AGENT_LEAVES);
}

/* ---- start ---- */

static int read_boot_id(char *boot_id, size_t size, struct err *err) {
    auto_free char *text = NULL;
    int r = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, NULL);
    if (r < 0) return err_set(err, r, "read the kernel's boot id");
    text[strcspn(text, "\n")] = 0;
    const char *test = getenv("ORLOP_TEST_BOOT_ID"); /* tests reboot without rebooting */
    snprintf(boot_id, size, "%s", test ? test : text);
    return 0;
}

static void node_name(const char *given, char *ret, size_t size) {
    char host[256] = "";
    if (!given && gethostname(host, sizeof host - 1) == 0) given = host;
    size_t n = 0;
    for (const char *p = given ? given : ""; *p && n + 1 < size; p++) {
        bool plain =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (plain || (n && strchr("._-", *p))) ret[n++] = *p;
    }
    ret[n] = 0;
    if (!n) snprintf(ret, size, "node");
}

static int take_lock(struct process *p, struct err *err) {
    char path[PATHS_FULL_MAX];
    pid_t holder = 0;
    int r = fd_mkdirs(AT_FDCWD, p->agent.paths.run, 0700);
    if (r == 0) r = fd_mkdirs(AT_FDCWD, p->agent.paths.state, 0700);
    if (r < 0) return err_set(err, r, "make %s and %s", p->agent.paths.run, p->agent.paths.state);
    paths_run(&p->agent.paths, "agent.lock", path);
    p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->lock < 0) return err_set(err, -errno, "open %s", path);
    r = fd_lock(p->lock, &holder);
    return r < 0 ? err_say(err, r, "another agent (pid %d) runs with %s", (int) holder, path) : 0;
}

static void on_writer_fatal(void *ctx, const struct err *err) {
    agent_fatal(ctx, err->text, err->code);
}

static void on_net_repair(void *ctx, const char *text) {
    (void) ctx;
    log_warn("net.repair", "what=\"%s\"", text);
}

static void on_net_links(void *ctx) {
    relink_look(ctx);
}

static int open_store(struct agent *a, const char *node, struct err *err) {
    char dir[PATHS_FULL_MAX], boot_id[ASTORE_BOOT_ID_MAX], name[ASTORE_NODE_MAX];
    int r = read_boot_id(boot_id, sizeof boot_id, err);
    node_name(node, name, sizeof name);
    if (r == 0)
        r = astore_open(paths_state(&a->paths, "agent", dir), boot_id, name, &a->store, err);
    if (r < 0) return r;
    const struct astore_info *i = astore_info(a->store);
    log_info("store.open", "node=%s boot=%llu inc=%llu idx=%llu tasks=%zu new=%d", i->node,
             (unsigned long long) i->boot, (unsigned long long) i->inc, (unsigned long long) i->idx,
             map_len(astore_tasks(a->store)), i->is_new);
    if (i->torn_bytes)
        log_warn("store.torn",
                 "bytes=%llu what=\"the last write was cut short by a power loss and is undone\"",
                 (unsigned long long) i->torn_bytes);
    if (*i->damage) log_warn("store.damage", "what=\"%s\"", i->damage);
    r = writer_new(a->loop, a->store, on_writer_fatal, a, &a->writer);
    return r < 0 ? err_set(err, r, "store") : 0;
}

static int open_runtime(struct agent *a, struct err *err) {
    char dir[PATHS_FULL_MAX], record[PATHS_FULL_MAX];
    int r = image_store_open(paths_state(&a->paths, "images", dir), &a->images, err);
    if (r == 0) r = prepare_mount_private(&a->paths, err);
    if (r < 0) return r;
    cleanup_places(&a->paths);
    struct net_config cfg = {.task_pool = 10U << 24 | 80U << 16,
                             .task_pool_prefix = 12,
                             .vip_pool = 10U << 24 | 96U << 16,
                             .vip_pool_prefix = 16,
                             .record = paths_run(&a->paths, "net-uplinks", record),
                             .on_repair = on_net_repair,
                             .on_links = on_net_links,
                             .arg = a};
    r = net_open(&cfg, &a->net, err);
    return r < 0 ? err_wrap(err, r, "network of the node") : 0;
}

static int make_parts(struct agent *a, struct err *err) {
    char path[PATHS_FULL_MAX];
    agent_init_core(a);
    int r = health_new(a, &a->health);
    if (r == 0) r = oom_new(a, &a->oom);
    if (r == 0) r = ports_new(a, paths_run(&a->paths, "proxy.sock", path), &a->ports);
    if (r == 0) r = aview_new(a, &a->view);
    if (r == 0) r = aconns_new(a, &a->conns);
    if (r == 0) r = asession_new(a, &a->session);
    if (r == 0) r = bus_new(a->loop, &a->bus);
    if (r == 0)
        r = klink_new(a->loop, paths_run(&a->paths, "keeper.sock", path), &agent_klink_ops, a,
                      &a->klink);
    if (r == 0) r = requests_new(a);
    return r < 0 ? err_set(err, r, "start the agent's parts") : 0;
}

static void hold_signals(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(how, &set, NULL);
}

static int watch_signals(struct process *p) {
    uv_timer_init(&p->loop, &p->check);
    p->check.data = &p->agent;
    struct {
        uv_signal_t *handle;
        int number;
    } all[] = {{&p->sigterm, SIGTERM}, {&p->sigint, SIGINT}, {&p->sigusr1, SIGUSR1}};
    for (size_t i = 0; i < array_len(all); i++) {
        uv_signal_init(&p->loop, all[i].handle);
        all[i].handle->data = p;
        int r = uv_signal_start(all[i].handle, on_signal, all[i].number);
        if (r < 0) return r;
    }
    hold_signals(SIG_UNBLOCK); /* what came during the start is handled now */
    return 0;
}

static int start(struct process *p, const char *node, struct err *err) {
    struct agent *a = &p->agent;
    char url[PATHS_FULL_MAX + 8], path[PATHS_FULL_MAX];
    int r = take_lock(p, err);
    if (r == 0) r = open_store(a, node, err);
    if (r == 0) r = open_runtime(a, err);
    if (r == 0) r = make_parts(a, err);
    if (r < 0) return r;
    r = watch_signals(p);
    if (r < 0) return err_set(err, r, "watch for signals");
    if (astore_info(a->store)->idx) aview_changed(a->view); /* also with no scheduler in reach */
    snprintf(url, sizeof url, "ipc://%s", paths_run(&a->paths, "api.sock", path));
    return bus_dial(a->bus, url, &conn_ops, a, &p->conn, err);
}

struct options {
    const char *run, *state, *node;
};

static int parse(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {{"run-dir", required_argument, NULL, 'r'},
                                          {"state-dir", required_argument, NULL, 's'},
                                          {"node", required_argument, NULL, 'n'},
                                          {NULL, 0, NULL, 0}};
    o->node = getenv("ORLOP_NODE");
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'r')
            o->run = optarg;
        else if (c == 's')
            o->state = optarg;
        else if (c == 'n')
            o->node = optarg;
        else
            return -EINVAL;
    }
    return optind == argc ? 0 : -EINVAL;
}

static void free_all(struct process *p) {
    struct agent *a = &p->agent;
    agent_fini_core(a);
    astore_free(a->store);
    net_free(a->net);
    image_store_free(a->images);
    fd_close(&p->lock);
}

int agent_main(int argc, char **argv) {
    struct options o = {0};
    struct err err = {0};
    mem_be_thrifty();
    log_init("agent");
    struct process *p = mem_zalloc(sizeof *p);
    if (!p || parse(argc, argv, &o) < 0) {
        log_error("agent.start", "err=\"%s\"",
                  p ? "usage: orlop agent [--run-dir DIR] [--state-dir DIR] "
                      "[--node NAME]"
                    : "no memory");
        mem_free(p);
        return EXIT_FAILURE;
    }
    hold_signals(SIG_BLOCK);
    p->lock = -1;
    p->agent.loop = &p->loop;
    umask(022);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    int r = uv_loop_init(&p->loop);
    if (r == 0) r = paths_init(&p->agent.paths, o.state, o.run, &err);
    if (r == 0) r = start(p, o.node, &err);
    if (r < 0) {
        log_error("agent.start", "err=\"%s\"", err.text);
        return EXIT_FAILURE; /* the process ends: nothing to be put in order */
    }
    log_info("agent.ready", "run=%s state=%s", p->agent.paths.run, p->agent.paths.state);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    free_all(p);
    if (uv_loop_close(&p->loop) < 0) log_warn("agent.end", "err=\"a handle is still open\"");
    mem_free(p);
    return EXIT_SUCCESS;
}
