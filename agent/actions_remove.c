// SPDX-License-Identifier: Apache-2.0
/* What is removed: an attempt's leftovers, a task, a removed app's volumes, leftovers of nobody. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/actions.h"
#include "agent/cleanup.h"
#include "agent/view.h"
#include "agent/volumes.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { LINK_POLL_MS = 20, LINK_SAY_MS = 10000, DELETE_RETRY_MS = 1000 };

void *actions__must(struct agent *a, void *p) {
    if (!p) agent_fatal(a, "no memory for a job", -ENOMEM);
    return p;
}

void actions__queue(struct agent *a, uv_work_t *w, uv_work_cb run, uv_after_work_cb after) {
    a->jobs++;
    int r = uv_queue_work(a->loop, w, run, after);
    ensure(r == 0); /* fails only for a NULL callback */
}

/* ---- cleaning an attempt ---- */

struct clean_job {
    uv_work_t work;
    uv_timer_t timer;
    struct agent *agent;
    char id[TASK_ID_MAX], sandbox[TASK_SANDBOX_MAX];
    const Orlop__TaskSpec
        *spec; /* NULL: a stray's links are not known; stays until the task is deleted */
    int status;
    struct err err;
    int64_t since_ms;
    bool said;
};

static void clean_run(uv_work_t *w) {
    struct clean_job *j = container_of(w, struct clean_job, work);
    j->status = cleanup_attempt(&j->agent->paths, j->sandbox, &j->err);
}

static void clean_closed(uv_handle_t *h) {
    mem_free(container_of((uv_timer_t *) h, struct clean_job, timer));
}

static void clean_end(struct clean_job *j) {
    struct agent *a = j->agent;
    a->jobs--;
    if (j->status < 0)
        log_warn("task.clean", "sandbox=%s err=\"%s\" next=\"again\"", j->sandbox, j->err.text);
    agent_event(a, &(struct rec_event){.kind = j->status < 0 ? REC_EV_CLEAN_FAILED : REC_EV_CLEANED,
                                       .task = j->id,
                                       .text = j->err.text});
    uv_close((uv_handle_t *) &j->timer, clean_closed);
}

/* A link vanishes with its namespace, which the kernel takes down at its leisure. */
static void clean_links(uv_timer_t *t) {
    struct clean_job *j = container_of(t, struct clean_job, timer);
    bool torn_down_later = j->agent->stop == AGENT_HALTS; /* with the rest of the network */
    if (!j->spec || torn_down_later || !aview_links_exist(j->spec, j->sandbox)) {
        uv_timer_stop(t);
        clean_end(j);
        return;
    }
    if (!j->said && clock_mono_ms() - j->since_ms > LINK_SAY_MS) {
        j->said = true;
        log_warn("task.links",
                 "sandbox=%s err=\"its network links are still there\" next=\"waiting\"",
                 j->sandbox);
    }
    uv_timer_start(t, clean_links, LINK_POLL_MS, 0);
}

static void clean_done(uv_work_t *w, int status) {
    struct clean_job *j = container_of(w, struct clean_job, work);
    (void) status;
    if (j->status < 0)
        clean_end(j);
    else
        clean_links(&j->timer);
}

void actions__clean(struct agent *a, const struct task *t, uint32_t attempt) {
    struct clean_job *j = actions__must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    snprintf(j->id, sizeof j->id, "%s", t->id);
    task_sandbox_name(t->id, t->boot, attempt, j->sandbox);
    j->spec = t->st ? t->st->spec : NULL;
    j->since_ms = clock_mono_ms();
    uv_timer_init(a->loop, &j->timer);
    actions__queue(a, &j->work, clean_run, clean_done);
}

/* ---- deletion: files, then the keeper's records, then the store's ---- */

struct delete_job {
    uv_work_t work;
    uv_timer_t timer;
    struct agent *agent;
    char id[TASK_ID_MAX];
    int status;
    struct err err;
};

static void delete_closed(uv_handle_t *h) {
    mem_free(container_of((uv_timer_t *) h, struct delete_job, timer));
}

static void delete_end(struct delete_job *j, enum rec_event_kind kind) {
    j->agent->jobs--;
    if (kind == REC_EV_DELETED) agent_task_drop(j->agent, j->id);
    agent_task_event(j->agent, kind, j->id);
    uv_close((uv_handle_t *) &j->timer, delete_closed);
}

static void delete_retry(uv_timer_t *t) {
    delete_end(container_of(t, struct delete_job, timer), REC_EV_DELETE_FAILED);
}

static void delete_failed(struct delete_job *j, int status, const char *text) {
    if (status != -ENOTCONN && status != -ECONNRESET)
        log_warn("task.delete", "task=%s err=\"%s\" next=\"again\"", j->id, text);
    uv_timer_start(&j->timer, delete_retry, DELETE_RETRY_MS, 0);
}

static void delete_stored(void *ctx) {
    delete_end(ctx, REC_EV_DELETED);
}

