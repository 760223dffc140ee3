// SPDX-License-Identifier: Apache-2.0
/* SIGKILL to the keeper, and now and then to the anchor, at random moments while containers write
 * numbered lines and end with known codes: no line lost, doubled or out of order, no exit code wrong
 * or lost, no attempt run twice. Only on kernels before 6.15, and of a container whose keeper is older
 * than the anchor (so that pid 1 reaps it), may the code be unknown, when it ends while there is no
 * keeper.
 * KILLS and SEED from the environment; the seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/keeper/logfile.h"
#include "runtime/keeper/reap.h"

enum { KILLS_DEFAULT = 200, TASKS_MAX = 192, LINES = 20000, ALIVE = 10, WAIT_MS = 60000 };

static struct {
    uint64_t random;
    unsigned kills;
    size_t n;                      /* tasks so far */
    size_t ended;                  /* known to have ended */
    size_t unknown, anchors;       /* exit codes, kills of an anchor */
    bool kernel_tells, old_keeper; /* older than the anchor */
    bool seen[TASKS_MAX], orphan[TASKS_MAX];
} t;

static unsigned dice(unsigned n) {
    t.random ^= t.random << 13;
    t.random ^= t.random >> 7;
    t.random ^= t.random << 17;
    return (unsigned) (t.random % n);
}

static const char *task_name(size_t i, char buf[static 32]) {
    snprintf(buf, 32, "1.1.%zu", i + 1);
    return buf;
}

static int code_of(size_t i) {
    return 1 + (int) (i % 200);
}

/* Both streams count to LINES; some pause now and then, so that their pipes run empty. */
static void script_of(const struct node *n, size_t i, char buf[static 512]) {
    char counts[400];
    if (i % 2)
        snprintf(counts, sizeof counts, "seq 1 %d & seq 1 %d >&2; wait", LINES, LINES);
    else
        snprintf(counts, sizeof counts,
                 "for s in 0 1 2 3; do seq $((s*%d/4+1)) $(((s+1)*%d/4)); sleep 0.1; done;"
                 " seq 1 %d >&2",
                 LINES, LINES, LINES);
    snprintf(buf, 512, "echo x >> %s/ran.%zu; %s; exit %d", n->dir, i, counts, code_of(i));
}

/* Until it is answered: a repeated START has the same id. */
static void start(struct node *n, size_t i) {
    char name[32], script[512];
    script_of(n, i, script);
    t.orphan[i] = t.old_keeper;
    for (;;) {
        Orlop__KeeperMessage *m = node_sh(n, task_name(i, name), 1, script);
        if (m) {
            assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
            keeper_message_free(m);
            return;
        }
        node_connect(n);
    }
}

static void look(struct node *n) {
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty e = ORLOP__KEEPER_EMPTY__INIT;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_LIST;
    r.list = &e;
    Orlop__KeeperMessage *m = node_call(n, &r, NULL, 0);
    if (!m) {
        node_connect(n);
        return;
    }
    for (size_t i = 0; i < m->listed->n_entries; i++) {
        const Orlop__SandboxEntry *x = m->listed->entries[i];
        size_t task = (size_t) atol(strrchr(x->task, '.') + 1) - 1; /* NOLINT: ours */
        assert_true(task < t.n);
        if (!x->ended || t.seen[task]) continue;
        t.seen[task] = true;
        t.ended++;
        if (!x->exit_known && (t.kernel_tells || !t.orphan[task]))
            fail_msg("exit code of task %zu lost", task);
        t.unknown += !x->exit_known;
        if (x->exit_known && x->wait_status != code_of(task) << 8)
            fail_msg("task %zu ended with 0x%x", task, (unsigned) x->wait_status);
    }
    keeper_message_free(m);
}

