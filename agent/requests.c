// SPDX-License-Identifier: Apache-2.0
#include "agent/requests.h"

#include <errno.h>

#include "agent/confine.h"
#include "agent/exec.h"
#include "agent/images.h"
#include "agent/logs.h"
#include "agent/volumes.h"
#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/mem.h"

enum { REQUEST_BUDGET = 1 << 20 };

/* ---- volumes ---- */

struct volumes_request {
    uv_work_t work;
    struct agent *agent;
    struct bus_stream *stream; /* NULL: closed meanwhile */
    char dir[PATHS_FULL_MAX];
    char *remove; /* NULL: list */
    struct volumes_info *list;
    size_t n;
    int status;
    struct err err;
};

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct volumes_request *q = ctx;
    (void) s;
    (void) err;
    q->stream = NULL;
    if (q->agent) return; /* the job ends later */
    mem_free(q);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    (void) s;
    (void) body;
    (void) len;
}

static const struct bus_stream_ops volumes_ops = {.data = on_data, .closed = on_closed};

static void run(uv_work_t *w) {
    struct volumes_request *q = container_of(w, struct volumes_request, work);
    q->status = q->remove ? volumes_remove(q->dir, q->remove, &q->err)
                          : volumes_list(q->dir, &q->list, &q->n, &q->err);
}

static void answer_list(struct volumes_request *q) {
    struct arena a;
    arena_init(&a, 64 << 20);
    Orlop__VolumeListAnswer m = ORLOP__VOLUME_LIST_ANSWER__INIT;
    m.volumes = arena_alloc(&a, (q->n + 1) * sizeof *m.volumes);
    for (size_t i = 0; m.volumes && i < q->n; i++) {
        Orlop__VolumeInfo *v = arena_alloc(&a, sizeof *v);
        if (!v) break;
        orlop__volume_info__init(v);
        v->name = q->list[i].name;
        v->app = q->list[i].app;
        v->created_unix_ms = q->list[i].created_unix_ms;
        v->in_use = actions_volume_in_use(q->agent, v->name);
        m.volumes[m.n_volumes++] = v;
    }
    if (m.n_volumes == q->n)
        bus_answer_pb(q->stream, &m.base);
    else
        bus_fail(q->stream, ENOMEM, "no memory for the list of volumes");
    arena_fini(&a);
}

static void done(uv_work_t *w, int status) {
    struct volumes_request *q = container_of(w, struct volumes_request, work);
    static const Orlop__Empty empty = ORLOP__EMPTY__INIT;
    (void) status;
    q->agent->jobs--;
    if (q->stream && q->status < 0)
        bus_fail(q->stream, -q->status, "%s", q->err.text);
    else if (q->stream && q->remove)
        bus_answer_pb(q->stream, &empty.base);
    else if (q->stream)
        answer_list(q);
    volumes_infos_free(q->list, q->n);
    mem_free(q->remove);
    q->agent = NULL;
    if (!q->stream) mem_free(q); /* else with its stream */
}

/* REMOVE: TAKES it; NULL = list. */
static void volumes_begin(struct agent *a, struct bus_stream *s, char *remove) {
    struct volumes_request *q = mem_zalloc(sizeof *q);
    if (!q) {
        mem_free(remove);
        bus_fail(s, ENOMEM, "no memory");
        return;
    }
    q->agent = a;
    q->stream = s;
    q->remove = remove;
    paths_state(&a->paths, "volumes", q->dir);
    bus_stream_accept(s, &volumes_ops, q);
    a->jobs++;
    int r = uv_queue_work(a->loop, &q->work, run, done);
    ensure(r == 0);
}

/* In use: a task of the set has it, running or not (yet). */
static bool wanted_by_a_task(const struct agent *a, const char *name) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(astore_tasks(a->store), &i, &key, &value);) {
        const struct astore_task *t = value;
        for (size_t k = 0; t->in_set && !t->end && k < t->spec->n_volumes; k++)
            if (str_eq(t->spec->volumes[k]->name, name)) return true;
    }
    return actions_volume_in_use(a, name);
}

static void volume_remove(struct agent *a, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct arena arena;
    arena_init(&arena, REQUEST_BUDGET);
    const Orlop__VolumeRef *m = arena_unpack(&arena, &orlop__volume_ref__descriptor, body, len);
    if (!m || !volumes_name_ok(m->name)) {
        bus_fail(s, EINVAL, "that is no name of a volume");
    } else if (wanted_by_a_task(a, m->name)) {
        bus_fail(s, EBUSY, "volume %s is used by a task of this node", m->name);
    } else {
        char *name = mem_strdup(m->name);
        if (name)
            volumes_begin(a, s, name);
        else
            bus_fail(s, ENOMEM, "no memory");
    }
    arena_fini(&arena);
}

