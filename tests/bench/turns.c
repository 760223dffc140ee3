// SPDX-License-Identifier: Apache-2.0
/* bench_turns N PAUSE_MS NAME COMMAND [NAME COMMAND...] - let several programs do the same thing N
 * times, taking turns, so that a noisy machine is noisy for all. Each COMMAND (by sh) reads a byte
 * and answers a line of one to four numbers. Prints "NAME COLUMN p10 p50 p90" lines. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX = 8, COLUMNS = 4, RUNS_MIN = 3, RUNS_MAX = 4000, WARM = 3 };

struct runner {
    const char *name;
    pid_t pid;
    int in;
    FILE *out;
    double v[COLUMNS][RUNS_MAX];
    int columns;
};

static struct runner runners[MAX];

static void launch(struct runner *r, const char *command) {
    int in[2], out[2];
    if (pipe2(in, 02000000) < 0 || pipe2(out, 02000000) < 0) exit(1); /* O_CLOEXEC */
    r->pid = fork();
    if (r->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    r->in = in[1];
    r->out = fdopen(out[0], "r");
}

static void turn(struct runner *r, int i) {
    char line[128];
    double v[COLUMNS] = {0};
    if (write(r->in, "x", 1) != 1 || !fgets(line, sizeof line, r->out)) {
        fprintf(stderr, "bench_turns: %s ended early\n", r->name);
        exit(1);
    }
    r->columns = sscanf(line, "%lf %lf %lf %lf", &v[0], &v[1], &v[2], &v[3]);
    if (r->columns < 1) exit(1);
    if (i < 0) return;
    for (int c = 0; c < COLUMNS; c++) r->v[c][i] = v[c];
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int n = argc > 4 ? atoi(argv[1]) : 0, pause = argc > 4 ? atoi(argv[2]) : 0, count = 0;
    if (n < RUNS_MIN || n > RUNS_MAX || argc % 2 == 0) {
        fprintf(stderr, "rounds: %d to %d\n", RUNS_MIN, RUNS_MAX);
        return 2;
    }
    for (int i = 3; i + 1 < argc && count < MAX; i += 2, count++) {
        runners[count].name = argv[i];
        launch(&runners[count], argv[i + 1]);
    }
    int warm = n < 10 ? 0 : WARM; /* so few are long ones */
    for (int i = -warm; i < n; i++)
        for (int k = 0; k < count; k++) {
            if (pause) poll(NULL, 0, pause);
            turn(&runners[k], i);
        }
    for (int k = 0; k < count; k++) {
        struct runner *r = &runners[k];
        close(r->in);
        waitpid(r->pid, NULL, 0);
        for (int c = 0; c < r->columns; c++) {
            qsort(r->v[c], (size_t) n, sizeof(double), compare);
            printf("%s %d %.0f %.0f %.0f\n", r->name, c, r->v[c][n / 10], r->v[c][n / 2],
                   r->v[c][n * 9 / 10]);
        }
    }
    return 0;
}
