// SPDX-License-Identifier: Apache-2.0
/* What the reconciler asks for. Each job in the pool owns its input and result, and ends in exactly
 * one event; without memory for it the process ends (agent_fatal). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cleanup.h"
#include "agent/health.h"
#include "agent/logs.h"
#include "agent/ports.h"
#include "agent/session.h"
#include "agent/view.h"
#include "agent/volumes.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { LINK_POLL_MS = 20, LINK_SAY_MS = 10000, DELETE_RETRY_MS = 1000 };

static void *must(struct agent *a, void *p) {
    if (!p) agent_fatal(a, "no memory for a job", -ENOMEM);
    return p;
}

static void queue(struct agent *a, uv_work_t *w, uv_work_cb run, uv_after_work_cb after) {
    a->jobs++;
    int r = uv_queue_work(a->loop, w, run, after);
    ensure(r == 0); /* fails only for a NULL callback */
}

/* ---- prepare, describe ---- */

struct prepare_job {
    uv_work_t work;
    struct agent *agent;
    char id[TASK_ID_MAX];
    struct prepare_input in;
    bool describe;
    struct arena arena; /* describe: its own copy of the spec, nothing waits for it */
    struct prepared *out;
    int status;
    bool retry;
    struct err err;
};

static void prepare_fill(struct agent *a, struct prepare_job *j, const struct task *t) {
    const Orlop__TaskSpec *spec = t->st->spec;
    snprintf(j->id, sizeof j->id, "%s", t->id);
    j->agent = a;
    j->in = (struct prepare_input){.paths = &a->paths,
                                   .images = a->images,
                                   .task = spec,
                                   .boot = t->boot,
                                   .attempt = t->attempt};
    for (size_t i = 0; i < spec->n_addresses && i < PREPARE_NETWORKS_MAX; i++) {
        const Orlop__ViewNetwork *n = aview_network(a->view, spec->addresses[i]->network);
        if (!n) continue;
        j->in.networks[j->in.n_networks++] =
            (struct prepare_network){.id = n->id,
                                     .address = spec->addresses[i]->address,
                                     .gateway = n->gateway,
                                     .prefix_len = n->prefix_len,
                                     .internal = n->internal};
    }
    if (j->in.n_networks < spec->n_addresses) {
        j->status = err_say(&j->err, -ENONET, "a network of the task is not in the node's view");
        j->retry = true;
    }
}

static void prepare_run(uv_work_t *w) {
    struct prepare_job *j = container_of(w, struct prepare_job, work);
    if (j->status < 0) return;
    j->status = j->describe ? prepare_task_describe(&j->in, &j->out, &j->err)
                            : prepare_task_run(&j->in, &j->out, &j->retry, &j->err);
}

static void keep_prepared(struct agent *a, struct prepare_job *j) {
    struct agent_task *t = agent_task(a, j->id);
    prepared_free(t->prepared);
    t->prepared = j->out;
    t->attempt = j->in.attempt;
}

static void prepare_done(uv_work_t *w, int status) {
    struct prepare_job *j = container_of(w, struct prepare_job, work);
    struct agent *a = j->agent;
    (void) status;
    a->jobs--;
    if (j->status == 0) {
        bool check = j->out->merged.health.enabled;
        keep_prepared(a, j);
        agent_event(a, &(struct rec_event){.kind = REC_EV_PREPARED,
                                           .task = j->id,
                                           .health = check ? ORLOP__HEALTH__HEALTH_STARTING
                                                           : ORLOP__HEALTH__HEALTH_NONE});
    } else {
        log_warn("task.prepare", "task=%s err=\"%s\" retry=%d", j->id, j->err.text, j->retry);
        agent_event(a, &(struct rec_event){.kind = REC_EV_PREPARE_FAILED,
                                           .task = j->id,
                                           .retry = j->retry,
                                           .text = j->err.text});
    }
    mem_free(j);
}

static void refuse(struct agent *a, const struct task *t, bool retry, const char *text) {
    agent_event(a, &(struct rec_event){
                       .kind = REC_EV_PREPARE_FAILED, .task = t->id, .retry = retry, .text = text});
}

/* A volume that is to be deleted must not come to life again with its old content. */
static const char *volume_going(const struct agent *a, const struct task *t) {
    const Orlop__TaskSpec *s = t->st->spec;
    for (size_t i = 0; i < s->n_volumes; i++)
        if (strv_has(astore_volumes_gone(a->store), s->volumes[i]->name))
            return s->volumes[i]->name;
    return NULL;
}

