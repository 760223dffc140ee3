// SPDX-License-Identifier: Apache-2.0
/* A seccomp profile in Docker's JSON, into the manifest, through the scheduler's check, compiled as a
 * node compiles it. What the front end lets through the check takes, too. */
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "cli/compose/manifest.h"
#include "proto/check_service.h"
#include "runtime/container/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct work {
    struct cf_manifest m;
    struct cf_node *root;
    Orlop__SeccompProfile *profile;
};

static void convert(struct compose_project *c, void *arg) {
    struct work *w = arg;
    (void) c;
    w->profile = cf_m_seccomp_of(&w->m, w->root);
}

static void read_it(struct compose_project *c, void *arg) {
    struct work *w = arg;
    struct cf_node *documents = cf_new(c, CF_SEQ, NULL);
    if (cf_yaml_read(c, 1, documents) && documents->n == 1) w->root = documents->items[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct compose_project *c = cf_project_new();
    struct arena a;
    struct err err = {0};
    struct work w = {.m = {.c = c, .a = &a}};
    ensure(c);
    arena_init(&a, 4 << 20);
    int r = cf_file_of_text(c, "profile.json", ".", (const char *) data, size) == 1 ? 0 : -1;
    if (r == 0) r = cf_guard(c, read_it, &w);
    if (r == 0 && w.root) r = cf_guard(c, convert, &w);
    if (r == 0 && w.profile && c->n_errors == 0) {
        if (check__seccomp(w.profile, &err) == 0) {
            int fd = prepare_seccomp_profile(w.profile, size & 1 ? ~UINT64_C(0) : 0, &err);
            if (fd >= 0) close(fd);
        }
    }
    arena_fini(&a);
    compose_project_free(c);
    return 0;
}
