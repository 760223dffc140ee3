// SPDX-License-Identifier: Apache-2.0
/* bench_logs_orlop WRITERS KEEPER LOWER STATE RUN COUNT BURST PERIOD_US - log lines by a real keeper.
 * Reads a byte from stdin a round, answers "LINES_PER_SECOND CPU_NS_PER_LINE LOST": CPU of keeper and
 * anchor; every line of every log is looked at. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { MAX = 200, LINE = 100, LOOK_MS = 5, LOG_BYTES = 1 << 30 };

static struct rig_box boxes[MAX];
static int n_boxes, next_name;
static long count;

static const char *log_path(const struct rig_box *b, char path[static PATHS_FULL_MAX]) {
    snprintf(path, PATHS_FULL_MAX, "%.100s/tasks/%.31s/log/1.log", rig_paths()->state, b->task);
    return path;
}

static void wait_for_lines(const struct rig_box *b, long n) {
    char path[PATHS_FULL_MAX];
    struct stat st;
    log_path(b, path);
    while (stat(path, &st) < 0 || st.st_size < n * LINE) poll(NULL, 0, LOOK_MS);
}

static long lost_lines(const struct rig_box *b) {
    char path[PATHS_FULL_MAX];
    auto_free char *text = NULL;
    size_t n = 0;
    CK(fd_read_file(AT_FDCWD, log_path(b, path), LOG_BYTES, &text, &n));
    long lost = n == (size_t) count * LINE ? 0 : count - (long) n / LINE;
    for (long i = 0; i < count && (size_t) (i + 1) * LINE <= n; i++) {
        const char *line = text + i * LINE;
        if (strtol(line, NULL, 10) != i || line[LINE - 1] != '\n') lost++;
    }
    return lost;
}

static void wait_for(Orlop__KeeperMessage__WhatCase what, int n) {
    while (n > 0) {
        Orlop__KeeperMessage *m = rig_next();
        n -= m->what_case == what;
        keeper_message_free(m);
    }
}

static int64_t cpu_ns(void) {
    return rig_cpu_ns(rig_keeper_pid()) + rig_cpu_ns(rig_anchor_pid());
}

static void round_of(char **argv) {
    long lost = 0;
    for (int k = 0; k < n_boxes; k++) {
        boxes[k] = (struct rig_box){.log_max_bytes = LOG_BYTES};
        rig_box_make(&boxes[k], next_name++);
        rig_box_start(&boxes[k], (uint64_t) k + 1, argv);
        wait_for(ORLOP__KEEPER_MESSAGE__WHAT_STARTED, 1);
    }
    for (int k = 0; k < n_boxes; k++) wait_for_lines(&boxes[k], 1); /* all are ready */
    int64_t cpu = cpu_ns(), t0 = rig_now_ns();
    for (int k = 0; k < n_boxes; k++) rig_box_signal(&boxes[k], MAX + 1, SIGUSR1);
    for (int k = 0; k < n_boxes; k++) wait_for_lines(&boxes[k], count);
    int64_t t1 = rig_now_ns();
    cpu = cpu_ns() - cpu;
    for (int k = 0; k < n_boxes; k++) rig_box_signal(&boxes[k], MAX + 1, SIGTERM);
    wait_for(ORLOP__KEEPER_MESSAGE__WHAT_EXITED, n_boxes);
    for (int k = 0; k < n_boxes; k++) {
        char path[PATHS_FULL_MAX];
        lost += lost_lines(&boxes[k]);
        rig_box_remove(&boxes[k]);
        CK(unlink(log_path(&boxes[k], path)));
    }
    double lines = (double) count * n_boxes;
    printf("%.0f %.0f %ld\n", lines * 1e9 / (double) (t1 - t0), (double) cpu / lines, lost);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 9) return 2;
    n_boxes = atoi(argv[1]);
    count = atol(argv[6]);
    if (n_boxes < 1 || n_boxes > MAX) return 2;
    rig_init(argv[3], argv[4], argv[5]);
    rig_start(argv[2]);
    char program[] = "/bin/lines";
    char *words[] = {program, argv[6], argv[7], argv[8], NULL};
    for (char byte; read(0, &byte, 1) == 1;) round_of(words);
    rig_stop();
    return 0;
}
