// SPDX-License-Identifier: Apache-2.0
/* What is said between agent and scheduler, and the state at rest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "scheduler/sched.h" /* before check.h */

#include "check.h"
#include "runtime/base/mem.h"
#include "scheduler/state/rules.h"
#include "sim.h"
#include "tests/lib/invariants.h"

/* --- up: what the agent tells ---------------------------------------------------------------- */

static bool code_is_true(const Orlop__TaskStatus *st, int wait_status) {
    if (WIFSIGNALED(wait_status)) return st->exit_code == 128 + WTERMSIG(wait_status);
    return st->exit_code == WEXITSTATUS(wait_status);
}

static void told(const Orlop__TaskStatus *st) {
    struct check_task *t = check_task(st->task);
    if (!t || t->store != check.store || !rule_state_is_final(st->state)) return;
    char key[32];
    snprintf(key, sizeof key, "%llu.%u", (unsigned long long) st->boot, st->attempt);
    const struct check_attempt *a = map_get(&t->attempts, key);
    t->told_end = true;
    if (a && !a->ended) sim_violated("I3", "task %s lives and is told to have ended", t->id);
    if (st->gone && sim_sandbox_lives(t->id))
        sim_violated("I17", "task %s lives and is told to be gone", t->id);
    if (a && st->exit_known && !code_is_true(st, a->wait_status))
        sim_violated("I5", "task %s ended with %#x and is told to have ended with %d", t->id,
                     (unsigned) a->wait_status, st->exit_code);
}

static void goes_up(const Orlop__AgentUp *m) {
    if (m->what_case == ORLOP__AGENT_UP__WHAT_STATUS)
        for (size_t i = 0; i < m->status->n_tasks; i++) told(m->status->tasks[i]);
    if (m->what_case == ORLOP__AGENT_UP__WHAT_REPORT)
        for (size_t i = 0; i < m->report->n_tasks; i++) told(m->report->tasks[i]);
    if (m->what_case == ORLOP__AGENT_UP__WHAT_APPLIED && m->applied->idx > check.view_idx)
        sim_violated("I20", "idx %llu is told to be applied, the maps are those of %llu",
                     (unsigned long long) m->applied->idx, (unsigned long long) check.view_idx);
}

/* --- down: what the scheduler tells ---------------------------------------------------------- */

static void committed_is_true(const Orlop__TaskStatus *st) {
    const struct check_task *t = check_task(st->task);
    if (t && st->gone && rule_state_is_final(st->state) && t->prepared && !t->gone)
        sim_violated("I6", "task %s is said to be committed as gone and is not", st->task);
}

static void goes_down(const Orlop__AgentDown *m) {
    if (m->what_case == ORLOP__AGENT_DOWN__WHAT_ANSWER && (!sim_sched->ready || check.downs_open))
        sim_violated("I15", "a heartbeat is answered (%s)",
                     sim_sched->ready ? "the node's end is proposed" : "before the leader's start");
    if (m->what_case == ORLOP__AGENT_DOWN__WHAT_COMMITTED)
        for (size_t i = 0; i < m->committed->n_tasks; i++)
            committed_is_true(m->committed->tasks[i]);
}

void check_message(bool up, const uint8_t *body, size_t len) {
    struct arena a;
    arena_init(&a, 64 << 20);
    const void *m = arena_unpack(
        &a, up ? &orlop__agent_up__descriptor : &orlop__agent_down__descriptor, body, len);
    ensure(m);
    if (up)
        goes_up(m);
    else
        goes_down(m);
    arena_fini(&a);
}

bool check_is_wanted(const uint8_t *body, size_t len) {
    struct arena a;
    arena_init(&a, 64 << 20);
    const Orlop__AgentDown *m = arena_unpack(&a, &orlop__agent_down__descriptor, body, len);
    bool is = m && m->what_case == ORLOP__AGENT_DOWN__WHAT_WANTED;
    arena_fini(&a);
    return is;
}

/* --- at rest --------------------------------------------------------------------------------- */

static int is_wanted_so(const struct check_held *k, struct err *why) {
    const struct task *t = state_task(&check_truth, k->task);
    if (!t) return err_say(why, -EAGAIN, "I12: the agent still has task %s", k->task);
    if (!k->in_set) return err_say(why, -EAGAIN, "I12: %s is not in the agent's set", k->task);
    Orlop__Want want = rule_final(t) ? ORLOP__WANT__WANT_STOP : t->want;
    return k->want == want ? 0 : err_say(why, -EAGAIN, "I12: task %s: other wish", k->task);
}

static int agent_has_all(struct err *why) {
    const struct node *n = state_node(&check_truth, "n1");
    if (!n || !n->up) return err_say(why, -EAGAIN, "the node is not up");
    list_each (it, &n->tasks) {
        const struct task *t = list_entry(it, struct task, node_link);
        if (!t->status.gone && !check_agent_has(t->id))
            return err_say(why, -EAGAIN, "I12: the agent lacks task %s", t->id);
        bool runs = t->status.state == ORLOP__TASK_STATE__RUNNING;
        if (runs != sim_sandbox_lives(t->id))
            return err_say(why, -EAGAIN, "task %s: what runs is not what is said", t->id);
    }
    return 0;
}

int check_rest(struct err *why) {
    if (!sim_agent || !sim_sched || !sim_sched->ready) return err_say(why, -EAGAIN, "not all run");
    int r = invariants_at_rest(&check_truth, why);
    if (r == 0) r = agent_has_all(why);
    if (r == 0) r = check_agent_each(is_wanted_so, why);
    return r;
}
