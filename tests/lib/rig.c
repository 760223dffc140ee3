// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"

enum { UMOUNT_DETACH = 2 };

static const char busybox[] = "/bin/busybox";
static const char *const applets[] = {
    "sh",   "cat", "ls",   "id",   "hostname", "mount", "readlink", "touch", "sleep",
    "ps",   "ip",  "stty", "tty",  "kill",     "echo",  "true",     "env",   "mkdir",
    "ping", "ln",  "pwd",  "stat", "grep",     "dd",    "rm",       "umount"};

static int copy_file(const char *from, int dir, const char *to) {
    auto_fd int in = open(from, O_RDONLY | O_CLOEXEC);
    auto_fd int out = openat(dir, to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    if (in < 0 || out < 0) return -1;
    char buf[8192];
    for (ssize_t n; (n = read(in, buf, sizeof buf)) != 0;)
        if (n < 0 || fd_write_all(out, buf, (size_t) n) < 0) return -1;
    return 0;
}

static int put_text(int dir, const char *path, const char *text) {
    auto_fd int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : fd_write_all(fd, text, strlen(text));
}

static int make_image(const char *dir) {
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d < 0) return -1;
    static const char *const folders[] = {"bin", "etc", "tmp", "home", "home/app"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdirat(d, folders[i], 0755) < 0) return -1;
    if (copy_file(busybox, d, "bin/busybox") < 0) return -1;
    for (size_t i = 0; i < sizeof applets / sizeof *applets; i++) {
        char path[64];
        snprintf(path, sizeof path, "bin/%s", applets[i]);
        if (symlinkat("busybox", d, path) < 0) return -1;
    }
    if (put_text(d, "etc/passwd",
                 "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n") < 0)
        return -1;
    return put_text(d, "etc/group", "root:x:0:\napp:x:1000:\nextra:x:77:app,other\n");
}

static int own_namespaces(void) {
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) return -errno;
    return sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

const char *rig_set_up(struct rig *r) {
    *r = (struct rig){.out_fd = -1, .err_fd = -1};
    if (geteuid() != 0) return "needs root";
    if (access(busybox, X_OK) != 0) return "needs /bin/busybox (Debian: busybox-static)";
    if (own_namespaces() < 0) return "no namespaces here";
    strcpy(r->dir, "/tmp/orlop-container-XXXXXX"); /* NOLINT: constant, fits */
    if (!mkdtemp(r->dir)) return "no temporary folder";
    /* A tmpfs: overlay cannot lie on overlay, and it goes with the mount namespace. */
    if (sys_mount("orlop-test", r->dir, "tmpfs", 0, "mode=755") < 0) return "no tmpfs";
    char image[96];
    snprintf(image, sizeof image, "%s/image", r->dir);
    if (mkdir(image, 0755) < 0 || make_image(image) < 0) return "cannot make an image";
    snprintf(r->out_path, sizeof r->out_path, "%s/out", r->dir);
    snprintf(r->err_path, sizeof r->err_path, "%s/err", r->dir);
    if (mkfifo(r->out_path, 0600) < 0 || mkfifo(r->err_path, 0600) < 0) return "no FIFOs";
    r->out_fd = open(r->out_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    r->err_fd = open(r->err_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    snprintf(r->cgroup_parent, sizeof r->cgroup_parent, "orlop-test-%d", (int) getpid());
    return r->out_fd < 0 || r->err_fd < 0 ? "cannot open the FIFOs" : NULL;
}

/* A test that failed half-way has left its sandbox: our children, so no pid can be another's. */
static void end_children(void) {
    char path[64];
    auto_free char *list = NULL;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int) getpid());
    if (fd_read_file(AT_FDCWD, path, 65536, &list, NULL) < 0) return;
    for (char *at = list, *end; (end = strchr(at, ' ')); at = end + 1) {
        uint32_t pid;
        *end = 0;
        if (str_to_u32(at, INT32_MAX, &pid) < 0) return;
        (void) kill((pid_t) pid, SIGKILL);
        (void) waitpid((pid_t) pid, NULL, 0);
    }
}

static void remove_cgroups(const char *parent) {
    struct strv left = {.v = NULL};
    struct err e = {.code = 0};
    int r = cgroup_list(parent, &left);
    for (size_t i = 0; r == 0 && i < left.n; i++) {
        r = cgroup_kill(parent, left.v[i], &e);
        if (r == 0) r = cgroup_remove(parent, left.v[i], &e);
    }
    strv_fini(&left);
    if (r == 0) r = cgroup_remove_parent(parent, &e);
    if (r < 0) dprintf(2, "cgroups of the test are left: %s\n", e.text);
}

