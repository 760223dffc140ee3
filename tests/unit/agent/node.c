// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus.pb-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"
#include "runtime/image/image.h"

static const char busybox[] = "/bin/busybox";

static char *text(const char *s) {
    return (char *) (uintptr_t) s;
}

/* ---- the scheduler of a page ---- */

static void send_down(struct node *n, Orlop__AgentDown *m) {
    m->inc = 1;
    m->session = n->number;
    if (n->session && bus_send_pb(n->session, &m->base) < 0) fail_msg("the agent does not read");
}

static void send_set(struct node *n, bool full, Orlop__Wanted *w) {
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    Orlop__Version from = ORLOP__VERSION__INIT, to = ORLOP__VERSION__INIT;
    from.inc = to.inc = 1;
    from.idx = n->idx;
    if (!full) n->idx++;
    to.idx = n->idx;
    w->full = full;
    w->from = full ? NULL : &from;
    w->to = &to;
    w->store.data = n->store;
    w->store.len = sizeof n->store;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_WANTED;
    m.wanted = w;
    if (full || n->synced) send_down(n, &m);
}

static void send_full(struct node *n) {
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    Orlop__ViewNetwork net = ORLOP__VIEW_NETWORK__INIT, *nets[] = {&net};
    net.id = NODE_NETWORK;
    net.app = net.key = net.name = text("app");
    net.subnet = 10U << 24 | 80U << 16;
    net.prefix_len = 22;
    net.gateway = net.subnet + 1;
    w.networks = nets;
    w.n_networks = 1;
    Orlop__TaskSpec *tasks[64];
    char *gone[16];
    const char *key;
    void *value;
    w.tasks = tasks;
    w.volumes_gone = gone;
    for (size_t i = 0; map_next(&n->wanted, &i, &key, &value);) tasks[w.n_tasks++] = value;
    for (size_t i = 0; map_next(&n->volumes_gone, &i, &key, &value);)
        gone[w.n_volumes_gone++] = text(key);
    send_set(n, true, &w);
    n->synced = true;
}

static void take_statuses(struct node *n, Orlop__TaskStatus **v, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct node_status *s = map_get(&n->status, v[i]->task);
        if (s) {
            arena_fini(&s->arena);
        } else {
            s = mem_zalloc(sizeof *s);
            if (map_set(&n->status, v[i]->task, s) < 0) abort();
        }
        arena_init(&s->arena, 1 << 20);
        s->s = arena_copy(&s->arena, &v[i]->base);
    }
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    Orlop__Committed c = ORLOP__COMMITTED__INIT;
    c.tasks = v;
    c.n_tasks = count;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_COMMITTED;
    m.committed = &c;
    send_down(n, &m);
}

static void on_hello(struct node *n, const Orlop__Hello *h) {
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    Orlop__Welcome w = ORLOP__WELCOME__INIT;
    memcpy(n->store, h->store.data, sizeof n->store);
    n->hellos++;
    n->number++;
    w.inc = 1;
    w.session = n->number;
    w.node = h->node;
    w.store_known = true;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_WELCOME;
    m.welcome = &w;
    send_down(n, &m);
}

static void on_heartbeat(struct node *n, const Orlop__Heartbeat *h) {
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    Orlop__HeartbeatAnswer a = ORLOP__HEARTBEAT_ANSWER__INIT;
    a.n = h->n;
    a.last_idx = n->idx;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_ANSWER;
    m.answer = &a;
    send_down(n, &m);
}

static void on_up(struct node *n, const Orlop__AgentUp *up) {
    if (up->what_case == ORLOP__AGENT_UP__WHAT_HELLO) on_hello(n, up->hello);
    if (up->what_case == ORLOP__AGENT_UP__WHAT_HEARTBEAT) on_heartbeat(n, up->heartbeat);
    if (up->what_case == ORLOP__AGENT_UP__WHAT_APPLIED) n->applied = up->applied->idx;
    if (up->what_case == ORLOP__AGENT_UP__WHAT_RESYNC) send_full(n);
    if (up->what_case == ORLOP__AGENT_UP__WHAT_STATUS)
        take_statuses(n, up->status->tasks, up->status->n_tasks);
    if (up->what_case != ORLOP__AGENT_UP__WHAT_REPORT) return;
    take_statuses(n, up->report->tasks, up->report->n_tasks);
    send_full(n);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) s;
    struct arena a;
    arena_init(&a, 16 << 20);
    const Orlop__AgentUp *up = arena_unpack(&a, &orlop__agent_up__descriptor, body, len);
    if (up) on_up(ctx, up);
    arena_fini(&a);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct node *n = ctx;
    (void) err;
    if (n->session != s) return;
    n->session = NULL;
    n->synced = false;
}

