// SPDX-License-Identifier: Apache-2.0
/* scheduler/events.h - what happened, for people: a ring of the last changes.
 *
 * Thread   [loop].
 * Limits   EVENTS_MAX events; texts are cut at EVENTS_TEXT_MAX. Not durable: begins anew with the
 *          process (what the log brings back after a start is in it, too).
 */
#ifndef ORLOP_SCHEDULER_EVENTS_H
#define ORLOP_SCHEDULER_EVENTS_H

#include "api.pb-c.h"
#include "scheduler/state/state.h"

enum { EVENTS_MAX = 4096, EVENTS_TEXT_MAX = 256 };

struct events;

must_use int events_new(struct events **ret);
void events_free(struct events *e);
void events_note(struct events *e, const struct change *c);

/* Number of the next event; those before next - EVENTS_MAX are forgotten. */
uint64_t events_next(const struct events *e);
/* Event NUMBER into OUT (strings borrowed until the next events_note); false: not there. */
bool events_get(const struct events *e, uint64_t number, Orlop__Event *out);
const char *events_kind(const struct change *c);

#endif
