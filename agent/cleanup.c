// SPDX-License-Identifier: Apache-2.0
#include "agent/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "agent/prepare_task.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"

/* The keeper has said that it ended. Whoever is in there all the same is a container whose start
 * record was lost, or what a task in the host's PID namespace has left: the next one must not run
 * beside it. */
static int remove_cgroup(const struct paths *p, const char *sandbox, struct err *err) {
    int r = cgroup_remove(p->cgroup, sandbox, err);
    if (r != -EBUSY) return r;
    log_error("cleanup.stray", "sandbox=%s what=\"processes ran on after its end: killed\"",
              sandbox);
    r = cgroup_kill(p->cgroup, sandbox, err);
    return r < 0 ? r : cgroup_remove(p->cgroup, sandbox, err);
}

int cleanup_attempt(const struct paths *p, const char *sandbox, struct err *err) {
    char dir[PREPARE_PATH_MAX];
    int r = fd_remove_tree(AT_FDCWD, prepare_private_dir(p, sandbox, dir));
    if (r < 0) return err_set(err, r, "remove %s", dir);
    r = remove_cgroup(p, sandbox, err);
    return r < 0 ? err_wrap(err, r, "remove cgroup %s/%s", p->cgroup, sandbox) : 0;
}

int cleanup_task(const struct paths *p, const char *task, struct err *err) {
    char dir[PREPARE_PATH_MAX];
    int r = fd_remove_tree(AT_FDCWD, prepare_task_dir(p, task, dir));
    return r < 0 ? err_set(err, r, "remove %s", dir) : 0;
}

/* NAME is a task id, or a sandbox name that begins with one and '-'. */
static bool is_known(const struct strv *known, const char *name) {
    char id[TASK_ID_MAX];
    size_t n = strcspn(name, "-");
    if (n >= sizeof id) return false;
    memcpy(id, name, n);
    id[n] = 0;
    return strv_has(known, id);
}

static void note(int r, int *first, struct err *err, const struct err *mine) {
    if (r >= 0 || *first < 0) return;
    *first = r;
    if (err) *err = *mine;
}

static int sweep_dir(const char *dir, const struct strv *known, struct err *err) {
    DIR *d = opendir(dir);
    if (!d) return errno == ENOENT ? 0 : err_set(err, -errno, "open %s", dir);
    int first = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        if (*e->d_name == '.' || is_known(known, e->d_name)) continue;
        struct err mine = {0};
        int r = fd_remove_tree(dirfd(d), e->d_name);
        if (r < 0) err_set(&mine, r, "remove %s/%s", dir, e->d_name);
        note(r, &first, err, &mine);
    }
    closedir(d);
    return first;
}

static int sweep_cgroups(const struct paths *p, const struct strv *known, struct err *err) {
    struct strv names = {0};
    int first = cgroup_list(p->cgroup, &names);
    if (first == -ENOENT) first = 0;
    for (size_t i = 0; i < names.n; i++) {
        struct err mine = {0};
        if (is_known(known, names.v[i])) continue;
        note(remove_cgroup(p, names.v[i], &mine), &first, err, &mine);
    }
    strv_fini(&names);
    return first;
}

int cleanup_strays(const struct paths *p, const struct strv *known, struct err *err) {
    char dir[PATHS_FULL_MAX];
    int first = sweep_dir(paths_state(p, "tasks", dir), known, err);
    struct err mine = {0};
    note(sweep_dir(paths_run(p, "private", dir), known, &mine), &first, err, &mine);
    note(sweep_cgroups(p, known, &mine), &first, err, &mine);
    return first;
}

static void unmount_all(const char *place) {
    int r;
    do r = sys_umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW);
    while (r == 0);
    if (r == -EINVAL || r == -ENOENT || r == -ENOTDIR) return; /* nothing is mounted there */
    log_warn("cleanup.place", "place=%s err=\"%s\" next=\"left as it is\"", place, err_text(r));
}

void cleanup_places(const struct paths *p) {
    char dir[PATHS_FULL_MAX], task[PREPARE_PATH_MAX], place[PREPARE_PATH_MAX + sizeof "/scratch"];
    DIR *d = opendir(paths_state(p, "tasks", dir));
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        if (*e->d_name == '.') continue;
        snprintf(place, sizeof place, "%s/scratch", prepare_task_dir(p, e->d_name, task));
        unmount_all(place);
    }
    if (d) closedir(d); /* none: there was no task yet */
}