static const struct bus_stream_ops stream_ops = {.data = on_data, .closed = on_closed};

static void on_conn(void *ctx, struct bus_conn *c) {
    (void) ctx;
    (void) c;
}

static void on_conn_down(void *ctx, struct bus_conn *c, const struct err *why) {
    (void) ctx;
    (void) c;
    (void) why;
}

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    struct node *n = ctx;
    (void) c;
    (void) body;
    (void) len;
    if (method != ORLOP__METHOD__SESSION || n->deaf) {
        bus_fail(s, EAGAIN, "no scheduler in reach");
        return;
    }
    n->session = s;
    n->synced = false;
    bus_stream_accept(s, &stream_ops, n);
}

static const struct bus_conn_ops conn_ops = {
    .up = on_conn, .down = on_conn_down, .request = on_request};

/* ---- wanted tasks ---- */

static void *take(struct node *n, size_t size) {
    void *p = arena_alloc(&n->arena, size);
    if (!p) abort();
    return p;
}

Orlop__TaskSpec *node_task(struct node *n, const char *id, const char *service,
                           const char *script) {
    Orlop__TaskSpec *t = take(n, sizeof *t);
    Orlop__Service *s = take(n, sizeof *s);
    orlop__task_spec__init(t);
    orlop__service__init(s);
    t->task = text(id);
    t->app = text("app");
    t->service = s->name = text(service);
    t->slot = 1;
    t->want = ORLOP__WANT__WANT_RUN;
    t->spec = s;
    s->image = text("busy");
    s->image_digest = n->image;
    s->has_command = true;
    s->n_command = 3;
    s->command = take(n, 3 * sizeof *s->command);
    s->command[0] = text("sh");
    s->command[1] = text("-c");
    s->command[2] = text(script);
    s->has_stop_grace = true;
    s->stop_grace_ms = 2000;
    t->addresses = take(n, sizeof *t->addresses);
    t->addresses[0] = take(n, sizeof **t->addresses);
    orlop__task_address__init(t->addresses[0]);
    t->addresses[0]->network = NODE_NETWORK;
    t->addresses[0]->address = (10U << 24 | 80U << 16) + 10 + (uint32_t) map_len(&n->wanted);
    t->n_addresses = 1;
    return t;
}

void node_restart_policy(struct node *n, Orlop__TaskSpec *t, Orlop__RestartPolicy__Condition c) {
    t->spec->restart = take(n, sizeof *t->spec->restart);
    orlop__restart_policy__init(t->spec->restart);
    t->spec->restart->condition = c;
}

void node_mount(struct node *n, Orlop__TaskSpec *t, Orlop__Mount__Kind kind, const char *source,
                const char *target) {
    Orlop__Mount *m = take(n, sizeof *m);
    orlop__mount__init(m);
    m->kind = kind;
    m->source = text(source);
    m->target = text(target);
    Orlop__Mount **v = take(n, (t->spec->n_mounts + 1) * sizeof *v);
    if (t->spec->n_mounts) memcpy(v, t->spec->mounts, t->spec->n_mounts * sizeof *v);
    v[t->spec->n_mounts++] = m;
    t->spec->mounts = v;
    if (kind != ORLOP__MOUNT__KIND__VOLUME || !*source) return;
    t->volumes = take(n, sizeof *t->volumes);
    t->volumes[0] = take(n, sizeof **t->volumes);
    orlop__volume__init(t->volumes[0]);
    t->volumes[0]->key = t->volumes[0]->name = text(source);
    t->n_volumes = 1;
}

static void send_task(struct node *n, Orlop__TaskSpec *t) {
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    w.tasks = &t;
    w.n_tasks = 1;
    send_set(n, false, &w);
}

