// SPDX-License-Identifier: Apache-2.0
/* A simple request: unpacked on the loop, run in the pool, answered on the loop. Its job lives
 * until both the work is done and the stream is closed, whichever comes last. */
#include "agent/images.h"

#include <errno.h>

#include "agent/images_internal.h"
#include "bus.pb-c.h"
#include "runtime/base/mem.h"

struct job {
    uv_work_t work;
    struct agent_images *owner;
    struct bus_stream *stream; /* NULL: closed */
    bool working;
    uint32_t method;
    char *name;
    bool force;
    struct strv in_use;

    int result;
    struct err err;
    struct image_info info, *list;
    size_t n;
    struct image_removed removed;
};

int agent_images_new(uv_loop_t *loop, struct image_store *store,
                     void (*in_use)(void *ctx, struct strv *ret), void *ctx,
                     struct agent_images **ret) {
    struct agent_images *a = mem_zalloc(sizeof *a);
    if (!a) return -ENOMEM;
    *a = (struct agent_images){
        .loop = loop, .store = store, .in_use = in_use, .ctx = ctx, .refs = 1};
    *ret = a;
    return 0;
}

void agent_images__unref(struct agent_images *a) {
    ensure(a->refs > 0);
    if (--a->refs == 0) mem_free(a);
}

void agent_images_free(struct agent_images *a) {
    if (!a) return;
    a->in_use = NULL; /* its context goes away now */
    agent_images__unref(a);
}

static void job_free(struct job *j) {
    for (size_t i = 0; i < j->n; i++) image_info_fini(&j->list[i]);
    mem_free(j->list);
    image_info_fini(&j->info);
    image_removed_fini(&j->removed);
    strv_fini(&j->in_use);
    mem_free(j->name);
    agent_images__unref(j->owner);
    mem_free(j);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    (void) body;
    (void) len;
    bus_fail(s, EPROTO, "this request takes no data");
}

static void on_end(void *ctx, struct bus_stream *s) {
    (void) ctx; /* the answer ends the other direction */
    (void) s;
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct job *j = ctx;
    (void) s;
    (void) err;
    j->stream = NULL;
    if (!j->working) job_free(j);
}

static const struct bus_stream_ops job_ops = {.data = on_data, .end = on_end, .closed = on_closed};

/* ---- answers ---- */

static void fill_info(Orlop__ImageInfo *m, const struct image_info *i, const struct strv *in_use) {
    static char empty[] = "";
    union {
        const char *in;
        char *out;
    } digest = {i->digest}, arch = {i->arch}, os = {i->os}; /* protobuf-c has no const */
    orlop__image_info__init(m);
    m->digest = digest.out;
    m->names = i->names.v;
    m->n_names = i->names.n;
    m->size_bytes = i->size_bytes;
    m->created_unix_ms = i->created_unix_ms;
    m->arch = arch.out;
    m->os = os.out;
    m->layers = i->layers.v;
    m->n_layers = i->layers.n;
    m->config_json = i->config_json ? i->config_json : empty;
    m->in_use = in_use && strv_has(in_use, i->digest);
}

void agent_images__answer_info(struct bus_stream *s, int r, const struct err *err,
                               const struct image_info *info, const struct strv *in_use) {
    if (!s) return;
    if (r < 0) {
        bus_fail(s, -r, "%s", err->text[0] ? err->text : err_text(r));
        return;
    }
    Orlop__ImageInfo m;
    fill_info(&m, info, in_use);
    bus_answer_pb(s, &m.base);
}

static void answer_list(struct job *j) {
    Orlop__ImageListAnswer m = ORLOP__IMAGE_LIST_ANSWER__INIT;
    auto_free Orlop__ImageInfo *infos = mem_array(j->n + 1, sizeof *infos);
    auto_free Orlop__ImageInfo **each = mem_array(j->n + 1, sizeof(Orlop__ImageInfo *));
    if (!infos || !each) {
        bus_fail(j->stream, ENOMEM, "no memory for the list of images");
        return;
    }
    for (size_t i = 0; i < j->n; i++) {
        fill_info(&infos[i], &j->list[i], &j->in_use);
        each[i] = &infos[i];
    }
    m.images = each;
    m.n_images = j->n;
    bus_answer_pb(j->stream, &m.base);
}

