// SPDX-License-Identifier: Apache-2.0
/* Users, nodes and time at random, the invariants after every entry; in the end everybody behaves
 * and the cluster must come to rest as wanted. A failure prints its seed: RANDOM_SEED=n runs that
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scenario.h"

enum { SEEDS = 60, STEPS = 120, SCRIPT_MAX = 1 << 20 };

static uint64_t state_of_random;

static uint32_t below(uint32_t n) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) (state_of_random >> 33) % n;
}

static const char *pick(const char *const *v, size_t n) {
    return v[below((uint32_t) n)];
}

/* db <- migrate (one-shot) <- api <- web, of changing images, sizes and conditions. */
static void apply_app(struct buf *b, const char *app) {
    static const char *const conditions[] = {"started", "healthy", "started:restart"};
    buf_puts(b, "$ network default\n");
    if (below(3)) buf_puts(b, "$ network back internal\n");
    buf_printf(b, "$ service db net=default image=db:%u\n", below(2));
    buf_puts(b, "$ service migrate net=default needs=db:started\n");
    buf_printf(b, "$ service api net=default replicas=%u image=api:%u needs=migrate:completed\n",
               below(4), below(3));
    if (below(4))
        buf_printf(b, "$ service web net=default replicas=%u image=web:%u needs=api:%s\n",
                   1 + below(3), below(2), pick(conditions, 3));
    buf_printf(b, "$ apply %s%s\n", app, below(5) ? "" : " force=db");
}

/* What a node may say of any task, in any order: apply must take it or leave it. */
static void say(struct buf *b, const char *app) {
    static const char *const services[] = {"db", "migrate", "api", "web"};
    static const char *const words[] = {"running",
                                        "running healthy",
                                        "running unhealthy",
                                        "running starting",
                                        "preparing",
                                        "starting",
                                        "failed exit=1",
                                        "failed exit=1 gone",
                                        "complete exit=0",
                                        "complete exit=0 gone",
                                        "rejected",
                                        "rejected gone",
                                        "shutdown",
                                        "shutdown gone",
                                        "stopping",
                                        "running attempt=2",
                                        "running attempt=3 healthy"};
    buf_printf(b, "$ maybe %s-%s-%u %s\n", app, pick(services, 4), 1 + below(3),
               pick(words, array_len(words)));
}

static void step(struct buf *b) {
    static const char *const apps[] = {"one", "two"};
    const char *app = pick(apps, 2);
    switch (below(16)) {
    case 0:
        apply_app(b, app);
        break;
    case 1:
        buf_printf(b, "$ scale %s api=%u\n", app, below(5));
        break;
    case 2:
        buf_printf(b, "$ restart %s%s\n", app, below(2) ? "" : " db");
        break;
    case 3:
        buf_printf(b, "$ remove %s\n", app);
        break;
    case 4:
        buf_puts(b, below(2) ? "$ down n1\n" : "$ up n1\n");
        break;
    case 5:
        buf_printf(b, "$ time +%u\n", below(150000));
        break;
    case 6:
        buf_puts(b, below(2) ? "$ acks off\n" : "$ acks on\n");
        break;
    case 7:
        buf_puts(b, below(4) ? "$ obey\n" : "$ wipe n1\n");
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        buf_puts(b, "$ plan\n");
        break;
    default:
        say(b, app);
        break;
    }
}

static void run(uint64_t seed) {
    struct buf script, out;
    state_of_random = seed;
    buf_init(&script, SCRIPT_MAX);
    buf_init(&out, SCRIPT_MAX * 8);
    buf_puts(&script, "$ node n1\n");
    apply_app(&script, "one");
    for (int i = 0; i < STEPS; i++) step(&script);
    buf_puts(&script, "$ rest\n");
    if (getenv("RANDOM_SEED")) fputs(buf_str(&script), stderr);
    fprintf(stderr, "seed %lu\r", (unsigned long) seed);
    scenario_run(buf_str(&script), &out);
    assert_int_equal(buf_error(&script), 0);
    if (getenv("RANDOM_SEED")) fputs(buf_str(&out), stderr);
    buf_fini(&script);
    buf_fini(&out);
}

static void test_random_runs_keep_the_invariants_and_come_to_rest(void **state) {
    (void) state;
    uint64_t one = 0;
    if (getenv("RANDOM_SEED")) {
        assert_int_equal(str_to_u64(getenv("RANDOM_SEED"), UINT64_MAX, &one), 0);
        run(one);
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) run(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_runs_keep_the_invariants_and_come_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
