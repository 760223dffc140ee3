// SPDX-License-Identifier: Apache-2.0
/* Secrets and configs: their bytes are read here, and nowhere else kept or shown. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "load.h"
#include "manifest.h"
#include "runtime/base/fd.h"

enum { CONTENT_MAX = 500 << 10 };

static void digest(struct cf_manifest *m, Orlop__Content *o) {
    unsigned char sum[32];
    unsigned len = sizeof sum;
    char *text = cf_m_alloc(m, sizeof "sha256:" + sizeof sum * 2);
    if (EVP_Digest(o->data.data, o->data.len, sum, &len, EVP_sha256(), NULL) != 1)
        cf_no_memory(m->c);
    memcpy(text, "sha256:", 7);
    for (size_t i = 0; i < sizeof sum; i++) snprintf(text + 7 + i * 2, 3, "%02x", sum[i]);
    o->digest = text;
}

static void set_data(struct cf_manifest *m, Orlop__Content *o, const void *data, size_t len) {
    o->data.data = cf_m_alloc(m, len);
    o->data.len = len;
    if (len) memcpy(o->data.data, data, len);
}

static void read_file(struct cf_manifest *m, Orlop__Content *o, const struct cf_node *n) {
    struct compose_project *c = m->c;
    const char *full = cf_path_expand(c, n->s);
    int r =
        full ? fd_read_file(AT_FDCWD, full, CONTENT_MAX, &c->pending, &c->pending_len) : -ENOENT;
    if (r == -EFBIG) {
        cf_issue(c, n, "size", "%.300s is larger than %d KiB", n->s, CONTENT_MAX >> 10);
    } else if (r < 0) {
        cf_issue(c, n, "io", "cannot read %.300s: %s", n->s, err_text(r));
    } else {
        set_data(m, o, c->pending,
                 c->pending_len); /* c->pending is freed with the project when this jumps */
        explicit_bzero(c->pending, c->pending_len);
        mem_free(c->pending);
        c->pending = NULL;
    }
}

static void read_content(struct cf_manifest *m, Orlop__Content *o, const struct cf_node *n) {
    const struct cf_node *file = cf_get(n, "file"), *env = cf_get(n, "environment");
    const struct cf_node *content = cf_get(n, "content");
    if (file) read_file(m, o, file);
    if (content) set_data(m, o, content->s, strlen(content->s));
    const char *value = env ? cf_env_get(cf_file(m->c, env->file)->env, env->s) : NULL;
    if (value)
        set_data(m, o, value, strlen(value));
    else if (env)
        cf_issue(m->c, env, "environment", "environment variable \"%.100s\" is not set", env->s);
}

static Orlop__Content *make(struct cf_manifest *m, const char *name, const struct cf_node *n) {
    Orlop__Content *o = cf_m_alloc(m, sizeof *o);
    orlop__content__init(o);
    o->name = cf_m_text(m, name);
    read_content(m, o, n);
    digest(m, o);
    return o;
}

void cf_m_contents(struct cf_manifest *m) {
    static const char *const sections[] = {"secrets", "configs"};
    for (size_t s = 0; s < array_len(sections); s++) {
        const struct cf_node *map = cf_get(m->model, sections[s]);
        for (uint32_t i = 0; map && i < map->n; i++) {
            if (!cf_is_used(m->model, sections[s], map->entries[i].key)) continue;
            Orlop__Content *o = make(m, map->entries[i].key, map->entries[i].value);
            if (s == 0)
                CF_M_ADD(m, m->app->secrets, m->app->n_secrets, o);
            else
                CF_M_ADD(m, m->app->configs, m->app->n_configs, o);
        }
    }
}
