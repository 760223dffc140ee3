// SPDX-License-Identifier: Apache-2.0
/* Text -> tree: what is read is within the limits and can be copied and compared. */
#include <stddef.h>
#include <stdint.h>

#include "cli/compose/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void check(const struct cf_node *n, unsigned depth) {
    ensure(depth <= CF_DEPTH);
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        ensure(cf_get(n, n->entries[i].key) == n->entries[i].value); /* no key twice */
        check(n->entries[i].value, depth + 1);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && i < n->n; i++) check(n->items[i], depth + 1);
}

static void read_one(struct compose_project *c, void *arg) {
    const struct input *in = arg;
    int64_t file = cf_file_of_text(c, "fuzz", ".", (const char *) in->data, in->size);
    struct cf_node *documents = cf_new(c, CF_SEQ, NULL);
    if (!cf_yaml_read(c, (uint32_t) file, documents)) ensure(c->n_errors > 0);
    for (uint32_t i = 0; i < documents->n; i++) {
        check(documents->items[i], 0);
        cf_check(c, documents->items[i], &cf_root);
        (void) cf_copy(c, documents->items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct compose_project *c = cf_project_new();
    struct input in = {data, size};
    (void) cf_guard(c, read_one, &in); /* no memory is an answer */
    compose_project_free(c);
    return 0;
}