static void prepare(struct agent *a, const struct task *t) {
    char text[ERR_TEXT_MAX];
    struct agent_task *shell = agent_task(a, t->id);
    const char *volume = volume_going(a, t);
    if (volume) {
        snprintf(text, sizeof text, "waits until volume %s is removed", volume);
        refuse(a, t, true, text);
        return;
    }
    enum ports_answer ports = ports_ask(a->ports, t->st->spec->app, t->st->spec->service, text);
    shell->prepare_due = ports == PORTS_UNKNOWN;
    if (ports == PORTS_REFUSED) refuse(a, t, false, text);
    if (ports != PORTS_HELD) return;
    struct prepare_job *j = must(a, mem_zalloc(sizeof *j));
    prepare_fill(a, j, t);
    queue(a, &j->work, prepare_run, prepare_done);
}

void actions_ports_answered(struct agent *a) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->tasks, &i, &key, &value);) {
        struct agent_task *shell = value;
        const struct task *t = rec_task(&a->rec, shell->id);
        if (!shell->prepare_due || !t) continue;
        shell->prepare_due = false;
        if (t->state == TASK_PREPARING)
            prepare(a, t);
        else
            refuse(a, t, true, "stopped while it waited for its ports");
    }
}

static void discard(struct agent *a, const struct task *t) {
    struct agent_task *shell = agent_task(a, t->id);
    prepared_free(shell->prepared);
    shell->prepared = NULL;
}

/* ---- an adopted sandbox: what was it made of ---- */

static void send_stop(struct agent *a, const struct task *t, const struct agent_task *shell);

static void describe_done(uv_work_t *w, int status) {
    struct prepare_job *j = container_of(w, struct prepare_job, work);
    struct agent *a = j->agent;
    (void) status;
    a->jobs--;
    struct agent_task *shell = agent_task(a, j->id);
    const struct task *t = rec_task(&a->rec, j->id);
    shell->describing = false;
    if (j->status < 0)
        log_warn("task.describe", "task=%s err=\"%s\" next=\"no health check, stop signal TERM\"",
                 j->id, j->err.text);
    if (j->status == 0 && t && t->attempt == j->in.attempt && !shell->prepared)
        keep_prepared(a, j);
    else
        prepared_free(j->out);
    if (t && shell->signal_due) send_stop(a, t, shell);
    if (t && shell->watch_due && shell->prepared && t->state == TASK_RUNNING)
        health_watch(a->health, t, shell->prepared);
    shell->signal_due = shell->watch_due = false;
    arena_fini(&j->arena);
    mem_free(j);
}

static void describe(struct agent *a, const struct task *t, struct agent_task *shell) {
    if (shell->describing) return;
    shell->describing = true;
    struct prepare_job *j = must(a, mem_zalloc(sizeof *j));
    prepare_fill(a, j, t);
    j->status = 0; /* networks do not matter */
    j->describe = true;
    arena_init(&j->arena, 64 << 20);
    j->in.task = must(a, arena_copy(&j->arena, &t->st->spec->base));
    queue(a, &j->work, prepare_run, describe_done);
}

static bool known(const struct task *t, const struct agent_task *shell) {
    return shell->prepared && shell->attempt == t->attempt;
}

static void watch(struct agent *a, const struct task *t) {
    struct agent_task *shell = agent_task(a, t->id);
    if (known(t, shell)) {
        health_watch(a->health, t, shell->prepared);
        return;
    }
    shell->watch_due = true;
    describe(a, t, shell);
}

/* ---- the keeper ---- */

/* A failed send is a connection that is gone: the next list puts it right. */
static void sent(const char *what, const struct task *t, int r) {
    if (r < 0 && r != -ENOTCONN)
        log_warn("keeper.send", "what=%s task=%s err=\"%s\"", what, t->id, err_text(r));
}

static void note_attempt(struct agent *a, const struct task *t) {
    struct err err = {0};
    struct astore_attempt at = {.boot = t->boot,
                                .attempt = t->attempt,
                                .restarts = t->restarts,
                                .failures = t->failures,
                                .health = t->health,
                                .halted = t->state == TASK_HALTED};
    int r = t->st ? astore_note_attempt(a->store, t->id, &at, &err) : 0;
    if (r < 0)
        log_warn("attempt.note", "task=%s err=\"%s\" next=\"the keeper knows it\"", t->id,
                 err.text);
}

static void start(struct agent *a, const struct task *t) {
    struct agent_task *shell = agent_task(a, t->id);
    note_attempt(a, t);
    if (!known(t, shell) ||
        shell->prepared->n_fds == 0) { /* was given away with an answer that got lost */
        agent_event(a, &(struct rec_event){.kind = REC_EV_START_FAILED,
                                           .task = t->id,
                                           .attempt = t->attempt,
                                           .error = -EBUSY,
                                           .phase = "agent",
                                           .text = "prepared anew"});
        return;
    }
    int r =
        klink_start(a->klink, &shell->prepared->spec, shell->prepared->fds, shell->prepared->n_fds);
    sent("start", t, r);
    if (r < 0 && r != -ENOTCONN)
        agent_event(a, &(struct rec_event){.kind = REC_EV_START_FAILED,
                                           .task = t->id,
                                           .attempt = t->attempt,
                                           .error = -EBUSY,
                                           .phase = "agent",
                                           .text = err_text(r)});
}

