// SPDX-License-Identifier: Apache-2.0
/* bench_orlop KEEPER LOWER STATE RUN [SECCOMP-OUT] - starts by a real keeper below a real anchor.
 * Reads one byte from stdin a start, answers "FIRST EXIT\n": microseconds from the request to the
 * workload's first instruction and to the event of its recorded exit. Overlay, cgroup and seccomp
 * program are made before, as the agent makes them. With SECCOMP-OUT it writes the seccomp program
 * there, for the bare program. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rig.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

static int64_t first_instruction(const char *task) {
    for (int n = 0; n < 2; n++) {
        char path[PATHS_FULL_MAX];
        auto_free char *text = NULL;
        snprintf(path, sizeof path, "%s/tasks/%s/log/%d.log", rig_paths()->state, task, n);
        if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0 && *text)
            return strtoll(text, NULL, 10);
    }
    return -1;
}

static void one(int k) {
    struct rig_box b = {.address = 0};
    char program[] = "/bin/now";
    rig_box_make(&b, k);
    int64_t t0 = rig_now_ns(), t1 = 0;
    rig_box_start(&b, (uint64_t) k + 1, (char *[]){program, NULL});
    while (!t1) {
        Orlop__KeeperMessage *m = rig_next();
        if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_EXITED) t1 = rig_now_ns();
        keeper_message_free(m);
    }
    int64_t first = CK(first_instruction(b.task));
    rig_box_remove(&b);
    printf("%lld %lld\n", (long long) (first - t0) / 1000, (long long) (t1 - t0) / 1000);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    rig_init(argv[2], argv[3], argv[4]);
    if (argc > 5) {
        rig_write_seccomp(argv[5]);
        return 0;
    }
    rig_start(argv[1]);
    char byte;
    for (int k = 0; read(0, &byte, 1) == 1; k++) one(k);
    rig_stop();
    return 0;
}
