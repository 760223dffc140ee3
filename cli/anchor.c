// SPDX-License-Identifier: Apache-2.0
#include "anchor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum {
    MTIME_LAG_MS = 50,
    SAY_EVERY_MS = 5000,
    KEEPER_END_MS = 2000, /* the anchor waits for it; what is left then stays */
    LOG_TAIL_BYTES = 4096,
    LOG_TAIL_LINES = 12,
    CGROUP_TEXT_MAX = 16 * 1024,
    EXE_MAX = 4096
};

pid_t anchor_holder(const struct paths *p, const char *role) {
    char name[64], path[PATHS_FULL_MAX];
    snprintf(name, sizeof name, "%s.lock", role);
    return fd_lock_holder(paths_run(p, name, path));
}

bool anchor_was_killed(const struct paths *p) {
    char fifo[PATHS_FULL_MAX];
    struct stat run, mount;
    return stat(p->run, &run) == 0 && stat(paths_run(p, "fifo", fifo), &mount) == 0 &&
           run.st_dev != mount.st_dev;
}

/* --- directories ---------------------------------------------------------------------------- */

static bool is_empty_dir(const char *path) {
    DIR *d = opendir(path);
    bool empty = d != NULL;
    for (struct dirent *e; empty && (e = readdir(d));)
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..")) empty = false;
    if (d) closedir(d);
    return empty;
}

/* One that was there already must be private; an empty one is made so. Others may hold anything. */
static int make_private(const char *path) {
    struct stat st;
    int r = fd_mkdirs(AT_FDCWD, path, 0700);
    if (r < 0) return cli_fail(EXIT_FAILED, "cannot make the directory %s: %s", path, err_text(r));
    if (stat(path, &st) < 0) return cli_fail(EXIT_FAILED, "%s: %s", path, err_text(errno));
    if (st.st_uid != geteuid())
        return cli_fail(EXIT_NOT_PERMITTED, "%s belongs to user %u, not to us", path,
                        (unsigned) st.st_uid);
    if ((st.st_mode & 077) == 0) return 0;
    if (is_empty_dir(path) && chmod(path, 0700) == 0) return 0;
    return cli_fail(
        EXIT_NOT_PERMITTED,
        "%s is open to other users (mode %04o): make it private with 'chmod 700 %s', or choose "
        "another directory",
        path, (unsigned) st.st_mode & 07777, path);
}

int anchor_make_dirs(const struct paths *p) {
    char logs[PATHS_FULL_MAX];
    int r = make_private(p->run);
    if (!r) r = make_private(p->state);
    if (r) return r;
    r = fd_mkdirs(AT_FDCWD, paths_run(p, "logs", logs), 0700);
    return r < 0 ? cli_fail(EXIT_FAILED, "cannot make %s: %s", logs, err_text(r)) : 0;
}

/* --- start ---------------------------------------------------------------------------------- */

static int own_path(char out[static EXE_MAX]) {
    ssize_t n = readlink("/proc/self/exe", out, EXE_MAX - 1);
    if (n <= 0) return -errno;
    out[n] = 0;
    return 0;
}

/* ORLOP_KEEPER, else beside our own executable, in libexec, in the build tree. */
static int keeper_path(const char *self, char out[static EXE_MAX]) {
    static const char *const places[] = {"orlop-keeper", "../libexec/orlop/orlop-keeper",
                                         "../runtime/keeper/orlop-keeper"};
    const char *given = getenv("ORLOP_KEEPER");
    if (!str_empty(given)) {
        snprintf(out, EXE_MAX, "%s", given);
        if (access(out, X_OK) == 0) return 0;
        return cli_fail(EXIT_FAILED, "ORLOP_KEEPER: cannot execute %s: %s", out, err_text(errno));
    }
    int dir = (int) (strrchr(self, '/') - self);
    for (size_t i = 0; i < array_len(places); i++) {
        snprintf(out, EXE_MAX, "%.*s/%s", dir, self, places[i]);
        if (access(out, X_OK) == 0) return 0;
    }
    return cli_fail(EXIT_FAILED,
                    "cannot find orlop-keeper beside %s nor in ../libexec/orlop: is it installed?",
                    self);
}

static int spawn(const char *keeper, char *self, const char *log, pid_t *ret) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char *argv[] = {(char[]){"orlop-keeper"}, (char[]){"anchor"}, (char[]){"--orlop"}, self, NULL};
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    if (posix_spawn_file_actions_init(&files) != 0) return -ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return -ENOMEM;
    }
    int r = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!r)
        r = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log,
                                             O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (!r) r = posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    if (!r)
        r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSIGDEF);
    if (!r) r = posix_spawnattr_setsigmask(&attr, &none);
    if (!r) r = posix_spawnattr_setsigdefault(&attr, &defaults);
    if (!r) r = posix_spawn(ret, keeper, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -r;
}

