// SPDX-License-Identifier: Apache-2.0
/* The loader's side of the Compose benchmark: for each line on standard input it loads every FILE of
 * the command line once and answers with one line: of each the nanoseconds, from the name to the
 * model. A file that is only a part of a project (an untimed load says so) is loaded without
 * looking for the rest; one that does not load is 0. */
#include <stdio.h>
#include <string.h>

#include "cli/compose/compose.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"

static long long load(const char *path, bool part) {
    char *const environment[] = {NULL};
    struct compose_options o = {.environ = environment, .project_name = "bench"};
    struct compose_project *p;
    o.no_consistency = o.no_env_resolution = part;
    if (strv_add(&o.files, path) < 0 || strv_add(&o.profiles, "*") < 0) return 0;
    int64_t start = clock__ns(CLOCK_MONOTONIC);
    int r = compose_load(&o, &p);
    compose_project_free(p);
    int64_t end = clock__ns(CLOCK_MONOTONIC);
    strv_fini(&o.files);
    strv_fini(&o.profiles);
    return r < 0 ? 0 : end - start;
}

int main(int argc, char **argv) {
    bool *part = mem_zalloc((size_t) argc);
    if (!part) return 1;
    for (int i = 1; i < argc; i++) part[i] = load(argv[i], false) == 0;
    for (char line[16]; fgets(line, sizeof line, stdin);) {
        for (int i = 1; i < argc; i++) printf("%lld ", load(argv[i], part[i]));
        putchar('\n');
        fflush(stdout);
    }
    mem_free(part);
    return 0;
}
