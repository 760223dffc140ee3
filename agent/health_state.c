// SPDX-License-Identifier: Apache-2.0
#include "agent/health.h"

static int64_t span_ms(uint64_t ms) {
    return (int64_t) (ms < INT32_MAX ? ms : INT32_MAX);
}

static bool in_start_period(const struct health_state *s, int64_t now_ms) {
    return now_ms - s->started_ms < span_ms(s->spec->start_period_ms);
}

/* The first probe comes one interval after the start, or one start interval while it starts:
 * Docker's way. */
static int64_t pause_ms(const struct health_state *s, int64_t now_ms) {
    bool starting = s->health == ORLOP__HEALTH__HEALTH_STARTING && in_start_period(s, now_ms);
    return span_ms(starting ? s->spec->start_interval_ms : s->spec->interval_ms);
}

void health_state_init(struct health_state *s, const struct spec_health *spec, Orlop__Health health,
                       int64_t now_ms) {
    *s = (struct health_state){.spec = spec, .health = health, .started_ms = now_ms};
    s->next_ms = now_ms + pause_ms(s, now_ms);
}

void health_state_begin(struct health_state *s) {
    s->next_ms = INT64_MAX;
}

bool health_state_result(struct health_state *s, bool ok, int64_t now_ms) {
    Orlop__Health before = s->health;
    if (ok) {
        s->failures = 0;
        s->health = ORLOP__HEALTH__HEALTH_HEALTHY;
    } else if (s->health != ORLOP__HEALTH__HEALTH_STARTING || !in_start_period(s, now_ms)) {
        s->failures += s->failures < UINT32_MAX;
        if (s->failures >= s->spec->retries) s->health = ORLOP__HEALTH__HEALTH_UNHEALTHY;
    }
    s->next_ms = now_ms + pause_ms(s, now_ms);
    return s->health != before;
}
