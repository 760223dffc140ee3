// SPDX-License-Identifier: Apache-2.0
/* The anchor's children: start, adopt, restart with back-off. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anchor_int.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

static char word_proxy[] = "proxy", word_scheduler[] = "scheduler", word_agent[] = "agent",
            word_self[] = "orlop-keeper", word_orlop[] = "orlop";

void anchor__roles_init(struct anchor *a, const struct anchor_config *cfg) {
    static char *proxy[] = {word_self, word_proxy, NULL};
    static char *scheduler[] = {word_orlop, word_scheduler, NULL};
    static char *agent[] = {word_orlop, word_agent, NULL};
    bool orlop = cfg->orlop;
    const char *self = "/proc/self/exe";
    a->roles[ROLE_KEEPER] = (struct role){.name = "keeper", .file = self, .argv = cfg->keeper_argv};
    a->roles[ROLE_PROXY] =
        (struct role){.name = "proxy", .file = self, .argv = cfg->no_proxy ? NULL : proxy};
    a->roles[ROLE_SCHEDULER] =
        (struct role){.name = "scheduler",
                      .file = cfg->orlop,
                      .argv = orlop && !cfg->no_scheduler ? scheduler : NULL};
    a->roles[ROLE_AGENT] = (struct role){
        .name = "agent", .file = cfg->orlop, .argv = orlop && !cfg->no_agent ? agent : NULL};
    for (size_t i = 0; i < ROLE__COUNT; i++) a->roles[i].backoff_ms = ROLE_BACKOFF_MIN_MS;
}

struct adopted { /* a role and whose it is, for the pidfd's callback */
    struct anchor *anchor;
};
static struct adopted the_anchor; /* one a process */

static void on_adopted_end(struct loop_source *s, uint32_t events) {
    (void) events;
    anchor__role_ended(the_anchor.anchor, container_of(s, struct role, pidfd), 0);
}

/* True when somebody holds the role's lock: it is the role's process from now on. */
static bool adopt(struct anchor *a, struct role *r) {
    char name[32], path[PATHS_FULL_MAX];
    snprintf(name, sizeof name, "%s.lock", r->name);
    paths_run(&a->paths, name, path);
    pid_t pid = fd_lock_holder(path);
    if (pid <= 0) return false;
    auto_fd int pidfd = sys_pidfd_open(pid, 0);
    if (pidfd < 0 || fd_lock_holder(path) != pid) return false; /* it has ended meanwhile */
    if (loop_add(&a->loop, &r->pidfd, pidfd, EPOLLIN, on_adopted_end) < 0) return false;
    pidfd = -1; /* the loop's */
    r->pid = pid;
    r->child = false;
    r->started_ms = a->now_ms;
    log_info("role.adopt", "role=%s pid=%d", r->name, (int) pid);
    return true;
}

void anchor__roles_adopt(struct anchor *a) {
    the_anchor.anchor = a;
    for (size_t i = 0; i < ROLE__COUNT; i++)
        if (a->roles[i].argv && !a->roles[i].pid) (void) adopt(a, &a->roles[i]);
}

static int open_log(const struct anchor *a, const struct role *r) {
    char path[PATHS_FULL_MAX];
    snprintf(path, sizeof path, "%s/logs/%s.log", a->paths.run, r->name);
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) return -errno;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size > ROLE_LOG_MAX)
        (void) !ftruncate(fd, 0); /* its writers append: they go on at the new end */
    return steal_fd(&fd);
}

static void trim_logs(struct anchor *a) {
    if (a->now_ms < a->next_trim_ms) return;
    a->next_trim_ms = a->now_ms + ROLE_TRIM_MS;
    for (size_t i = 0; i < ROLE__COUNT; i++) {
        int fd = a->roles[i].argv ? open_log(a, &a->roles[i]) : -1;
        fd_close(&fd);
    }
}