void node_want(struct node *n, Orlop__TaskSpec *t) {
    if (map_set(&n->wanted, t->task, t) < 0) abort();
    t->assigned_idx = n->idx + 1;
    send_task(n, t);
}

void node_set_want(struct node *n, const char *id, Orlop__Want want) {
    Orlop__TaskSpec *t = map_get(&n->wanted, id);
    t->want = want;
    send_task(n, t);
}

void node_drop(struct node *n, const char *id) {
    char *ids[] = {text(id)};
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    map_del(&n->wanted, id);
    w.tasks_gone = ids;
    w.n_tasks_gone = 1;
    send_set(n, false, &w);
}

void node_volume_gone(struct node *n, const char *name) {
    char *names[] = {text(name)};
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    if (map_set(&n->volumes_gone, name, n) < 0) abort();
    w.volumes_gone = names;
    w.n_volumes_gone = 1;
    send_set(n, false, &w);
}

/* ---- waiting ---- */

static void on_timer(uv_timer_t *t) {
    (void) t;
}

bool node_until(struct node *n, bool (*pred)(struct node *n, const void *arg), const void *arg) {
    int64_t deadline = clock_mono_ms() + NODE_DEADLINE_MS;
    uv_timer_t turn;
    uv_timer_init(&n->loop, &turn);
    uv_timer_start(&turn, on_timer, 10, 10);
    bool ok;
    while (!(ok = pred(n, arg)) && clock_mono_ms() < deadline) uv_run(&n->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *) &turn, NULL);
    uv_run(&n->loop, UV_RUN_NOWAIT);
    return ok;
}

const Orlop__TaskStatus *node_status_of(struct node *n, const char *id) {
    const struct node_status *s = map_get(&n->status, id);
    return s ? s->s : NULL;
}

struct expected {
    const char *id, *text;
    Orlop__TaskState state;
    uint32_t attempt;
};

static void give_up(struct node *n, const struct expected *e, const char *what) {
    const Orlop__TaskStatus *s = node_status_of(n, e->id);
    fail_msg("task %s: %s never came; last: state %d attempt %u gone %d \"%s\"", e->id, what,
             s ? (int) s->state : -1, s ? s->attempt : 0, s ? s->gone : 0, s ? s->reason : "");
}

static bool in_state(struct node *n, const void *arg) {
    const struct expected *e = arg;
    const Orlop__TaskStatus *s = node_status_of(n, e->id);
    return s && s->state == e->state;
}

void node_wait_state(struct node *n, const char *id, Orlop__TaskState state) {
    struct expected e = {.id = id, .state = state};
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&orlop__task_state__descriptor, (int) state);
    if (!node_until(n, in_state, &e)) give_up(n, &e, v->name);
}

static bool is_gone(struct node *n, const void *arg) {
    const struct expected *e = arg;
    const Orlop__TaskStatus *s = node_status_of(n, e->id);
    return s && s->gone;
}

void node_wait_gone(struct node *n, const char *id) {
    struct expected e = {.id = id};
    if (!node_until(n, is_gone, &e)) give_up(n, &e, "gone");
}

static bool in_attempt(struct node *n, const void *arg) {
    const struct expected *e = arg;
    const Orlop__TaskStatus *s = node_status_of(n, e->id);
    return s && s->attempt >= e->attempt && s->state == ORLOP__TASK_STATE__RUNNING;
}

void node_wait_attempt(struct node *n, const char *id, uint32_t attempt) {
    struct expected e = {.id = id, .attempt = attempt};
    if (!node_until(n, in_attempt, &e)) give_up(n, &e, "that attempt");
}

char *node_log(struct node *n, const char *id) {
    char path[PATHS_FULL_MAX];
    for (int i = 9; i >= 0; i--) {
        char *data;
        snprintf(path, sizeof path, "%s/tasks/%s/log/%d.log", n->paths.state, id, i);
        if (fd_read_file(AT_FDCWD, path, 1 << 20, &data, NULL) == 0) return data;
    }
    return mem_strdup("");
}

static bool log_has(struct node *n, const void *arg) {
    const struct expected *e = arg;
    auto_free char *log = node_log(n, e->id);
    return strstr(log, e->text) != NULL;
}

bool node_log_has(struct node *n, const char *id, const char *want) {
    struct expected e = {.id = id, .text = want};
    return node_until(n, log_has, &e);
}

