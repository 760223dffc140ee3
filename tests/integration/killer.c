// SPDX-License-Identifier: Apache-2.0
/* killer RUN SEED KILLS apart|all GAPS [COMMAND...] - SIGKILL to agent, keeper, anchor, proxy and
 * scheduler at random moments, until KILLS processes are killed.
 *
 * apart   one or two of them. Anchor and keeper never lack both, so nothing may get lost: whoever is
 *         killed of the two, the other waits until the keeper has told the anchor all again.
 * all     one, two or all five, anchor and keeper too. Nobody is left then to start a role: COMMAND
 *         is run.
 * GAPS    appended: "keeper FROM TO" (no keeper was there), "both FROM TO" (neither of them, or not
 *         yet each with the other); CLOCK_MONOTONIC, ns.
 *
 * The moments are microseconds to two seconds after the last ones, each order of magnitude as often: so
 * they fall into starts as well as into quiet. Prints how many of each role it killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { ANCHOR, KEEPER, PROXY, SCHEDULER, AGENT, ROLES };
enum { DEADLINE_S = 60, DECADES = 5, PAUSE_MIN_US = 20 };

static const char *const names[ROLES] = {"anchor", "keeper", "proxy", "scheduler", "agent"};

static struct killer {
    const char *run;
    char **command;
    unsigned killed[ROLES], total;
    bool both_allowed; /* anchor and keeper */
    FILE *gaps;
    uint64_t random;
    bool settled;         /* anchor and keeper live and hold what the other does */
    int64_t unsettled_ns; /* since then they are not */
    int64_t no_keeper_ns; /* since then there is no keeper; 0 = there is one */
    bool both;            /* both were dead, or one before the other had settled */
    pid_t started;
} k;

_Noreturn static void die(const char *what) {
    printf("killer: %s\n", what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static unsigned dice(unsigned n) {
    k.random ^= k.random << 13;
    k.random ^= k.random >> 7;
    k.random ^= k.random << 17;
    return (unsigned) (k.random % n);
}

static void pause_us(int64_t us) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) continue;
}

static pid_t holder(int role) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.lock", k.run, names[role]);
    return fd_lock_holder(path);
}

/* True when the keeper that lives has told all to the anchor that lives. */
static bool together(void) {
    char path[4096], *text = NULL, want[96];
    snprintf(path, sizeof path, "%s/logs/keeper.log", k.run);
    pid_t anchor = holder(ANCHOR), keeper = holder(KEEPER);
    if (!anchor || !keeper || fd_read_file(AT_FDCWD, path, 64 << 20, &text, NULL) < 0) return false;
    snprintf(want, sizeof want, "ev=anchor.connected anchor=%d keeper=%d ", anchor, keeper);
    bool found = strstr(text, want) != NULL;
    free(text);
    return found && holder(ANCHOR) == anchor && holder(KEEPER) == keeper;
}

static void start_if_nobody(void) {
    int status;
    if (k.started && waitpid(k.started, &status, WNOHANG) == k.started) k.started = 0;
    if (!*k.command || k.started || holder(ANCHOR) || holder(KEEPER)) return;
    k.started = fork();
    if (k.started != 0) return;
    (void) setsid();
    execv(k.command[0], k.command);
    _exit(127);
}

static void settle(void) {
    if (k.settled) return;
    start_if_nobody();
    if (!together()) return;
    k.settled = true;
    int64_t now = now_ns();
    if (k.no_keeper_ns)
        fprintf(k.gaps, "keeper %lld %lld\n", (long long) k.no_keeper_ns, (long long) now);
    if (k.both) fprintf(k.gaps, "both %lld %lld\n", (long long) k.unsettled_ns, (long long) now);
    fflush(k.gaps);
    k.no_keeper_ns = 0;
    k.both = false;
}

static void settle_until(int64_t end_ns) {
    settle();
    while (!k.settled && now_ns() < end_ns) {
        pause_us(500);
        settle();
    }
}

static bool is_core(int role) {
    return role == ANCHOR || role == KEEPER;
}

static void must_settle(void) {
    settle_until(now_ns() + (int64_t) DEADLINE_S * 1000000000);
    if (!k.settled) die("anchor and keeper do not come together again");
}

static void note_core(int role) {
    int64_t now = now_ns();
    if (k.settled)
        k.unsettled_ns = now;
    else
        k.both = true;
    k.settled = false;
    if (role == KEEPER && !k.no_keeper_ns) k.no_keeper_ns = now;
}

static void kill_role(int role) {
    pid_t pid = holder(role);
    if (pid <= 0) return; /* it is dead still */
    if (is_core(role)) {
        settle();
        if (!k.settled && !k.both_allowed) must_settle();
        pid = holder(role);
        if (pid <= 0) return;
        note_core(role);
    }
    if (kill(pid, SIGKILL) < 0) return;
    while (holder(role) == pid) pause_us(50); /* it is dying */
    k.killed[role]++;
    k.total++;
}

static void choose(bool ret[static ROLES]) {
    unsigned list[ROLES], many = (unsigned[]){1, 2, ROLES}[dice(k.both_allowed ? 3 : 2)];
    for (unsigned i = 0; i < ROLES; i++) list[i] = i;
    for (unsigned i = 0; i < many; i++) {
        unsigned with = i + dice(ROLES - i), role = list[with];
        list[with] = list[i];
        ret[role] = true;
    }
    if (!k.both_allowed && ret[ANCHOR] && ret[KEEPER]) ret[dice(2) ? ANCHOR : KEEPER] = false;
}

static int64_t random_pause_us(void) {
    int64_t us = PAUSE_MIN_US;
    for (unsigned decades = dice(DECADES); decades; decades--) us *= 10;
    return us + us * 9 * dice(1000) / 1000;
}

static void kill_some(void) {
    bool chosen[ROLES] = {0};
    int64_t end = now_ns() + random_pause_us() * 1000;
    choose(chosen);
    while (now_ns() < end) { /* what is left of the pause; the gaps are noted meanwhile */
        settle();
        int64_t left = (end - now_ns()) / 1000;
        if (left > 0) pause_us(left < 2000 ? left : 2000);
    }
    for (int i = 0; i < ROLES; i++)
        if (chosen[i]) kill_role(i);
}

static bool parse(int argc, char **argv, unsigned *ret_kills) {
    if (argc < 6) return false;
    k.run = argv[1];
    k.random = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15U + 1;
    *ret_kills = (unsigned) strtoul(argv[3], NULL, 10);
    k.both_allowed = str_eq(argv[4], "all");
    k.gaps = fopen(argv[5], "ae");
    k.command = argv + 6;
    return k.gaps != NULL;
}

int main(int argc, char **argv) {
    unsigned kills;
    if (!parse(argc, argv, &kills)) return 2;
    k.settled = true;
    int64_t last = now_ns();
    for (unsigned before = 0; k.total < kills;) {
        kill_some();
        if (k.total != before) last = now_ns();
        before = k.total;
        if (now_ns() - last > (int64_t) DEADLINE_S * 1000000000)
            die("a killed role does not come back");
    }
    must_settle();
    printf("killed %u:", k.total);
    for (int i = 0; i < ROLES; i++) printf(" %s %u", names[i], k.killed[i]);
    printf("\n");
    return 0;
}