_Noreturn static void exec_role(const struct role *r, int log) {
    sigset_t none;
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    (void) signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) (void) dup2(null, STDIN_FILENO);
    if (log >= 0) {
        (void) dup2(log, STDOUT_FILENO);
        (void) dup2(log, STDERR_FILENO);
    }
    (void) setsid(); /* a ^C on the terminal is for who runs there */
    execv(r->file, r->argv);
    dprintf(STDERR_FILENO, "orlop: cannot start %s: %s\n", r->file, err_text(errno));
    _exit(127);
}

/* An anchor before us may have been killed when it had just forked the role: that one took its lock
 * after we had looked, and ours has ended because of it. So look again. */
static void start(struct anchor *a, struct role *r) {
    if (adopt(a, r)) return;
    auto_fd int log = open_log(a, r);
    pid_t pid = fork();
    if (pid == 0) exec_role(r, log);
    r->started_ms = a->now_ms;
    r->next_start_ms = a->now_ms + r->backoff_ms;
    if (pid < 0) {
        log_error("role.start", "role=%s err=\"%s\"", r->name, err_text(errno));
        return;
    }
    r->pid = pid;
    r->child = true;
    log_info("role.start", "role=%s pid=%d restarts=%u", r->name, (int) pid, r->restarts);
}

static bool due(const struct anchor *a, const struct role *r) {
    return r->argv && !r->pid && a->phase != ANCHOR_STOPPING;
}

void anchor__roles_turn(struct anchor *a) {
    trim_logs(a);
    for (size_t i = 0; i < ROLE__COUNT; i++) {
        struct role *r = &a->roles[i];
        if (due(a, r) && r->next_start_ms <= a->now_ms) start(a, r);
    }
}

int64_t anchor__roles_deadline_ms(const struct anchor *a) {
    int64_t first = a->next_trim_ms;
    for (size_t i = 0; i < ROLE__COUNT; i++)
        if (due(a, &a->roles[i]) && a->roles[i].next_start_ms < first)
            first = a->roles[i].next_start_ms;
    return first;
}

struct role *anchor__role_of_child(struct anchor *a, pid_t pid) {
    for (size_t i = 0; i < ROLE__COUNT; i++)
        if (a->roles[i].child && a->roles[i].pid == pid) return &a->roles[i];
    return NULL;
}

void anchor__role_ended(struct anchor *a, struct role *r, int wait_status) {
    int64_t lived = a->now_ms - r->started_ms;
    if (lived > ROLE_STEADY_MS) r->backoff_ms = ROLE_BACKOFF_MIN_MS;
    log_warn("role.end", "role=%s pid=%d status=0x%x lived_ms=%lld", r->name, (int) r->pid,
             (unsigned) wait_status, (long long) lived);
    /* Who was killed is not broken: no growing pause, containers wait when their pipes are full. */
    bool killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
    r->next_start_ms = a->now_ms + (lived > ROLE_BACKOFF_MIN_MS ? 0 : r->backoff_ms);
    if (lived <= ROLE_STEADY_MS && !killed) r->backoff_ms *= 2;
    if (r->backoff_ms > ROLE_BACKOFF_MAX_MS) r->backoff_ms = ROLE_BACKOFF_MAX_MS;
    r->pid = 0;
    r->child = false;
    r->restarts++;
    loop_remove(&a->loop, &r->pidfd);
    anchor__on_role_end(a, (enum role_id)(r - a->roles), wait_status);
}

void anchor__role_signal(struct anchor *a, enum role_id id, int sig) {
    struct role *r = &a->roles[id];
    if (!r->pid) return;
    int e = r->child ? (kill(r->pid, sig) < 0 ? -errno : 0) /* not reaped yet: the pid is ours */
                     : sys_pidfd_send_signal(r->pidfd.fd, sig);
    if (e < 0 && e != -ESRCH) log_warn("role.signal", "role=%s err=\"%s\"", r->name, err_text(e));
}