static void send_stop(struct agent *a, const struct task *t, const struct agent_task *shell) {
    int signal = known(t, shell) ? shell->prepared->merged.stop_signal : SIGTERM;
    sent("signal", t, klink_signal(a->klink, t->id, t->boot, t->attempt, signal));
}

static void send_signal(struct agent *a, const struct task *t, int signal) {
    struct agent_task *shell = agent_task(a, t->id);
    if (signal) {
        sent("signal", t, klink_signal(a->klink, t->id, t->boot, t->attempt, signal));
    } else if (known(t, shell) || !t->st) {
        send_stop(a, t, shell);
    } else {
        shell->signal_due = true;
        describe(a, t, shell);
    }
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

static void clean(struct agent *a, const struct task *t, uint32_t attempt) {
    struct clean_job *j = must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    snprintf(j->id, sizeof j->id, "%s", t->id);
    task_sandbox_name(t->id, t->boot, attempt, j->sandbox);
    j->spec = t->st ? t->st->spec : NULL;
    j->since_ms = clock_mono_ms();
    uv_timer_init(a->loop, &j->timer);
    queue(a, &j->work, clean_run, clean_done);
}

/* ---- the end of a task ---- */

struct save {
    struct agent *agent;
    char id[TASK_ID_MAX];
};

static void saved(void *ctx) {
    struct save *s = ctx;
    agent_task_event(s->agent, REC_EV_SAVED, s->id);
    mem_free(s);
}

static void save_end(struct agent *a, const struct task *t, bool gone) {
    struct err err = {0};
    Orlop__TaskStatus status;
    task_status(t, &status);
    status.state = t->end;
    status.gone = gone;
    struct save *s = must(a, mem_zalloc(sizeof *s));
    s->agent = a;
    snprintf(s->id, sizeof s->id, "%s", t->id);
    int r = astore_stage_end(a->store, &status, &err);
    if (r == 0) r = writer_kick(a->writer, saved, s);
    if (r < 0) agent_fatal(a, "a task's end cannot be stored", r);
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

static void delete_task(struct agent *a, const struct task *t) {
    struct delete_job *j = must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    snprintf(j->id, sizeof j->id, "%s", t->id);
    uv_timer_init(a->loop, &j->timer);
    queue(a, &j->work, delete_run, delete_done);
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
        struct volume_job *j = must(a, mem_zalloc(sizeof *j));
        j->agent = a;
        j->name = must(a, mem_strdup(gone->v[i]));
        queue(a, &j->work, volume_run, volume_done);
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
    if (j->status < 0) log_warn("agent.sweep", "err=\"%s\" next=\"left as it is\"", j->err.text);
    strv_fini(&j->known);
    mem_free(j);
}

void actions_sweep(struct agent *a) {
    if (a->swept) return;
    a->swept = true;
    struct sweep_job *j = must(a, mem_zalloc(sizeof *j));
    j->agent = a;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, &key, &value);)
        if (strv_add(&j->known, key) < 0) agent_fatal(a, "no memory for a job", -ENOMEM);
    queue(a, &j->work, sweep_run, sweep_done);
}

/* ---- dispatch ---- */

void actions_perform(struct agent *a, const struct rec_action *action) {
    struct task *t = action->task;
    switch (action->kind) {
    case REC_PREPARE:
        prepare(a, t);
        return;
    case REC_DISCARD:
        discard(a, t);
        return;
    case REC_START:
        start(a, t);
        return;
    case REC_SIGNAL:
        send_signal(a, t, action->arg);
        return;
    case REC_CLOSE:
        sent("close", t, klink_close_task(a->klink, t->id));
        return;
    case REC_CLEAN:
        clean(a, t, (uint32_t) action->arg);
        return;
    case REC_DRAIN_CHECK:
        if (aview_established(a->view, t->st->spec) == 0)
            agent_task_event(a, REC_EV_DRAINED, t->id);
        return;
    case REC_FORGET:
        if (t->st)
            aview_forget(a->view, t->st->spec, action->arg ? NET_FORGET_ALL : NET_FORGET_LEAVING);
        return;
    case REC_WATCH:
        watch(a, t);
        return;
    case REC_UNWATCH:
        health_unwatch(a->health, t->id);
        return;
    case REC_NOTE:
        note_attempt(a, t);
        return;
    case REC_SAVE:
        save_end(a, t, action->arg != 0);
        return;
    case REC_STATUS:
        asession_status(a->session, t->id);
        logs_task_changed(a->logs, t->id);
        return;
    case REC_DELETE:
        delete_task(a, t);
        return;
    case REC_RELIST:
        if (klink_list(a->klink) == -ENOMEM) agent_fatal(a, "no memory to ask the keeper", -ENOMEM);
        return;
    }
}
