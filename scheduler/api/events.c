// SPDX-License-Identifier: Apache-2.0
/* EVENTS: what the ring has, then, on follow, what comes. A reader that falls behind by the whole
 * ring is told of the gap. */
#include "scheduler/events.h"

#include <errno.h>
#include <stdio.h>

#include "api.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { BATCH_MAX = 128 };

struct follow {
    struct sched_waiter waiter;
    struct sched *sched;
    struct bus_stream *stream;
    char app[64];
    bool follow;
    int64_t since_ms;
    uint64_t next;
};

static bool matches(const struct follow *f, const Orlop__Event *e) {
    if (*f->app && !str_eq(f->app, e->app)) return false;
    return e->time_unix_ms >= f->since_ms;
}

static uint64_t oldest(const struct events *e) {
    uint64_t next = events_next(e);
    return next > EVENTS_MAX ? next - EVENTS_MAX : 0;
}

static void note_gap(struct follow *f, Orlop__Event *e, char text[static 64]) {
    uint64_t first = oldest(f->sched->events);
    orlop__event__init(e);
    snprintf(text, 64, "%lu events were missed", (unsigned long) (first - f->next));
    e->kind = (char *) (uintptr_t) "events.missed";
    e->text = text;
    f->next = first;
}

/* One batch. False: nothing (more) to send, or the stream takes nothing now. */
static bool send_some(struct follow *f) {
    Orlop__Event events[BATCH_MAX], *list[BATCH_MAX];
    Orlop__EventBatch b = ORLOP__EVENT_BATCH__INIT;
    char gap[64];
    uint64_t before = f->next;
    b.events = list;
    if (f->next < oldest(f->sched->events)) {
        note_gap(f, &events[0], gap);
        list[b.n_events++] = &events[0];
    }
    while (b.n_events < BATCH_MAX && events_get(f->sched->events, f->next, &events[b.n_events])) {
        if (matches(f, &events[b.n_events])) {
            list[b.n_events] = &events[b.n_events];
            b.n_events++;
        }
        f->next++;
    }
    if (!b.n_events) return false;
    int r = bus_send_pb(f->stream, &b.base);
    if (r < 0) f->next = before;
    if (r < 0 && r != -EAGAIN) bus_fail(f->stream, r, "events cannot be sent");
    return r == 0;
}

static void pump(struct follow *f) {
    while (f->stream && send_some(f)) {
    }
    if (f->stream && !f->follow && f->next == events_next(f->sched->events)) bus_end(f->stream);
}

static void turn(struct sched_waiter *w) {
    pump(container_of(w, struct follow, waiter));
}

static void writable(void *ctx, struct bus_stream *stream) {
    (void) stream;
    pump(ctx);
}

static void closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct follow *f = ctx;
    (void) stream;
    (void) err;
    sched_drop_waiter(&f->waiter);
    mem_free(f);
}

void api__events(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    static const struct bus_stream_ops ops = {.writable = writable, .closed = closed};
    const Orlop__EventsRequest *r = (const void *) req;
    struct follow *f = mem_zalloc(sizeof *f);
    if (!f) {
        bus_fail(stream, -ENOMEM, "no memory");
        return;
    }
    *f = (struct follow){.sched = s, .stream = stream, .follow = r->follow};
    f->since_ms = r->since_unix_ms;
    f->next = oldest(s->events);
    f->waiter.turn = turn;
    snprintf(f->app, sizeof f->app, "%s", r->app);
    sched_add_waiter(s, &f->waiter);
    bus_stream_accept(stream, &ops, f);
    pump(f);
}