static void check_lines(const struct node *n, size_t task) {
    char dir[PATHS_FULL_MAX], name[32];
    snprintf(dir, sizeof dir, "%s/tasks/%s/log", n->paths.state, task_name(task, name));
    struct log_reader *r;
    assert_int_equal(log_reader_open(dir, 0, -1, &r, NULL), 0);
    long next[3] = {0, 1, 1};
    struct log_line l;
    while (log_reader_next(r, true, &l, NULL) == 1) {
        char text[32] = "";
        memcpy(text, l.text, l.len < 31 ? l.len : 31);
        if (strtol(text, NULL, 10) != next[l.stream])
            fail_msg("task %zu stream %u: wanted line %ld, got '%s'", task, l.stream,
                     next[l.stream], text);
        next[l.stream]++;
    }
    log_reader_free(r);
    assert_int_equal(next[1], LINES + 1);
    assert_int_equal(next[2], LINES + 1);
}

static void check_ran_once(const struct node *n, size_t task) {
    char path[PATHS_FULL_MAX];
    snprintf(path, sizeof path, "%s/ran.%zu", n->dir, task);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char buf[16];
    assert_int_equal(read(fd, buf, sizeof buf), 2);
    close(fd);
}

/* The dying one holds its lock for a moment: nobody may take it for a living one. */
static void kill_holder(const struct node *n, const char *lock, pid_t pid) {
    char path[PATHS_FULL_MAX];
    paths_run(&n->paths, lock, path);
    kill(pid, SIGKILL);
    while (fd_lock_holder(path) == pid) (void) poll(NULL, 0, 1);
}

static void kill_anchor(struct node *n) {
    node_settle(n);
    pid_t old = n->anchor;
    kill_holder(n, "anchor.lock", old);
    (void) waitpid(old, NULL, 0); /* only the first one is a child of ours */
    t.anchors++;
    t.old_keeper = true;
    for (size_t i = 0; i < t.n; i++) t.orphan[i] = true;
    node_settle(n);
}

/* Of a process that others have reaped. */
static bool kernel_tells(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(7);
    int pidfd = sys_pidfd_open(pid, 0), status = 0;
    (void) waitpid(pid, NULL, 0);
    bool told = reap_ask(pidfd, &status);
    close(pidfd);
    if (told) assert_int_equal(status, 7 << 8);
    return told;
}

static void test_keeper_killed_again_and_again_loses_nothing(void **state) {
    (void) state;
    if (!node_possible()) skip();
    struct node n;
    node_start(&n);
    t.kernel_tells = kernel_tells();
    for (unsigned killed = 0; killed < t.kills;) {
        while (t.n - t.ended < ALIVE && t.n < TASKS_MAX) start(&n, t.n++);
        (void) poll(NULL, 0, (int) dice(60)); /* the random moment */
        if (dice(4) == 0) {
            kill_anchor(&n);
        } else {
            kill_holder(&n, "keeper.lock", node_keeper(&n));
            t.old_keeper = false;
        }
        killed++;
        if (dice(3) == 0) continue; /* the next start meets the dying one */
        node_connect(&n);
        look(&n);
    }
    for (int64_t end = clock_mono_ms() + WAIT_MS; t.ended < t.n && clock_mono_ms() < end;) {
        node_connect(&n);
        look(&n);
        (void) node_pump(&n, 50);
    }
    assert_int_equal(t.ended, t.n);
    for (size_t i = 0; i < t.n; i++) {
        check_lines(&n, i);
        check_ran_once(&n, i);
    }
    printf("kills %u (%zu of anchors), containers %zu, lines %zu, exit codes unknown %zu\n",
           t.kills, t.anchors, t.n, t.n * 2 * LINES, t.unknown);
    node_stop(&n);
}

int main(void) {
    const char *kills = getenv("KILLS"), *seed = getenv("SEED");
    t.kills = kills ? (unsigned) atoi(kills) : KILLS_DEFAULT; /* NOLINT */
    t.random = seed ? strtoull(seed, NULL, 10) : (uint64_t) clock_unix_ns();
    if (!t.random) t.random = 1;
    printf("SEED=%llu\n", (unsigned long long) t.random);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeper_killed_again_and_again_loses_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