/* ---- logs, exec ---- */

static enum logs_task_state task_state(void *ctx, const char *id) {
    struct agent *a = ctx;
    const struct task *t = rec_task(&a->rec, id);
    if (!t || !t->st) return LOGS_TASK_UNKNOWN;
    bool ended = t->state >= TASK_SAVING && t->state != TASK_HALTED;
    return ended ? LOGS_TASK_ENDED : LOGS_TASK_LIVE;
}

static const struct logs_ops logs_ops = {.task_state = task_state};

static int resolve(void *ctx, const Orlop__ExecRequest *req, struct arena *arena,
                   Orlop__KeeperExec *exec, int *ret_seccomp, struct err *err) {
    struct agent *a = ctx;
    const struct task *t = rec_task(&a->rec, req->task);
    const struct agent_task *shell = map_get(&a->tasks, req->task);
    if (!t || !t->st) return err_say(err, -ENOENT, "task %s is not on this node", req->task);
    if (t->state < TASK_RUNNING || t->state > TASK_STOPPING)
        return err_say(err, -ESRCH, "task %s is not running", req->task);
    if (!shell || !shell->prepared || shell->attempt != t->attempt)
        return err_say(err, -EAGAIN, "the agent has just started and still looks at task %s",
                       req->task);
    const struct prepared *p = shell->prepared;
    const Orlop__Service *s = t->st->spec->spec;
    exec->task = arena_strdup(arena, req->task);
    exec->env = p->merged.env;
    exec->n_env = p->merged.n_env;
    exec->user = arena_strdup(arena, *req->user ? req->user : p->merged.user);
    exec->cwd = arena_strdup(arena, *req->cwd ? req->cwd : p->merged.cwd);
    exec->capabilities = p->spec.capabilities;
    exec->no_new_privs = confine_no_new_privs(s);
    exec->extra_groups = s->group_add;
    exec->n_extra_groups = s->n_group_add;
    if (!exec->task || !exec->user || !exec->cwd) return err_set(err, -ENOMEM, "exec");
    return confine_filter(s, exec->capabilities, ret_seccomp, err);
}

static const struct execs_ops execs_ops = {.resolve = resolve};

/* Images of all tasks that may (again) be started here. Without memory for one of them: the process
 * ends rather than have it removed. */
static void images_in_use(void *ctx, struct strv *ret) {
    struct agent *a = ctx;
    const char *key;
    void *value;
    int r = 0;
    for (size_t i = 0; r == 0 && map_next(&a->rec.tasks, &i, &key, &value);) {
        const struct task *t = value;
        const struct agent_task *shell = map_get(&a->tasks, key);
        if (t->state == TASK_GONE || t->state == TASK_DELETING) continue;
        if (shell && shell->prepared) r = strv_add(ret, shell->prepared->image_digest);
        const char *pinned = t->st ? t->st->spec->spec->image_digest : "";
        if (r == 0 && *pinned && !strv_has(ret, pinned)) r = strv_add(ret, pinned);
    }
    if (r < 0) agent_fatal(a, "no memory for the list of images in use", r);
}

int requests_new(struct agent *a) {
    int r = logs_new(a->loop, a->paths.state, &logs_ops, a, &a->logs);
    if (r == 0) r = execs_new(a->loop, a->klink, &execs_ops, a, &a->execs);
    if (r == 0) r = agent_images_new(a->loop, a->images, images_in_use, a, &a->image_requests);
    return r;
}

void requests_close(struct agent *a) {
    execs_close(a->execs);
    logs_close(a->logs);
    agent_images_free(a->image_requests);
    a->image_requests = NULL;
    a->execs = NULL;
    a->logs = NULL;
}

void requests_open(struct agent *a, struct bus_stream *s, uint32_t method, const uint8_t *body,
                   size_t len) {
    if (!a->logs) {
        bus_fail(s, ESHUTDOWN, "the agent is about to end");
        return;
    }
    switch (method) {
    case ORLOP__METHOD__VOLUME_LIST:
        volumes_begin(a, s, NULL);
        return;
    case ORLOP__METHOD__VOLUME_REMOVE:
        volume_remove(a, s, body, len);
        return;
    case ORLOP__METHOD__LOGS:
        logs_open(a->logs, s, body, len);
        return;
    case ORLOP__METHOD__EXEC:
        execs_open(a->execs, s, body, len);
        return;
    default:
        if (agent_images_request(a->image_requests, s, method, body, len)) return;
        bus_fail(s, ENOSYS, "this node does not know method %u", method);
    }
}
