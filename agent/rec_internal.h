// SPDX-License-Identifier: Apache-2.0
/* agent/rec_internal.h - between the files of the reconciler: events (reconcile.c), what each state
 * waits for (rec_advance.c), the rules (rec_rules.c). Pure.
 *
 * Thread   [loop]
 */
#ifndef ORLOP_AGENT_REC_INTERNAL_H
#define ORLOP_AGENT_REC_INTERNAL_H

#include "agent/reconcile.h"

enum { REC__ACTIONS_PER_TASK = 32 };

/* Never fails: rec_step reserved room. */
void rec__act(struct rec *r, enum rec_action_kind kind, struct task *t, int arg);
void rec__move(struct rec *r, struct task *t, enum task_state to, const char *why);
void rec__say(struct task *t, const char *fmt, ...) printf_like(2, 3); /* the reason */

/* Its end is decided: END with the reason that was said; to SAVING, or to CLOSING when something
 * may live. */
void rec__finish(struct rec *r, struct task *t, Orlop__TaskState end, enum task_state to);

/* The attempt has ended (exit fields are set); RAN_MS it was running. Policy decides what follows.
 */
void rec__attempt_over(struct rec *r, struct task *t, int64_t ran_ms);
/* The next attempt, not before DELAY_MS from now. */
void rec__again(struct rec *r, struct task *t, int64_t delay_ms);

/* Everything that follows without a new event. True: something moved. */
bool rec__advance(struct rec *r, struct task *t);
/* Out of NEW, by what the keeper has (NULL: nothing). */
void rec__admit(struct rec *r, struct task *t, const struct rec_entry *e);
void rec__take_exit(struct rec *r, struct task *t, const struct rec_entry *e);

/* Rules. */
struct rec__verdict {
    bool again;
    int64_t delay_ms;
};
struct rec__verdict rec__policy(const struct task *t, int64_t ran_ms, uint32_t *ret_failures);
bool rec__never_again(const struct task *t); /* restart: no */
const struct task *rec__blocker(const struct rec *r, const struct task *t);
const Orlop__Dependency *rec__missing_dependency(const struct rec *r, const struct task *t);
bool rec__dependants_live(const struct rec *r, const struct task *t);
int64_t rec__grace_ms(const struct task *t);
int64_t rec__drain_ms(const struct task *t);
void rec__describe_exit(const struct task *t, char ret[static ERR_TEXT_MAX]);

#endif
