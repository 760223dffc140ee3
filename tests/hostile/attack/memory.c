// SPDX-License-Identifier: Apache-2.0
/* Words in the memory of pid 1, as CAP_SYS_PTRACE may read it. The words come in two halves, so that
 * our own command line is not what is found there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack.h"

enum { CHUNK = 1 << 20 };

static int search(int mem, unsigned long from, unsigned long to, const char *word) {
    static char buf[CHUNK];
    for (; from < to; from += CHUNK) {
        size_t want = to - from < CHUNK ? to - from : CHUNK;
        ssize_t n = pread(mem, buf, want, (off_t) from);
        if (n > 0 && memmem(buf, (size_t) n, word, strlen(word))) return 1;
    }
    return 0;
}

int attack_memory(int argc, char **argv) {
    char word[128], line[512];
    if (argc != 3) return 2;
    snprintf(word, sizeof word, "%s%s", argv[1], argv[2]);
    FILE *maps = fopen("/proc/1/maps", "re");
    int mem = open("/proc/1/mem", O_RDONLY | O_CLOEXEC);
    if (!maps || mem < 0) {
        printf("closed: %s\n", strerror(errno));
        return 0;
    }
    unsigned regions = 0, found = 0;
    while (fgets(line, sizeof line, maps)) {
        char *end;
        unsigned long from = strtoul(line, &end, 16), to = strtoul(end + 1, NULL, 16);
        regions++;
        if (strstr(line, " r") && search(mem, from, to, word)) {
            found++;
            printf("found in %s", line);
        }
    }
    printf("%s\n", found ? "found" : regions ? "not found" : "no memory");
    return 0;
}