int anchor_start(const struct paths *p, pid_t *ret_pid) {
    static char self[EXE_MAX], keeper[EXE_MAX];
    char log[PATHS_FULL_MAX];
    int r = own_path(self);
    if (r < 0) return cli_fail(EXIT_FAILED, "cannot tell where this program is: %s", err_text(r));
    r = keeper_path(self, keeper);
    if (r) return r;
    if (setenv("ORLOP_RUN_DIR", p->run, 1) < 0 || setenv("ORLOP_STATE_DIR", p->state, 1) < 0)
        return cli_fail(EXIT_FAILED, "no memory");
    /* Those of a service or a desktop's terminal that we were called from: no systemd starts this
     * anchor again, the keeper must. */
    (void) unsetenv("INVOCATION_ID");
    (void) unsetenv("NOTIFY_SOCKET");
    r = spawn(keeper, self, paths_run(p, "logs/anchor.log", log), ret_pid);
    return r < 0 ? cli_fail(EXIT_FAILED, "cannot start %s: %s", keeper, err_text(r)) : 0;
}

/* --- stop ----------------------------------------------------------------------------------- */

/* The pidfd of the holder, -1 when there is none; never of another process that took its pid. */
static int open_holder(const struct paths *p, const char *role, pid_t *ret_pid) {
    *ret_pid = anchor_holder(p, role);
    if (*ret_pid <= 0) return -1;
    auto_fd int fd = sys_pidfd_open(*ret_pid, 0);
    if (fd < 0 || anchor_holder(p, role) != *ret_pid) return -1;
    return steal_fd(&fd);
}

/* True when it ended before the deadline. */
static bool wait_end(int pidfd, const char *what, pid_t pid, const struct paths *p,
                     int64_t deadline) {
    struct pollfd f = {.fd = pidfd, .events = POLLIN};
    while (clock_mono_ms() < deadline) {
        int64_t left = deadline - clock_mono_ms();
        int n = poll(&f, 1, left < SAY_EVERY_MS ? (int) left : SAY_EVERY_MS);
        if (n > 0) return true;
        if (n == 0 && left > SAY_EVERY_MS)
            fprintf(stderr,
                    "orlop: still waiting for the %s (pid %d) to end; its log: %s/logs/%s.log\n",
                    what, (int) pid, p->run, what);
    }
    return false;
}

static int say_late(const struct paths *p, const char *what, pid_t pid) {
    return cli_fail(EXIT_FAILED,
                    "the %s (pid %d) has not ended; see %s/logs, and try 'orlop dev --stop' again",
                    what, (int) pid, p->run);
}

int anchor_stop(const struct paths *p, bool keep, uint32_t timeout_s) {
    pid_t anchor_pid, keeper_pid;
    int64_t deadline = clock_mono_ms() + (int64_t) timeout_s * 1000;
    auto_fd int keeper = open_holder(p, "keeper", &keeper_pid);
    auto_fd int anchor = open_holder(p, "anchor", &anchor_pid);
    if (anchor < 0) return 0;
    int r = sys_pidfd_send_signal(anchor, keep ? SIGTERM : SIGUSR1);
    if (r < 0 && r != -ESRCH)
        return cli_fail(EXIT_FAILED, "cannot signal the anchor: %s", err_text(r));
    if (!wait_end(anchor, "anchor", anchor_pid, p, deadline))
        return say_late(p, "anchor", anchor_pid);
    if (keep || keeper < 0) return 0;
    if (wait_end(keeper, "keeper", keeper_pid, p, clock_mono_ms() + KEEPER_END_MS)) return 0;
    return cli_fail(
        EXIT_FAILED,
        "orlop has ended, but its containers and networks have not: the agent could not "
        "stop them, and %s/logs/agent.log says why; mend that, and run 'orlop dev --stop' again",
        p->run);
}

bool anchor_cgroup_is_unit(const char *text) {
    static const char unit[] = "/orlop.service";
    const size_t len = sizeof unit - 1;
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        if (n >= len && strncmp(line + n - len, unit, len) == 0) return true;
        line += n + (line[n] == '\n');
    }
    return false;
}

bool anchor_is_unit(pid_t pid) {
    char path[32];
    auto_free char *text = NULL;
    size_t n;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int) pid);
    return fd_read_file(AT_FDCWD, path, CGROUP_TEXT_MAX, &text, &n) == 0 &&
           anchor_cgroup_is_unit(text);
}

/* --- logs ----------------------------------------------------------------------------------- */

/* A file's time may lag behind the clock by a tick. */
static bool is_older(const struct stat *st, int64_t since_unix_ms) {
    int64_t ms = (int64_t) st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
    return ms + MTIME_LAG_MS < since_unix_ms;
}

static void print_tail(int dir, const char *name, int64_t since_unix_ms) {
    char text[LOG_TAIL_BYTES + 1];
    struct stat st;
    auto_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) return;
    if (is_older(&st, since_unix_ms)) return;
    off_t from = st.st_size > LOG_TAIL_BYTES ? st.st_size - LOG_TAIL_BYTES : 0;
    ssize_t n = pread(fd, text, LOG_TAIL_BYTES, from);
    if (n <= 0) return;
    text[n] = 0;
    char *start = text + n;
    for (int lines = 0; start > text; start--)
        if (start[-1] == '\n' && start != text + n && ++lines == LOG_TAIL_LINES) break;
    fprintf(stderr, "--- %s\n%s%s", name, start, text[n - 1] == '\n' ? "" : "\n");
}

void anchor_print_logs(const struct paths *p, int64_t since_unix_ms) {
    char path[PATHS_FULL_MAX];
    DIR *d = opendir(paths_run(p, "logs", path));
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));)
        if (str_ends(e->d_name, ".log")) print_tail(dirfd(d), e->d_name, since_unix_ms);
    closedir(d);
}
