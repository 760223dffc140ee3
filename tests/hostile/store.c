// SPDX-License-Identifier: Apache-2.0
/* hostile_store DIR NAME <TAR: imports into the store DIR with the limits that every node has. Prints
 * the error; 0: it is an image now, 1: refused. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/image/image.h"

int main(int argc, char **argv) {
    struct image_store *s = NULL;
    struct image_info info = {0};
    struct err err = {0};
    struct rusage used;
    if (argc != 3) return 2;
    int r = image_store_open(argv[1], &s, &err);
    if (r == 0) r = image_import(s, STDIN_FILENO, argv[2], &info, &err);
    if (r < 0) printf("%s\n", err.text);
    if (r == 0) image_info_fini(&info);
    if (s) image_store_free(s);
    if (getrusage(RUSAGE_SELF, &used) == 0) fprintf(stderr, "%ld\n", used.ru_maxrss);
    return r < 0;
}
