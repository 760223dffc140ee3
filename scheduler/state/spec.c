// SPDX-License-Identifier: Apache-2.0
#include "spec.h"

#include <errno.h>
#include <openssl/evp.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

int spec_copy(const Orlop__App *app, uint64_t revision, struct spec **ret) {
    struct spec *p = mem_zalloc(sizeof *p);
    if (!p) return -ENOMEM;
    p->refs = 1;
    p->revision = revision;
    arena_init(&p->arena, SPEC_BUDGET_BYTES);
    p->app = arena_copy(&p->arena, &app->base);
    if (!p->app) {
        spec_unref(p);
        return -ENOMEM;
    }
    *ret = p;
    return 0;
}

struct spec *spec_ref(struct spec *p) {
    p->refs++;
    return p;
}

void spec_unref(struct spec *p) {
    if (!p || --p->refs) return;
    map_fini(&p->by_name);
    arena_fini(&p->arena);
    mem_free(p);
}

const struct spec_service *spec_find(const struct spec *p, const char *service) {
    return map_get(&p->by_name, service);
}

const Orlop__Network *spec_network(const struct spec *p, const char *key) {
    for (size_t i = 0; i < p->app->n_networks; i++)
        if (str_eq(p->app->networks[i]->key, key)) return p->app->networks[i];
    return NULL;
}

const Orlop__Volume *spec_volume(const struct spec *p, const char *key) {
    for (size_t i = 0; i < p->app->n_volumes; i++)
        if (str_eq(p->app->volumes[i]->key, key)) return p->app->volumes[i];
    return NULL;
}

static const Orlop__Content *content(Orlop__Content **list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i]->name, name)) return list[i];
    return NULL;
}

const Orlop__Content *spec_secret(const struct spec *p, const char *name) {
    return content(p->app->secrets, p->app->n_secrets, name);
}

const Orlop__Content *spec_config(const struct spec *p, const char *name) {
    return content(p->app->configs, p->app->n_configs, name);
}

/* --- the hash ------------------------------------------------------------------------------------
 */

static int add_message(EVP_MD_CTX *md, const ProtobufCMessage *m) {
    size_t len;
    auto_free uint8_t *data = pb_pack(m, &len);
    if (!data) return -ENOMEM;
    uint64_t head = len; /* so that two messages never read as one */
    if (!EVP_DigestUpdate(md, &head, sizeof head) || !EVP_DigestUpdate(md, data, len))
        return -ENOMEM;
    return 0;
}

static int add_uses(EVP_MD_CTX *md, const struct spec *p, const Orlop__Service *s) {
    int r = 0;
    for (size_t i = 0; i < s->n_networks && !r; i++) {
        const Orlop__Network *n = spec_network(p, s->networks[i]->network);
        if (n) r = add_message(md, &n->base);
    }
    for (size_t i = 0; i < s->n_mounts && !r; i++) {
        const Orlop__Volume *v = spec_volume(p, s->mounts[i]->source);
        if (s->mounts[i]->kind == ORLOP__MOUNT__KIND__VOLUME && v) r = add_message(md, &v->base);
    }
    for (size_t i = 0; i < s->n_secrets && !r; i++) {
        const Orlop__Content *c = spec_secret(p, s->secrets[i]->source);
        if (c) r = add_message(md, &c->base);
    }
    for (size_t i = 0; i < s->n_configs && !r; i++) {
        const Orlop__Content *c = spec_config(p, s->configs[i]->source);
        if (c) r = add_message(md, &c->base);
    }
    return r;
}

static int hash_service(const struct spec *p, struct spec_service *out) {
    Orlop__Service bare = *out->def; /* shallow: packed and dropped */
    bare.replicas = 0;
    bare.n_service_labels = 0; /* nothing of a task, as is the next */
    bare.update = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int r = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) ? 0 : -ENOMEM;
    if (!r) r = add_message(md, &bare.base);
    if (!r) r = add_uses(md, p, out->def);
    if (!r && !EVP_DigestFinal_ex(md, digest, NULL)) r = -ENOMEM;
    EVP_MD_CTX_free(md);
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; !r && i < (SPEC_HASH_MAX - 1) / 2; i++) {
        out->hash[2 * i] = hex[digest[i] >> 4];
        out->hash[2 * i + 1] = hex[digest[i] & 15];
    }
    return r;
}

int spec_seal(struct spec *p) {
    p->services = arena_alloc(&p->arena, (p->app->n_services + 1) * sizeof *p->services);
    if (!p->services) return -ENOMEM;
    for (size_t i = 0; i < p->app->n_services; i++) {
        struct spec_service *s = &p->services[i];
        s->def = p->app->services[i];
        int r = hash_service(p, s);
        if (r < 0) return r;
        r = map_set(&p->by_name, s->def->name, s);
        if (r < 0) return r;
    }
    return 0;
}
