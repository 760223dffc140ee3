// SPDX-License-Identifier: Apache-2.0
/* cli/compose/manifest.h - the canonical model -> Orlop__App, in parts.
 *
 * Owns     what goes into the manifest lies in the caller's arena; when that is full the conversion
 *          leaves by cf_no_memory() like everything of this folder.
 */
#ifndef ORLOP_CLI_COMPOSE_MANIFEST_H
#define ORLOP_CLI_COMPOSE_MANIFEST_H

#include "schema.h"

struct cf_manifest {
    struct compose_project *c;
    struct arena *a;
    const struct cf_node *model;
    Orlop__App *app;
    struct cf_node *visited;   /* services whose volumes the one at hand has taken */
    struct cf_node *published; /* "tcp/80" -> list of the host addresses it is published on */
};

void *cf_m_alloc(struct cf_manifest *m, size_t n);     /* zeroed */
char *cf_m_text(struct cf_manifest *m, const char *s); /* "" for NULL */
/* A list of pointers with room for one more than its N, by doubling. */
void *cf_m_grow(struct cf_manifest *m, void *list, size_t n);
#define CF_M_ADD(m, list, n, item)                                                                 \
    do {                                                                                           \
        (list) = cf_m_grow((m), (list), (n));                                                      \
        (list)[(n)++] = (item);                                                                    \
    } while (0)

/* NODE is something that Orlop does not do: an issue, or a warning in permissive mode. */
void cf_refuse(struct compose_project *c, const struct cf_node *n, const char *fmt, ...)
    printf_like(3, 4);
/* What VALUE of proto/value.h has to say about S is an issue at N. */
void cf_look_at_value(struct compose_project *c, const struct cf_node *n, const char *s,
                      int (*value)(const char *s, struct err *err));
/* Every key of the model whose row says so. */
void cf_refuse_keys(struct compose_project *c, const struct cf_node *n, const struct cf_key *k);

uint64_t cf_m_ms(struct cf_manifest *m, const struct cf_node *map,
                 const char *key); /* of a duration */
/* A number of 0 to MAX; 0 for NULL. */
uint64_t cf_m_amount(struct cf_manifest *m, const struct cf_node *n, const char *what,
                     uint64_t max);
uint32_t cf_m_mode(struct cf_manifest *m, const struct cf_node *map); /* its key "mode" */
void cf_m_pairs(struct cf_manifest *m, const struct cf_node *map, Orlop__KeyValue ***list,
                size_t *n);
void cf_m_texts(struct cf_manifest *m, const struct cf_node *seq, char ***list, size_t *n);
void cf_m_contents(struct cf_manifest *m);
void cf_m_mounts(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service);
void cf_m_ports(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service);
void cf_m_policies(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service);
/* After the policies. */
void cf_m_deploy(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service);
void cf_m_runtime(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service);
/* The profile in the file PATH, which the option AT names; NULL after issues. */
Orlop__SeccompProfile *cf_m_seccomp(struct cf_manifest *m, const struct cf_node *at,
                                    const char *path);
Orlop__SeccompProfile *cf_m_seccomp_of(struct cf_manifest *m, const struct cf_node *document);
void cf_m_service(struct cf_manifest *m, const char *name, const struct cf_node *service);

#endif