bool node_path_exists(const struct node *n, const char *fmt, ...) {
    char path[512];
    (void) n;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    return access(path, F_OK) == 0;
}

/* ---- processes ---- */

static void forget_statuses(struct node *n) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&n->status, &i, &key, &value);) {
        arena_fini(&((struct node_status *) value)->arena);
        mem_free(value);
    }
    map_fini(&n->status);
    n->status = (struct map){0};
}

static pid_t spawn(char *const *argv, const char *boot_id) {
    pid_t pid = fork();
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (boot_id) setenv("ORLOP_TEST_BOOT_ID", boot_id, 1);
    execv(argv[0], argv);
    _exit(127);
}

void node_start_agent(struct node *n) {
    char *argv[] = {text(AGENT_PATH), text("--run-dir"), n->paths.run, text("--state-dir"),
                    n->paths.state,   text("--node"),    text("n1"),   NULL};
    forget_statuses(n); /* what is waited for is what the new one says */
    n->agent = spawn(argv, n->boot_id);
}

static int end(pid_t *pid, int signal) {
    int status;
    if (*pid <= 0) return 0;
    kill(*pid, signal);
    while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
    }
    *pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct ending {
    pid_t pid;
    int status;
};

static bool has_ended(struct node *n, const void *arg) {
    struct ending *e = (struct ending *) (uintptr_t) arg;
    (void) n;
    return waitpid(e->pid, &e->status, WNOHANG) == e->pid;
}

int node_end_agent(struct node *n, int signal) {
    struct ending e = {.pid = n->agent};
    if (n->agent <= 0) return 0;
    kill(n->agent, signal);
    if (!node_until(n, has_ended, &e)) fail_msg("the agent does not end");
    n->agent = 0;
    return WIFEXITED(e.status) ? WEXITSTATUS(e.status) : -WTERMSIG(e.status);
}

void node_start_anchor(struct node *n) {
    char *argv[] = {text(KEEPER_PATH),      text("anchor"),      text("--run-dir"),
                    n->paths.run,           text("--state-dir"), n->paths.state,
                    text("--no-scheduler"), text("--no-agent"),  NULL};
    n->anchor = spawn(argv, NULL);
}

void node_end_anchor(struct node *n, int signal) {
    (void) end(&n->anchor, signal);
}

void node_kill_keeper(struct node *n) {
    char path[PATHS_FULL_MAX];
    pid_t pid = fd_lock_holder(paths_run(&n->paths, "keeper.lock", path));
    if (pid > 0) kill(pid, SIGKILL);
}

/* ---- set-up ---- */

static int put(int dir, const char *path, const char *data, mode_t mode) {
    auto_fd int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    return fd < 0 ? -1 : fd_write_all(fd, data, strlen(data));
}

