// SPDX-License-Identifier: Apache-2.0
/* ptyrun ROWS COLS COMMAND ARGS... - run a command on a pseudo-terminal, driven by lines on stdin:
 *   send TEXT      type TEXT (escapes: \n \r \t \xNN)
 *   expect TEXT    read until TEXT has come since the last expect; fails after 20 s
 *   size ROWS COLS change the window
 *   eof            wait for the command
 *   rest           the same, then print what has come since the last expect
 * Exit code: the command's; 99 when an expect failed (what came is on stderr). */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEEN_MAX = 1 << 20, EXPECT_SECONDS = 20 };

static char seen[SEEN_MAX];
static size_t n_seen;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Returns false at the end of the terminal. */
static bool read_some(int master, int timeout_ms) {
    struct pollfd p = {.fd = master, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0) return true;
    ssize_t r = read(master, seen + n_seen, SEEN_MAX - 1 - n_seen);
    if (r <= 0) return false;
    n_seen += (size_t) r;
    seen[n_seen] = 0;
    return true;
}

static bool expect(int master, const char *text) {
    double deadline = now() + EXPECT_SECONDS;
    for (;;) {
        char *at = strstr(seen, text);
        if (at) {
            size_t used = (size_t) (at - seen) + strlen(text);
            memmove(seen, seen + used, n_seen - used + 1);
            n_seen -= used;
            return true;
        }
        if (now() > deadline) return false;
        if (!read_some(master, 100)) return strstr(seen, text) != NULL;
    }
}

static size_t unescape(char *s) {
    char *out = s;
    for (char *p = s; *p; p++) {
        if (*p != '\\' || !p[1]) {
            *out++ = *p;
            continue;
        }
        p++;
        if (*p == 'x' && p[1] && p[2]) {
            char hex[3] = {p[1], p[2], 0};
            *out++ = (char) strtol(hex, NULL, 16);
            p += 2;
        } else {
            *out++ = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : *p;
        }
    }
    *out = 0;
    return (size_t) (out - s);
}

static int finish(pid_t pid, int master) {
    int status;
    bool open = true, ended = false;
    while (!ended && (open = read_some(master, 1000)))
        ended = waitpid(pid, &status, WNOHANG) == pid;
    if (!ended) waitpid(pid, &status, 0);
    for (size_t before = n_seen + 1; open && n_seen != before;) { /* what the command left there */
        before = n_seen;
        open = read_some(master, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    struct winsize size = {.ws_row = (unsigned short) strtoul(argv[1], NULL, 10),
                           .ws_col = (unsigned short) strtoul(argv[2], NULL, 10)};
    int master;
    pid_t pid = forkpty(&master, NULL, NULL, &size);
    if (pid < 0) return 98;
    if (pid == 0) {
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    char line[4096];
    bool rest = false;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "send ", 5) == 0) {
            size_t n = unescape(line + 5);
            if (write(master, line + 5, n) < 0) return 98;
        } else if (strncmp(line, "expect ", 7) == 0) {
            unescape(line + 7);
            if (!expect(master, line + 7)) {
                fprintf(stderr, "ptyrun: never saw '%s'; what came:\n%s\n", line + 7, seen);
                return 99;
            }
        } else if (sscanf(line, "size %hu %hu", &size.ws_row, &size.ws_col) == 2) {
            ioctl(master, TIOCSWINSZ, &size);
        } else if (strcmp(line, "eof") == 0 || (rest = strcmp(line, "rest") == 0)) {
            break;
        }
    }
    int code = finish(pid, master);
    if (rest) fwrite(seen, 1, n_seen, stdout);
    return code;
}
