// SPDX-License-Identifier: Apache-2.0
/* runtime/base/log.h, and what the simulator itself says. */
#include "runtime/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/str.h"
#include "sim.h"

static const char *const names[] = {"world", "agent", "sched"};

printf_like(3, 0) static void line(const char *who, const char *ev, const char *fmt, va_list ap) {
    printf("%11.6f %-5s %s%s", (double) sim.now_us / 1e6, who, ev, *ev ? " " : "");
    vprintf(fmt, ap);
    putchar('\n');
}

void log_init(const char *component) {
    (void) component;
}

void log_set_level(enum log_level level) {
    (void) level;
}

/* A process that gives up by itself: it may do that without memory only, and has it here. */
static bool gives_up(const char *ev) {
    return str_eq(ev, "scheduler.die") || str_eq(ev, "agent.fatal");
}

void log_event(enum log_level level, const char *ev, const char *fmt, ...) {
    va_list ap;
    if (level == LOG_ERROR && gives_up(ev)) {
        char text[512];
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        sim_violated("no process gives up", "%s %s", ev, text);
    }
    if (!sim.verbose || level < LOG_INFO) return;
    va_start(ap, fmt);
    line(names[sim.who], ev, fmt, ap);
    va_end(ap);
}

void sim_trace(const char *fmt, ...) {
    if (!sim.verbose) return;
    va_list ap;
    va_start(ap, fmt);
    line("-----", "", fmt, ap);
    va_end(ap);
}

void sim_say(const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_trace("%s", text);
    if (!sim.story) return;
    enum sim_role was = sim_as(SIM_WORLD);
    buf_printf(sim.story, "  %s\n", text);
    sim_as(was);
}

void sim_violated(const char *name, const char *fmt, ...) {
    va_list ap;
    fflush(stdout);
    fprintf(stderr, "VIOLATED %s: ", name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (t=%.6f)\nagain: sim --seed %llu -v\n", (double) sim.now_us / 1e6,
            (unsigned long long) sim.seed);
    exit(1);
}