static int make_root(const char *dir) {
    static const char *const links[] = {"sh",    "cat",      "sleep",    "echo", "true",
                                        "false", "hostname", "ls",       "wget", "mkdir",
                                        "stat",  "dd",       "nslookup", "ip",   "kill"};
    auto_free char *program = NULL;
    size_t len;
    if (mkdir(dir, 0755) < 0) return -1;
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char *const folders[] = {"bin", "etc", "tmp", "data", "data/sub"};
    for (size_t i = 0; i < array_len(folders); i++)
        if (mkdirat(d, folders[i], 0755) < 0) return -1;
    if (fd_read_file(AT_FDCWD, busybox, 64 << 20, &program, &len) < 0) return -1;
    auto_fd int out = openat(d, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    if (out < 0 || fd_write_all(out, program, len) < 0) return -1;
    for (size_t i = 0; i < array_len(links); i++) {
        char path[64];
        snprintf(path, sizeof path, "bin/%s", links[i]);
        if (symlinkat("busybox", d, path) < 0) return -1;
    }
    if (symlinkat("/etc/passwd", d, "data/link") < 0) return -1;
    if (put(d, "etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0644) < 0) return -1;
    return put(d, "data/sub/from-image", "content of the image\n", 0640);
}

/* A root file system as tar, imported before the agent runs. */
static const char *import_image(struct node *n) {
    char root[80], tar[80], images[96], cmd_dir[80];
    struct image_store *s = NULL;
    struct image_info info = {0};
    struct err err = {0};
    snprintf(root, sizeof root, "%s/root", n->dir);
    snprintf(tar, sizeof tar, "%s/root.tar", n->dir);
    snprintf(images, sizeof images, "%s/images", n->paths.state);
    snprintf(cmd_dir, sizeof cmd_dir, "%s", root);
    if (make_root(root) < 0) return "cannot make a root file system";
    char *argv[] = {text("/bin/tar"), text("-C"), cmd_dir, text("-cf"), tar, text("."), NULL};
    pid_t pid = spawn(argv, NULL);
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0) return "needs tar";
    auto_fd int fd = open(tar, O_RDONLY | O_CLOEXEC);
    if (fd_mkdirs(AT_FDCWD, images, 0700) < 0 || image_store_open(images, &s, &err) < 0 ||
        image_import(s, fd, "busy:latest", &info, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return "cannot import an image";
    }
    snprintf(n->image, sizeof n->image, "%s", info.digest);
    image_info_fini(&info);
    image_store_free(s);
    return NULL;
}

static void loopback_up(void) {
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    auto_fd int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s >= 0) (void) ioctl(s, SIOCSIFFLAGS, &r);
}

static const char *own_namespaces(void) {
    if (geteuid() != 0) return "needs root";
    if (access(busybox, X_OK) != 0) return "needs /bin/busybox (Debian: busybox-static)";
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) return "no namespaces here";
    if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return "no private mounts";
    loopback_up();
    return NULL;
}

const char *node_set_up(struct node *n) {
    char state[80], run[80], url[128], path[PATHS_FULL_MAX];
    struct bus_listener *l;
    *n = (struct node){.boot_id = "boot-1"};
    const char *why = own_namespaces();
    if (why) return why;
    snprintf(n->dir, sizeof n->dir, "/tmp/orlop-agent-XXXXXX");
    if (!mkdtemp(n->dir)) return "no temporary folder";
    if (sys_mount("orlop-test", n->dir, "tmpfs", 0, "mode=755") < 0)
        return "no tmpfs"; /* overlay on overlay */
    snprintf(state, sizeof state, "%s/state", n->dir);
    snprintf(run, sizeof run, "%s/run", n->dir);
    if (mkdir(state, 0700) < 0 || mkdir(run, 0700) < 0) return "no folders";
    if (paths_init(&n->paths, state, run, NULL) < 0) return "no paths";
    if ((why = import_image(n))) return why;
    arena_init(&n->arena, 16 << 20);
    uv_loop_init(&n->loop);
    n->idx = 5;
    snprintf(url, sizeof url, "ipc://%s", paths_run(&n->paths, "api.sock", path));
    if (bus_new(&n->loop, &n->bus) < 0 || bus_listen(n->bus, url, &conn_ops, n, &l, NULL) < 0)
        return "no bus";
    node_start_anchor(n);
    node_start_agent(n);
    return NULL;
}

static void forget(struct node *n) {
    forget_statuses(n);
    map_fini(&n->wanted);
    map_fini(&n->volumes_gone);
    arena_fini(&n->arena);
}

/* A test that failed in the middle must leave nothing either. */
static void sweep(struct node *n) {
    struct strv groups = {0};
    if (cgroup_list(n->paths.cgroup, &groups) < 0) groups.n = 0;
    for (size_t i = 0; i < groups.n; i++) {
        int r = cgroup_kill(n->paths.cgroup, groups.v[i], NULL);
        if (r == 0) r = cgroup_remove(n->paths.cgroup, groups.v[i], NULL);
        (void) r; /* best effort */
    }
    strv_fini(&groups);
    int r = cgroup_remove_parent(n->paths.cgroup, NULL);
    (void) r;
    node_kill_keeper(n);
}

void node_tear_down(struct node *n) {
    if (!n->bus) return;
    if (n->agent > 0) (void) node_end_agent(n, SIGUSR1); /* sandboxes, network, cgroups */
    if (n->anchor > 0) (void) end(&n->anchor, SIGUSR1);
    sweep(n);
    n->session = NULL;
    bus_close(n->bus, NULL, NULL);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    uv_loop_close(&n->loop);
    forget(n);
    (void) sys_umount2(n->dir, MNT_DETACH);
    (void) rmdir(n->dir);
}
