// SPDX-License-Identifier: Apache-2.0
/* What others in this container run from, if it is not ours: held open, then opened for writing
 * again and again, also when they have ended, until the answer is final. It goes into a file: who
 * reads our output may be dead by then. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attack.h"

enum { HELD_MAX = 64 };

static struct {
    int fd;
    dev_t dev;
    ino_t ino;
} held[HELD_MAX];
static size_t n_held;

static void hold(const char *pid, const struct stat *own) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return;
    bool known = fstat(fd, &st) < 0 || (st.st_dev == own->st_dev && st.st_ino == own->st_ino);
    for (size_t i = 0; i < n_held && !known; i++)
        known = held[i].dev == st.st_dev && held[i].ino == st.st_ino;
    if (known || n_held == HELD_MAX) {
        (void) close(fd);
        return;
    }
    held[n_held].fd = fd;
    held[n_held].dev = st.st_dev;
    held[n_held++].ino = st.st_ino;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) (void) !write(fd, text, strlen(text));
    if (fd >= 0) (void) close(fd);
}

/* Whether there was an answer: as long as others run from it, it is only busy. Busybox is the
 * image's own: it lies on the root's file system, which is ours to write. */
static bool strike(int fd, dev_t root) {
    char path[64];
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_dev == root) return false;
    put("/met", "");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int w = open(path, O_WRONLY | O_CLOEXEC);
    if (w < 0 && errno == ETXTBSY) return false;
    put("/answer", w < 0 ? strerror(errno) : "open for writing");
    return true;
}

int attack_executables(int argc, char **argv) {
    (void) argc;
    (void) argv;
    struct stat own, root;
    if (stat("/proc/self/exe", &own) < 0 || stat("/bin", &root) < 0) return 1;
    for (bool answered = false; !answered;) {
        DIR *d = opendir("/proc");
        for (struct dirent *e; d && (e = readdir(d));)
            if (e->d_name[0] >= '1' && e->d_name[0] <= '9') hold(e->d_name, &own);
        if (d) (void) closedir(d);
        for (size_t i = 0; i < n_held && !answered; i++) answered = strike(held[i].fd, root.st_dev);
    }
    for (;;) (void) pause();
}