static void answer_removed(struct job *j) {
    Orlop__ImageRemoveAnswer m = ORLOP__IMAGE_REMOVE_ANSWER__INIT;
    m.untagged = j->removed.untagged.v;
    m.n_untagged = j->removed.untagged.n;
    m.deleted = j->removed.deleted.v;
    m.n_deleted = j->removed.deleted.n;
    m.freed_bytes = j->removed.freed_bytes;
    bus_answer_pb(j->stream, &m.base);
}

static void answer(struct job *j) {
    if (j->result < 0 ||
        (j->method != ORLOP__METHOD__IMAGE_LIST && j->method != ORLOP__METHOD__IMAGE_REMOVE))
        agent_images__answer_info(j->stream, j->result, &j->err, &j->info, &j->in_use);
    else if (j->method == ORLOP__METHOD__IMAGE_LIST)
        answer_list(j);
    else
        answer_removed(j);
}

/* ---- work ---- */

/* A name's digest, names and size; the config only for an inspection. */
static int inspect(struct job *j, bool with_config) {
    int r = image_inspect(j->owner->store, j->name, &j->info, &j->err);
    if (r == 0 && !with_config) mem_free(steal_ptr(&j->info.config_json));
    return r;
}

static void run(uv_work_t *w) {
    struct job *j = container_of(w, struct job, work);
    struct image_store *s = j->owner->store;
    if (j->method == ORLOP__METHOD__IMAGE_LIST)
        j->result = image_list(s, &j->list, &j->n, &j->err);
    else if (j->method == ORLOP__METHOD__IMAGE_REMOVE)
        j->result = image_remove(s, j->name, &j->in_use, j->force, &j->removed, &j->err);
    else
        j->result = inspect(j, j->method == ORLOP__METHOD__IMAGE_INSPECT);
}

static void on_done(uv_work_t *w, int status) {
    struct job *j = container_of(w, struct job, work);
    j->working = false;
    if (status < 0) j->result = err_set(&j->err, status, "images");
    if (!j->stream) {
        job_free(j);
        return;
    }
    answer(j); /* closed() comes later and frees the job */
}

static void start(struct agent_images *a, struct bus_stream *s, uint32_t method,
                  const Orlop__ImageRef *ref) {
    struct job *j = mem_zalloc(sizeof *j);
    if (!j || !(j->name = mem_strdup(ref ? ref->name : ""))) {
        mem_free(j);
        bus_fail(s, ENOMEM, "no memory for the request");
        return;
    }
    j->owner = a;
    j->stream = s;
    j->method = method;
    j->force = ref && ref->force;
    a->refs++;
    bus_stream_accept(s, &job_ops, j);
    if (a->in_use) a->in_use(a->ctx, &j->in_use);
    int r = uv_queue_work(a->loop, &j->work, run, on_done);
    j->working = r == 0;
    if (r < 0) bus_fail(s, -r, "images: %s", err_text(r));
}

static bool is_simple(uint32_t method) {
    return method == ORLOP__METHOD__IMAGE_LIST || method == ORLOP__METHOD__IMAGE_INSPECT ||
           method == ORLOP__METHOD__IMAGE_REMOVE || method == ORLOP__METHOD__IMAGE_RESOLVE;
}

bool agent_images_request(struct agent_images *a, struct bus_stream *s, uint32_t method,
                          const uint8_t *body, size_t len) {
    bool import = method == ORLOP__METHOD__IMAGE_IMPORT;
    if (!import && !is_simple(method)) return false;
    if (method == ORLOP__METHOD__IMAGE_LIST) {
        start(a, s, method, NULL);
        return true;
    }
    struct arena arena;
    arena_init(&arena, AGENT_IMAGES_REQUEST_MAX);
    const void *m = arena_unpack(
        &arena, import ? &orlop__image_import_request__descriptor : &orlop__image_ref__descriptor,
        body, len);
    if (!m)
        bus_fail(s, EBADMSG, "the request is malformed");
    else if (import)
        agent_images__import(a, s, ((const Orlop__ImageImportRequest *) m)->name);
    else
        start(a, s, method, m);
    arena_fini(&arena);
    return true;
}
