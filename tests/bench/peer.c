// SPDX-License-Identifier: Apache-2.0
/* bench_peer RUNTIME DIR - starts by `RUNTIME run`. Reads one byte from stdin a start, answers
 * "FIRST EXIT\n" in microseconds: to the workload's first instruction and to the end of the
 * command. */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static int one(char *runtime, const char *dir, int k) {
    char root[300], bundle[300], id[64], text[64] = {0};
    snprintf(root, sizeof root, "%s/%s", dir, runtime);
    snprintf(bundle, sizeof bundle, "%s/bundle", dir);
    snprintf(id, sizeof id, "bench-%s-%d", runtime, k);
    char f_root[] = "--root", v_run[] = "run", f_b[] = "-b";
    char *argv[] = {runtime, f_root, root, v_run, f_b, bundle, id, NULL};
    int out[2];
    if (pipe2(out, O_CLOEXEC) < 0) return 1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    int64_t t0 = now_ns();
    pid_t pid;
    if (posix_spawnp(&pid, runtime, &actions, NULL, argv, environ) != 0) return 1;
    close(out[1]);
    int status;
    waitpid(pid, &status, 0);
    int64_t t1 = now_ns();
    if (status != 0 || read(out[0], text, sizeof text - 1) <= 0) return 1;
    close(out[0]);
    posix_spawn_file_actions_destroy(&actions);
    printf("%lld %lld\n", (strtoll(text, NULL, 10) - (long long) t0) / 1000,
           (long long) (t1 - t0) / 1000);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    char byte;
    for (int k = 0; read(0, &byte, 1) == 1; k++)
        if (one(argv[1], argv[2], k) != 0) return 1;
    return 0;
}
