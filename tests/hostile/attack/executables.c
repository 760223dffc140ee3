// SPDX-License-Identifier: Apache-2.0
/* What others in this container run from, if it is not ours: held open, then opened for writing
 * again and again, also when they have ended. */
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

enum { HELD_MAX = 64, SAID_MAX = 256 };

static struct {
    int fd;
    dev_t dev;
    ino_t ino;
} held[HELD_MAX];
static size_t n_held;
static bool said[SAID_MAX];

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

/* Busybox is the image's own: it lies on the root's file system, which is ours to write. */
static void strike(int fd, dev_t root) {
    char path[64];
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_dev == root) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int w = open(path, O_WRONLY | O_CLOEXEC);
    int e = w < 0 ? errno : 0;
    if (w >= 0) (void) close(w);
    if (e >= SAID_MAX || said[e]) return;
    said[e] = true;
    printf("met\nwrite: %s\n", strerror(e));
    (void) fflush(stdout);
}

int attack_executables(int argc, char **argv) {
    (void) argc;
    (void) argv;
    struct stat own, root, st;
    if (stat("/proc/self/exe", &own) < 0 || stat("/bin", &root) < 0) return 1;
    while (stat("/stop", &st) < 0) {
        DIR *d = opendir("/proc");
        for (struct dirent *e; d && (e = readdir(d));)
            if (e->d_name[0] >= '1' && e->d_name[0] <= '9') hold(e->d_name, &own);
        if (d) (void) closedir(d);
        for (size_t i = 0; i < n_held; i++) strike(held[i].fd, root.st_dev);
    }
    (void) close(open("/stopped", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    for (;;) (void) pause();
}
