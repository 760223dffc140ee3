// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/tables.h - making and deleting the rows of the tables; for apply*.c and
 * snapshot.c.
 *
 * Thread   [loop]. -ENOMEM from any of these ends the process (apply.h says why), so nothing is
 *          undone.
 */
#ifndef ORLOP_SCHEDULER_STATE_TABLES_H
#define ORLOP_SCHEDULER_STATE_TABLES_H

#include "state.h"

must_use int state__add_app(struct state *s, const char *name, struct app **ret);
must_use int state__add_service(struct state *s, struct app *a, const char *name,
                                struct service **ret);
must_use int state__add_task(struct state *s, struct service *svc, const char *id, uint32_t slot,
                             struct spec *spec, struct task **ret);
must_use int state__add_node(struct state *s, const char *name, struct node **ret);
must_use int state__add_client(struct state *s, const char *key, struct client **ret);

enum { STATE_SLOT_KEY_MAX = 160 };
const char *state__slot_key(const struct service *svc, uint32_t slot,
                            char buf[static STATE_SLOT_KEY_MAX]);

void state__free_app(struct app *a); /* without its services and networks */
must_use int state__delete_service(struct state *s, struct service *svc);
must_use int state__delete_task(struct state *s, struct task *t); /* leaves a tombstone */
void state__delete_client(struct state *s, struct client *c);
void state__free_network(struct network *n);

must_use int state__take_inventory(struct node *n, const Orlop__Inventory *inv); /* NULL: none */

/* T moves to NODE: accounted there until state__release, if it HOLDS anything. */
void state__place(struct task *t, struct node *n, bool holds);
/* Its sandbox is gone: addresses start their rest, resources are free. */
must_use int state__release(struct state *s, struct task *t);

must_use int state__tomb(struct state *s, enum tomb_kind kind, uint64_t id, const char *name,
                         const char *node);
void state__free_tomb(struct tomb *t);
/* `down -v` took this volume; an app that is applied again with it takes that back. */
must_use int state__volume_gone(struct state *s, const char *name, uint64_t idx);
void state__volume_back(struct state *s, const char *name);

/* Nodes must hear of it: to the end of its list, with the idx being applied. */
void state__touch_service(struct state *s, struct service *svc);
void state__touch_task(struct state *s, struct task *t);

must_use int state__set_text(char **at,
                             const char *text); /* a string field of a message that we own */
void state__free_text(char **at);

must_use int state__push_history(struct app *a, struct spec *old); /* TAKES OLD */
void state__trim_history(struct app *a);
bool state__has_fact(const struct service *svc, const char *hash);
void state__add_fact(struct service *svc, const char *hash);

void state__emit(struct state *s, enum change_kind kind, const struct app *a,
                 const struct service *svc, const struct task *t, const char *text);
void state__emit_node(struct state *s, enum change_kind kind, const struct node *n,
                      const char *text);

static inline void state__bump(uint64_t *mod, uint64_t *before, uint64_t idx) {
    if (*mod != idx) *before = *mod;
    *mod = idx;
}
/* Entries of one batch were planned from one state: the first one does not void the others. */
static inline bool state__mod_is(uint64_t mod, uint64_t before, uint64_t named, uint64_t idx) {
    return named == mod || (mod == idx && named == before);
}

#endif
