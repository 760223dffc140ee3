// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "image_import.h"
#include "list.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "image ls [OPTIONS]",
                                      .summary = "List the images of this machine."};
static const struct usage import_usage = {.line = "image import [OPTIONS] FILE|DIR|- [NAME]",
                                          .summary =
                                              "Take an image in: an OCI layout (directory or tar), "
                                              "a 'docker save' archive, or a root file\n"
                                              "system (directory or tar). '-' reads a tar from the "
                                              "standard input. NAME names it; without one\n"
                                              "the name in the archive is used.",
                                          .min = 1,
                                          .max = 2};
static const struct usage inspect_usage = {.line = "image inspect IMAGE",
                                           .summary = "Show everything about an image, as JSON.",
                                           .min = 1,
                                           .max = 1};
static const struct usage rm_usage = {.line = "image rm [OPTIONS] IMAGE...",
                                      .summary =
                                          "Remove images. One that a container uses is refused.",
                                      .min = 1,
                                      .max = -1};

enum { DIGEST_SHOWN = 19 }; /* "sha256:" and twelve digits */

static void print_table(const void *answer) {
    const Orlop__ImageListAnswer *a = answer;
    static const char *const head[] = {"IMAGE", "DIGEST", "SIZE", "ARCH", "IN USE", "CREATED"};
    struct table_out t;
    char size[RENDER_BYTES_MAX], age[RENDER_AGE_MAX];
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < a->n_images; i++) {
        const Orlop__ImageInfo *m = a->images[i];
        for (size_t k = 0; k < (m->n_names ? m->n_names : 1); k++) {
            table_cell(&t, "%s", m->n_names ? m->names[k] : "<none>");
            table_cell(&t, "%.*s", DIGEST_SHOWN, m->digest);
            table_cell(&t, "%s", render_bytes(m->size_bytes, size));
            table_cell(&t, "%s", m->arch);
            table_cell(&t, "%s", m->in_use ? "yes" : "no");
            table_cell(&t, "%s", render_age(m->created_unix_ms, age));
        }
    }
    table_print(&t);
}

static int image_ls(struct cli *cli, int argc, char **argv) {
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    const struct list_verb verb = {
        .usage = &ls_usage,
        .method = ORLOP__METHOD__IMAGE_LIST,
        .request = &q.base,
        .answer = &orlop__image_list_answer__descriptor,
        .table = print_table,
    };
    return list_run(cli, &verb, argc, argv);
}

static int image_import(struct cli *cli, int argc, char **argv) {
    struct args args;
    bool quiet = false;
    const struct opt opts[] = {{'q', "quiet", NULL, OPT_FLAG, &quiet, "only the digest"}, {0}};
    int r = args_parse(cli, &import_usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    r = client_open(cli, &c);
    if (!r) r = image_import_run(c, args.operands[0], args.n > 1 ? args.operands[1] : NULL, quiet);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static int image_inspect(struct cli *cli, int argc, char **argv) {
    struct args args;
    int r = args_parse(cli, &inspect_usage, NULL, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__ImageRef q = ORLOP__IMAGE_REF__INIT;
    q.name = args.operands[0];
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__IMAGE_INSPECT, &q.base, &orlop__image_info__descriptor,
                        &a, &answer);
    if (!r) {
        json_t *j = render_json_of(answer);
        json_t *config = json_loads(((const Orlop__ImageInfo *) answer)->config_json, 0, NULL);
        if (config) ensure(json_object_set_new(j, "config", config) == 0);
        (void) json_object_del(j, "config_json"); /* -1: it was not there */
        r = render_json(j);
    }
    arena_fini(&a);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static int image_rm(struct cli *cli, int argc, char **argv) {
    struct args args;
    bool force = false;
    const struct opt opts[] = {{'f', "force", NULL, OPT_FLAG, &force, "remove all names of it"},
                               {0}};
    int r = args_parse(cli, &rm_usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    r = client_open(cli, &c);
    for (int i = 0; i < args.n && c; i++) {
        Orlop__ImageRef q = ORLOP__IMAGE_REF__INIT;
        q.name = args.operands[i];
        q.force = force;
        void *answer;
        char freed[RENDER_BYTES_MAX];
        int one = client_call(c, ORLOP__METHOD__IMAGE_REMOVE, &q.base,
                              &orlop__image_remove_answer__descriptor, &a, &answer);
        if (one) {
            r = one;
            continue;
        }
        const Orlop__ImageRemoveAnswer *done = answer;
        for (size_t k = 0; k < done->n_untagged; k++) printf("untagged %s\n", done->untagged[k]);
        for (size_t k = 0; k < done->n_deleted; k++) printf("deleted %s\n", done->deleted[k]);
        if (done->freed_bytes) printf("freed %s\n", render_bytes(done->freed_bytes, freed));
    }
    arena_fini(&a);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static const struct verb verbs[] = {{"ls", "list the images", image_ls},
                                    {"import", "take an image in", image_import},
                                    {"inspect", "show everything about an image", image_inspect},
                                    {"rm", "remove images", image_rm},
                                    {0}};

int cmd_image(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
