// SPDX-License-Identifier: Apache-2.0
/* What the reconciler asks for. Each job in the pool owns its input and result, and ends in exactly
 * one event; without memory for it the process ends (agent_fatal). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/actions.h"
#include "agent/connections.h"
#include "agent/health.h"
#include "agent/logs.h"
#include "agent/ports.h"
#include "agent/session.h"
#include "agent/view.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

/* ---- prepare, describe ---- */

struct prepare_job {
    uv_work_t work;
    struct agent *agent;
    char id[TASK_ID_MAX];
    struct prepare_input in;
    bool describe;
    struct arena arena; /* describe: its own copy of the spec, nothing waits for it */
    uv_timer_t again;   /* describe: tried again */
    bool said;
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
    j->in.n_networks = aview_task_networks(a->view, spec, j->in.networks);
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
    if (a->sweeping) { /* it would take the new files for nobody's */
        shell->prepare_due = true;
        return;
    }
    enum ports_answer ports = ports_ask(a->ports, t->st->spec->app, t->st->spec->service, text);
    shell->prepare_due = ports == PORTS_UNKNOWN;
    if (ports == PORTS_REFUSED) refuse(a, t, false, text);
    if (ports != PORTS_HELD) return;
    struct prepare_job *j = actions__must(a, mem_zalloc(sizeof *j));
    prepare_fill(a, j, t);
    actions__queue(a, &j->work, prepare_run, prepare_done);
}

void actions_prepare_due(struct agent *a) {
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
            refuse(a, t, true, "stopped while it waited to be prepared");
    }
}

static void discard(struct agent *a, const struct task *t) {
    struct agent_task *shell = agent_task(a, t->id);
    prepared_free(shell->prepared);
    shell->prepared = NULL;
}

/* ---- an adopted sandbox: what was it made of ---- */

static void send_stop(struct agent *a, const struct task *t, const struct agent_task *shell);

enum { DESCRIBE_RETRY_MS = 1000 };

static void describe_closed(uv_handle_t *h) {
    mem_free(container_of((uv_timer_t *) h, struct prepare_job, again));
}

static void describe_end(struct prepare_job *j) {
    struct agent *a = j->agent;
    struct agent_task *shell = agent_task(a, j->id);
    const struct task *t = rec_task(&a->rec, j->id);
    a->jobs--;
    if (t && shell->signal_due) send_stop(a, t, shell);
    shell->describing = shell->signal_due = shell->watch_due = false;
    arena_fini(&j->arena);
    uv_close((uv_handle_t *) &j->again, describe_closed);
    agent_check_stop(a);
}

static void describe_done(uv_work_t *w, int status);

static void describe_again(uv_timer_t *timer) {
    struct prepare_job *j = container_of(timer, struct prepare_job, again);
    struct agent *a = j->agent;
    const struct task *t = rec_task(&a->rec, j->id);
    if (a->stop == AGENT_RUNS && t && t->state == TASK_RUNNING && t->attempt == j->in.attempt) {
        a->jobs--;
        j->status = 0;
        actions__queue(a, &j->work, prepare_run, describe_done);
        return;
    }
    describe_end(j);
}

/* Its health would not be known for as long as it runs: tried until it is over. */
static void describe_failed(struct prepare_job *j) {
    if (!j->said)
        log_warn("task.describe",
                 "task=%s err=\"%s\" next=\"again; no health check, stop signal TERM until then\"",
                 j->id, j->err.text);
    j->said = true;
    uv_timer_start(&j->again, describe_again, DESCRIBE_RETRY_MS, 0);
}

static void describe_done(uv_work_t *w, int status) {
    struct prepare_job *j = container_of(w, struct prepare_job, work);
    struct agent *a = j->agent;
    (void) status;
    struct agent_task *shell = agent_task(a, j->id);
    const struct task *t = rec_task(&a->rec, j->id);
    if (j->status == 0 && t && t->attempt == j->in.attempt && !shell->prepared)
        keep_prepared(a, j);
    else
        prepared_free(j->out);
    j->out = NULL;
    if (j->status < 0 && shell->watch_due && !shell->signal_due) {
        describe_failed(j);
        return;
    }
    if (t && shell->watch_due && shell->prepared && t->state == TASK_RUNNING)
        health_watch(a->health, t, shell->prepared);
    describe_end(j);
}

static void describe(struct agent *a, const struct task *t, struct agent_task *shell) {
    if (shell->describing) return;
    shell->describing = true;
    struct prepare_job *j = actions__must(a, mem_zalloc(sizeof *j));
    prepare_fill(a, j, t);
    j->status = 0; /* networks do not matter */
    j->describe = true;
    uv_timer_init(a->loop, &j->again);
    arena_init(&j->arena, 64 << 20);
    j->in.task = actions__must(a, arena_copy(&j->arena, &t->st->spec->base));
    actions__queue(a, &j->work, prepare_run, describe_done);
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
        shell->prepared->n_fds == 0) { /* given away with a START whose answer got lost */
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
    /* Used up: the keeper may be killed when its child has mounted the root, which no other can. */
    if (r == 0) prepared_close_fds(shell->prepared);
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
    struct save *s = actions__must(a, mem_zalloc(sizeof *s));
    s->agent = a;
    snprintf(s->id, sizeof s->id, "%s", t->id);
    int r = astore_stage_end(a->store, &status, &err);
    if (r == 0) r = writer_kick(a->writer, saved, s);
    if (r < 0) agent_fatal(a, "a task's end cannot be stored", r);
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
        actions__clean(a, t, (uint32_t) action->arg);
        return;
    case REC_DRAIN_CHECK: /* while maps or proxy still send new ones, none is the last */
        if (aview_applied_idx(a->view) == astore_info(a->store)->idx && ports_settled(a->ports))
            aconns_drain_check(a->conns, t->st->spec);
        return;
    case REC_FORGET:
        if (t->st)
            aconns_forget(a->conns, t->st->spec,
                          action->arg ? NET_FORGET_ALL : NET_FORGET_DATAGRAMS);
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
        actions__delete(a, t);
        return;
    case REC_RELIST:
        if (klink_list(a->klink) == -ENOMEM) agent_fatal(a, "no memory to ask the keeper", -ENOMEM);
        return;
    }
}
