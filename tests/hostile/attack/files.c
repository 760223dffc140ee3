// SPDX-License-Identifier: Apache-2.0
/* Names that must lead nowhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attack.h"

/* The numbers of our descriptors, but for the one that looks. */
int attack_descriptors(int argc, char **argv) {
    (void) argc;
    (void) argv;
    const char *blank = "";
    for (int fd = 0; fd < 65536; fd++) {
        if (fcntl(fd, F_GETFD) < 0) continue;
        printf("%s%d", blank, fd);
        blank = " ";
    }
    printf("\n");
    return 0;
}

/* Which of the files give bytes, and of the folders names. */
int attack_read(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char byte;
        struct stat st;
        if (stat(argv[i], &st) < 0) continue;
        if (S_ISDIR(st.st_mode)) {
            DIR *d = opendir(argv[i]);
            unsigned n = 0;
            while (d && readdir(d)) n++;
            if (n > 2) printf("%s: %u names\n", argv[i], n);
            if (d) (void) closedir(d);
            continue;
        }
        int fd = open(argv[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && read(fd, &byte, 1) == 1) printf("%s: bytes\n", argv[i]);
        if (fd >= 0) (void) close(fd);
    }
    return 0;
}

/* Which of the files can be opened for writing and are not the null device; nothing is written. */
int attack_write(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int fd = open(argv[i], O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0) continue;
        if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != 0x103)
            printf("%s: writable\n", argv[i]);
        (void) close(fd);
    }
    return 0;
}