void rig_tear_down(struct rig *r) {
    fd_close(&r->out_fd);
    fd_close(&r->err_fd);
    end_children();
    if (r->cgroup_parent[0]) remove_cgroups(r->cgroup_parent);
    if (!r->dir[0]) return;
    (void) sys_umount2(r->dir, UMOUNT_DETACH);
    (void) rmdir(r->dir);
}

/* What the agent does in PREPARING, in short: an overlay, mounted, cloned, unmounted. */
static int make_root(struct rig *r) {
    char path[128], options[512];
    static const char *const names[] = {"upper", "work", "root"};
    unsigned n = ++r->mounts;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s%u", r->dir, names[i], n);
        if (mkdir(path, 0755) < 0) return -errno;
    }
    snprintf(options, sizeof options, "lowerdir=%s/image,upperdir=%s/upper%u,workdir=%s/work%u",
             r->dir, r->dir, n, r->dir, n);
    int e = sys_mount("overlay", path, "overlay", 0, options);
    if (e < 0) return e;
    int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
    (void) sys_umount2(path, UMOUNT_DETACH);
    return fd;
}

void rig_spec_init(struct rig *r, struct rig_spec *s, const char *const *argv) {
    *s = (struct rig_spec){.n_fds = 1};
    orlop__sandbox_spec__init(&s->spec);
    for (; argv[s->spec.n_argv]; s->spec.n_argv++)
        s->argv[s->spec.n_argv] = strdup(argv[s->spec.n_argv]);
    s->spec.argv = s->argv;
    s->spec.env = s->env;
    s->spec.capabilities = 0xa80425fb;
    s->spec.no_new_privs = true;
    s->spec.fd_seccomp = -1;
    s->spec.hostname = strdup("box");
    s->fds[0] = make_root(r);
}

void rig_spec_fini(struct rig_spec *s) {
    for (size_t i = 0; i < s->spec.n_argv; i++) free(s->argv[i]);
    free(s->spec.hostname);
    for (size_t i = 0; i < s->n_fds; i++) fd_close(&s->fds[i]);
}

int rig_spawn(struct rig *r, struct rig_spec *s, struct container_process *p, struct err *err) {
    struct container_host host = {.cgroup_parent = r->cgroup_parent};
    return container_spawn(&s->spec, s->fds, s->n_fds, &host, r->out_path, r->err_path, p, err);
}

int rig_started(struct container_process *p, struct rig_result *ret) {
    struct container_report rep;
    struct pollfd pf = {.fd = p->status_fd, .events = POLLIN};
    while (poll(&pf, 1, -1) < 0) {
    }
    ssize_t n = read(p->status_fd, &rep, sizeof rep);
    if (n != sizeof rep) return 0;
    memcpy(ret->phase, rep.phase, sizeof rep.phase);
    memcpy(ret->text, rep.text, sizeof rep.text);
    return ret->failed = -rep.error;
}

static void drain(int fd, char *buf) {
    size_t n = strlen(buf);
    for (ssize_t got; (got = read(fd, buf + n, RIG_OUTPUT_MAX - 1 - n)) > 0;) n += (size_t) got;
    buf[n] = 0;
}

void rig_await(struct rig *r, struct rig_result *ret, const char *text) {
    while (!strstr(ret->out, text)) {
        struct pollfd p = {.fd = r->out_fd, .events = POLLIN};
        (void) poll(&p, 1, -1);
        drain(r->out_fd, ret->out);
    }
}

/* Read both streams until the process has ended: a full FIFO would keep it from ending. */
static void collect(struct rig *r, struct container_process *p, struct rig_result *ret) {
    for (bool ended = false; !ended;) {
        struct pollfd pf[] = {{.fd = p->pidfd, .events = POLLIN},
                              {.fd = r->out_fd, .events = POLLIN},
                              {.fd = r->err_fd, .events = POLLIN}};
        (void) poll(pf, 3, -1);
        ended = pf[0].revents != 0;
        drain(r->out_fd, ret->out);
        drain(r->err_fd, ret->err);
    }
    (void) waitpid(p->pid, &ret->status, 0);
}

void rig_finish(struct rig *r, struct container_process *p, struct rig_result *ret) {
    if (p->go_fd >= 0) {
        ssize_t ignored = write(p->go_fd, "g", 1);
        (void) ignored;
    }
    (void) rig_started(p, ret);
    collect(r, p, ret);
    fd_close(&p->pidfd);
    fd_close(&p->status_fd);
    fd_close(&p->go_fd);
    fd_close(&p->master);
}

void rig_run(struct rig *r, struct rig_spec *s, struct rig_result *ret) {
    struct container_process p;
    struct err e = {.code = 0};
    memset(ret, 0, sizeof *ret);
    ret->failed = rig_spawn(r, s, &p, &e);
    if (ret->failed < 0)
        memcpy(ret->text, e.text, sizeof ret->text);
    else
        rig_finish(r, &p, ret);
}
