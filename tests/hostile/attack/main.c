// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "attack.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} attacks[] = {
    {"cgroup", attack_cgroup},
    {"descriptors", attack_descriptors},
    {"executables", attack_executables},
    {"knock", attack_knock},
    {"memory", attack_memory},
    {"move-dev", attack_move_dev},
    {"read", attack_read},
    {"scan", attack_scan},
    {"syscalls", attack_syscalls},
    {"terminal", attack_terminal},
    {"write", attack_write},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof attacks / sizeof *attacks; i++)
        if (strcmp(argv[1], attacks[i].name) == 0) return attacks[i].run(argc - 1, argv + 1);
    fprintf(stderr, "attack: which one?\n");
    return 2;
}