static void delete_forgotten(void *ctx, int status) {
    struct delete_job *j = ctx;
    struct agent *a = j->agent;
    if (status < 0) {
        delete_failed(j, status, err_text(status));
        return;
    }
    if (!astore_task(a->store, j->id)) {
        delete_end(j, REC_EV_DELETED);
        return;
    }
    struct err err = {0};
    int r = astore_stage_deleted(a->store, j->id, &err);
    if (r == 0) r = writer_kick(a->writer, delete_stored, j);
    if (r < 0) agent_fatal(a, "a deletion cannot be stored", r);
}

static void delete_run(uv_work_t *w) {
    struct delete_job *j = container_of(w, struct delete_job, work);
    j->status = cleanup_task(&j->agent->paths, j->id, &j->err);
}

static void delete_done(uv_work_t *w, int status) {
    struct delete_job *j = container_of(w, struct delete_job, work);
    (void) status;
    int r = j->status < 0 ? j->status : klink_forget(j->agent->klink, j->id, delete_forgotten, j);
    if (r < 0) delete_failed(j, r, j->status < 0 ? j->err.text : err_text(r));
}

void actions__delete(struct agent *a, const struct task *t) {
    struct delete_job *j = actions__must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    snprintf(j->id, sizeof j->id, "%s", t->id);
    uv_timer_init(a->loop, &j->timer);
    actions__queue(a, &j->work, delete_run, delete_done);
}

/* ---- volumes of removed apps ---- */

struct volume_job {
    uv_work_t work;
    struct agent *agent;
    char *name;
    int status;
    struct err err;
};

bool actions_volume_in_use(const struct agent *a, const char *name) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, &key, &value);) {
        const struct task *t = value;
        if (!t->st || !task_holds(t)) continue;
        for (size_t k = 0; k < t->st->spec->n_volumes; k++)
            if (str_eq(t->st->spec->volumes[k]->name, name)) return true;
    }
    return false;
}

static void volume_run(uv_work_t *w) {
    struct volume_job *j = container_of(w, struct volume_job, work);
    char dir[PATHS_FULL_MAX];
    j->status = volumes_remove(paths_state(&j->agent->paths, "volumes", dir), j->name, &j->err);
}

static void volume_done(uv_work_t *w, int status) {
    struct volume_job *j = container_of(w, struct volume_job, work);
    struct agent *a = j->agent;
    struct err err = {0};
    (void) status;
    a->jobs--;
    for (size_t i = 0; i < a->volumes_going.n; i++)
        if (str_eq(a->volumes_going.v[i], j->name)) a->volumes_going.v[i][0] = 0;
    bool done = j->status == 0 || j->status == -ENOENT;
    if (!done)
        log_warn("volume.remove", "volume=%s err=\"%s\" next=\"again\"", j->name, j->err.text);
    if (done) {
        log_info("volume.removed", "volume=%s", j->name);
        int r = astore_stage_volume_deleted(a->store, j->name, &err);
        if (r == 0) r = writer_kick(a->writer, NULL, NULL);
        if (r < 0) agent_fatal(a, "a volume's removal cannot be stored", r);
    }
    mem_free(j->name);
    mem_free(j);
}

static bool claim_volume(struct agent *a, const char *name) {
    if (strv_has(&a->volumes_going, name)) return false;
    for (size_t i = 0; i < a->volumes_going.n; i++) {
        if (a->volumes_going.v[i][0]) continue;
        char *copy = mem_strdup(name);
        if (!copy) return false;
        mem_free(a->volumes_going.v[i]);
        a->volumes_going.v[i] = copy;
        return true;
    }
    return strv_add(&a->volumes_going, name) == 0;
}

void actions_remove_volumes(struct agent *a) {
    const struct strv *gone = astore_volumes_gone(a->store);
    if (!a->rec.keeper_up || a->stop != AGENT_RUNS) return;
    for (size_t i = 0; i < gone->n; i++) {
        if (actions_volume_in_use(a, gone->v[i]) || !claim_volume(a, gone->v[i])) continue;
        struct volume_job *j = actions__must(a, mem_zalloc(sizeof *j));
        j->agent = a;
        j->name = actions__must(a, mem_strdup(gone->v[i]));
        actions__queue(a, &j->work, volume_run, volume_done);
    }
}

/* ---- leftovers of nobody ---- */

struct sweep_job {
    uv_work_t work;
    struct agent *agent;
    struct strv known;
    int status;
    struct err err;
};

static void sweep_run(uv_work_t *w) {
    struct sweep_job *j = container_of(w, struct sweep_job, work);
    j->status = cleanup_strays(&j->agent->paths, &j->known, &j->err);
}

static void sweep_done(uv_work_t *w, int status) {
    struct sweep_job *j = container_of(w, struct sweep_job, work);
    (void) status;
    j->agent->jobs--;
    j->agent->sweeping = false;
    if (j->status < 0) log_warn("agent.sweep", "err=\"%s\" next=\"left as it is\"", j->err.text);
    strv_fini(&j->known);
    actions_prepare_due(j->agent);
    mem_free(j);
}

/* Nothing is prepared meanwhile: what comes after the list was made is not on it. */
void actions_sweep(struct agent *a) {
    if (a->swept) return;
    a->swept = a->sweeping = true;
    struct sweep_job *j = actions__must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, &key, &value);)
        if (strv_add(&j->known, key) < 0) agent_fatal(a, "no memory for a job", -ENOMEM);
    actions__queue(a, &j->work, sweep_run, sweep_done);
}
