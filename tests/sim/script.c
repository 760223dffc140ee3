// SPDX-License-Identifier: Apache-2.0
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos.h"
#include "check.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "sim.h"

enum { FILE_MAX = 1 << 20, WORDS_MAX = 4, MS = 1000 };

static void kill_one(const char *who) {
    if (str_eq(who, "agent")) {
        sim_say("the agent is killed");
        sim_agent_die();
    } else if (str_eq(who, "scheduler")) {
        sim_sched_die();
    } else {
        sim_keeper_die(str_eq(who, "anchor"));
    }
}

static void start_one(const char *who) {
    if (str_eq(who, "agent")) sim_agent_start();
    if (str_eq(who, "scheduler")) sim_sched_start();
    if (str_eq(who, "keeper")) sim_keeper_start();
}

static uint32_t number(const char *s) {
    uint32_t v = 0;
    ensure(str_to_u32(s, UINT32_MAX, &v) == 0);
    return v;
}

static void end_task(const char *name, uint32_t code) {
    const char *id = check_task_named(name);
    ensure(id && sim_sandbox_exit(id, (int) code << 8));
}

static void rest(void) {
    struct err why = {0};
    for (int s = 0; s < 1500; s++) {
        chaos_run_for(1000 * MS);
        if (sim_client_idle() && check_rest(&why) == 0) return;
    }
    sim_violated("I23", "no rest: %s", why.text);
}

static void hold(const char *what) {
    if (str_eq(what, "keeper")) sim_keeper_hold(true);
    if (str_eq(what, "up")) sim_link_hold(SIM_HOLD_UP);
    if (str_eq(what, "down")) sim_link_hold(SIM_HOLD_DOWN);
}

static bool fault(char **w) {
    const char *c = w[0];
    if (str_eq(c, "kill")) {
        kill_one(w[1]);
    } else if (str_eq(c, "start")) {
        start_one(w[1]);
    } else if (str_eq(c, "power")) {
        chaos_power_loss();
    } else if (str_eq(c, "wipe")) {
        chaos_wipe();
    } else if (str_eq(c, "halt") || str_eq(c, "leave")) {
        sim_agent_stop(*c == 'h');
    } else if (str_eq(c, "cut") || str_eq(c, "join")) {
        sim_link_cut(*c == 'c');
    } else if (str_eq(c, "view")) {
        sim.view_fails = str_eq(w[1], "fails");
    } else if (str_eq(c, "disk")) {
        sim.disk_full = str_eq(w[1], "full");
    } else {
        return false;
    }
    return true;
}

static void command(char *line) {
    char copy[256], *w[WORDS_MAX + 1] = {0}, *save;
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *s = strtok_r(copy, " ", &save); s && n < WORDS_MAX; s = strtok_r(NULL, " ", &save))
        w[n++] = s;
    ensure(n);
    if (fault(w)) return;
    if (str_eq(w[0], "run")) {
        chaos_run_for((int64_t) number(w[1]) * MS);
    } else if (str_eq(w[0], "hold")) {
        hold(w[1]);
    } else if (str_eq(w[0], "free")) {
        sim_keeper_hold(false);
        sim_link_hold(SIM_HOLD_NONE);
    } else if (str_eq(w[0], "drop")) {
        sim_link_drop_next(number(w[1]));
    } else if (str_eq(w[0], "exit")) {
        end_task(w[1], number(w[2]));
    } else if (str_eq(w[0], "rest")) {
        rest();
    } else {
        sim_client_write(line);
    }
}

static char *read_all(const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    char *text = mem_zalloc(FILE_MAX);
    size_t n = fread(text, 1, FILE_MAX - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static void play(char *text, struct buf *story) {
    char *save;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (*l == '#' || str_starts(l, "$ ")) buf_printf(story, "%s\n", l);
        if (str_starts(l, "$ ")) command(l + 2);
    }
}

static int write_all(const char *path, const struct buf *b) {
    FILE *f = fopen(path, "we");
    if (!f) return -1;
    size_t n = fwrite(b->data, 1, b->len, f);
    return fclose(f) == 0 && n == b->len ? 0 : -1;
}

int script_run(const char *path) {
    struct buf story;
    chaos_begin(0, false);
    buf_init(&story, FILE_MAX);
    char *text = read_all(path), *expected = text ? mem_strdup(text) : NULL;
    if (!text) {
        fprintf(stderr, "%s cannot be read\n", path);
        return -1;
    }
    sim.story = &story;
    play(text, &story);
    sim.story = NULL;
    if (getenv("SCENARIO_UPDATE")) return write_all(path, &story);
    if (strcmp(buf_str(&story), expected) == 0) return 0;
    printf("%s: the trace is another:\n%s", path, buf_str(&story));
    return -1;
}
