// SPDX-License-Identifier: Apache-2.0
/* A whole load and the manifest of it. What loads prints as YAML that loads to the same model; what
 * is a manifest pleases the scheduler's check. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/compose/schema.h"
#include "proto/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int load(const void *text, size_t n, struct compose_project **ret) {
    static char a[] = "A=a", empty[] = "E=", name[40];
    static char *const environment[] = {a, empty, NULL};
    int fd = memfd_create("compose", MFD_CLOEXEC);
    ensure(fd >= 0 && write(fd, text, n) == (ssize_t) n);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    char *files[] = {name}, *profiles[] = {empty};
    profiles[0] = (char[]){"*"};
    struct compose_options o = {.files = {files, 1, 1},
                                .profiles = {profiles, 1, 1},
                                .project_name = "fuzz",
                                .project_directory = "/nonexistent",
                                .environ = environment,
                                .no_path_resolution = true};
    int r = compose_load(&o, ret);
    close(fd);
    return r;
}

static void reload(const struct compose_project *p) {
    char *text = NULL;
    size_t n = 0;
    struct compose_project *again;
    FILE *f = open_memstream(&text, &n);
    if (f && compose_print_yaml(p, f) == 0 && fclose(f) == 0) {
        int r = load(text, n, &again);
        if (r == -EINVAL) {
            compose_print_issues(again, stderr);
            fwrite(text, 1, n, stderr);
        }
        ensure(r == 0 || r == -ENOMEM);
        ensure(r < 0 || cf_equal(p->model, again->model));
        compose_project_free(again);
    }
    free(text);
}

/* Nothing leaves here that the scheduler refuses. */
static void judge(const Orlop__App *app) {
    struct err err = {0};
    int r = check_app(app, &err);
    if (r < 0) fprintf(stderr, "%s\n", err.text);
    ensure(r == 0 || r == -ENOMEM);
    ensure(protobuf_c_message_get_packed_size(&app->base) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct compose_project *p;
    int r = load(data, size, &p);
    const struct compose_issue *issues;
    if (r < 0) ensure(compose_issues(p, &issues) > 0);
    if (r == 0) {
        struct arena a;
        Orlop__App *app;
        reload(p);
        arena_init(&a, 64 << 20);
        r = compose_to_manifest(p, &a, &app);
        if (r == 0) judge(app);
        if (r == -EINVAL) ensure(compose_issues(p, &issues) > 0);
        arena_fini(&a);
    }
    compose_project_free(p);
    return 0;
}
