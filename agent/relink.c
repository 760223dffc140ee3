// SPDX-License-Identifier: Apache-2.0
#include "agent/relink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/actions.h"
#include "agent/prepare_task.h"
#include "agent/view.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/net/attach.h"

enum { CGROUP_TEXT_MAX = 64 * 1024, ARENA_MAX = 1 << 20 };

struct relink_job {
    uv_work_t work;
    struct agent *agent;
    char id[TASK_ID_MAX], sandbox[TASK_SANDBOX_MAX];
    int32_t pid;
    struct prepare_network networks[PREPARE_NETWORKS_MAX];
    size_t n_networks;
    size_t n_made;
    int status;
    struct err err;
};

/* ---- [pool] ---- */

/* The process may have ended and its number be another's: the directory stays the one process's,
 * and its cgroup is named after the sandbox. -ESRCH: it is not there any more. */
static int open_netns(const struct relink_job *j) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", j->pid);
    auto_fd int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) return -ESRCH;
    auto_fd int netns = openat(proc, "ns/net", O_RDONLY | O_CLOEXEC);
    auto_free char *cgroup = NULL;
    size_t n;
    if (netns < 0 || fd_read_file(proc, "cgroup", CGROUP_TEXT_MAX, &cgroup, &n) < 0) return -ESRCH;
    return strstr(cgroup, j->sandbox) ? steal_fd(&netns) : -ESRCH;
}

static size_t keep_missing(Orlop__SandboxLink **links, size_t n) {
    size_t missing = 0;
    for (size_t i = 0; i < n; i++)
        if (!net_link_exists(links[i]->host_name)) links[missing++] = links[i];
    return missing;
}

static int attach_inside(struct relink_job *j, int netns, const struct attach_host *host,
                         Orlop__SandboxLink **links) {
    auto_fd int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0) return err_set(&j->err, -errno, "open the network namespace of this thread");
    if (setns(netns, CLONE_NEWNET) < 0)
        return err_set(&j->err, -errno, "enter the network namespace of task %s", j->id);
    int r = attach_links(host, links, j->n_made, &j->err);
    /* A thread of the pool in a task's network would do anything there: better no agent. */
    ensure(setns(own, CLONE_NEWNET) == 0);
    return r;
}

static int relink(struct relink_job *j, struct arena *a) {
    auto_fd int netns = open_netns(j);
    if (netns < 0) return netns;
    Orlop__SandboxLink **links = prepare_task_links(a, j->sandbox, j->networks, j->n_networks);
    if (!links) return err_set(&j->err, -ENOMEM, "links");
    j->n_made = keep_missing(links, j->n_networks);
    if (j->n_made == 0) return 0;
    struct attach_host host;
    int r = attach_host_open(&host, &j->err);
    if (r < 0) return r;
    r = attach_inside(j, netns, &host, links);
    attach_host_close(&host);
    return r;
}

static void run(uv_work_t *w) {
    struct relink_job *j = container_of(w, struct relink_job, work);
    struct arena a;
    arena_init(&a, ARENA_MAX);
    j->status = relink(j, &a);
    arena_fini(&a);
}

/* ---- [loop] ---- */

static void done(uv_work_t *w, int status) {
    struct relink_job *j = container_of(w, struct relink_job, work);
    struct agent *a = j->agent;
    (void) status;
    a->jobs--;
    if (map_get(&a->rec.tasks, j->id)) agent_task(a, j->id)->relinking = false;
    if (j->status < 0 && j->status != -ESRCH)
        log_error("link.lost",
                  "task=%s err=\"%s\" next=\"it has no network until it is restarted\"", j->id,
                  j->err.text);
    if (j->status == 0 && j->n_made > 0)
        log_warn("link.restored", "task=%s links=%zu why=\"somebody deleted them\"", j->id,
                 j->n_made);
    mem_free(j);
}

static void look(struct agent *a, const struct task *t) {
    bool lives = t->state == TASK_RUNNING || t->state == TASK_DRAINING || t->state == TASK_STOPPING;
    if (!lives || t->pid <= 0 || !t->st || t->st->spec->n_addresses == 0) return;
    char sandbox[TASK_SANDBOX_MAX];
    task_sandbox_name(t->id, t->boot, t->attempt, sandbox);
    struct agent_task *shell = agent_task(a, t->id);
    if (shell->relinking || aview_all_links_exist(t->st->spec, sandbox)) return;
    struct relink_job *j = actions__must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    j->pid = t->pid;
    memcpy(j->id, t->id, sizeof j->id);
    memcpy(j->sandbox, sandbox, sizeof sandbox);
    j->n_networks = aview_task_networks(a->view, t->st->spec, j->networks);
    shell->relinking = true;
    actions__queue(a, &j->work, run, done);
}

void relink_look(struct agent *a) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, &key, &value);) look(a, value);
}
