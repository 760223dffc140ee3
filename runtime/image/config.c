// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/base/mem.h"
#include "runtime/image/digest.h"
#include "runtime/image/doc.h"
#include "runtime/image/limits.h"
#include "runtime/image/manifest.h"

enum { NS_PER_MS = 1000000 };

void image_config_fini(struct image_config *c) {
    strv_fini(&c->entrypoint);
    strv_fini(&c->cmd);
    strv_fini(&c->env);
    strv_fini(&c->exposed);
    strv_fini(&c->volumes);
    strv_fini(&c->health_test);
    mem_free(c->user);
    mem_free(c->working_dir);
    mem_free(c->stop_signal);
    *c = (struct image_config){0};
}

void image__config_doc_fini(struct image_config_doc *d) {
    image_config_fini(&d->config);
    strv_fini(&d->diff_ids);
    *d = (struct image_config_doc){0};
}

/* Two digits at S into *RET; -EINVAL outside [MIN, MAX]. */
static int two(const char *s, int min, int max, int *ret) {
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9') return -EINVAL;
    int v = (s[0] - '0') * 10 + s[1] - '0';
    if (v < min || v > max) return -EINVAL;
    *ret = v;
    return 0;
}

/* "Z" or "+hh:mm" -> seconds to subtract. */
static int zone(const char *s, int *ret) {
    int h = 0, m = 0;
    *ret = 0;
    if (str_eq(s, "Z") || str_eq(s, "z")) return 0;
    if ((s[0] != '+' && s[0] != '-') || strlen(s) != 6 || s[3] != ':') return -EINVAL;
    if (two(s + 1, 0, 23, &h) < 0 || two(s + 4, 0, 59, &m) < 0) return -EINVAL;
    *ret = (h * 60 + m) * (s[0] == '-' ? -60 : 60);
    return 0;
}

int image__time_parse(const char *text, int64_t *ret_unix_ms) {
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    struct tm t = {0};
    int century = 0, year = 0, offset = 0;
    int64_t ms = 0;
    if (strlen(text) < sizeof shape) return -EINVAL;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] != 'd' && text[i] != shape[i]) return -EINVAL;
    if (two(text, 0, 99, &century) < 0 || two(text + 2, 0, 99, &year) < 0 ||
        two(text + 5, 1, 12, &t.tm_mon) < 0 || two(text + 8, 1, 31, &t.tm_mday) < 0 ||
        two(text + 11, 0, 23, &t.tm_hour) < 0 || two(text + 14, 0, 59, &t.tm_min) < 0 ||
        two(text + 17, 0, 60, &t.tm_sec) < 0)
        return -EINVAL;
    const char *p = text + sizeof shape - 1;
    if (*p == '.') {
        int64_t scale = 100;
        for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10) ms += (*p - '0') * scale;
    }
    if (zone(p, &offset) < 0) return -EINVAL;
    t.tm_year = century * 100 + year - 1900;
    t.tm_mon--;
    *ret_unix_ms = ((int64_t) timegm(&t) - offset) * 1000 + ms;
    return 0;
}

static int copy_string(const json_t *obj, const char *key, char **ret, struct err *err) {
    const char *s = NULL;
    int r = image__doc_string(obj, key, &s, err);
    if (r < 0) return r;
    *ret = mem_strdup(s ? s : "");
    return *ret ? 0 : err_set(err, -ENOMEM, "\"%s\"", key);
}

static int copy_short(const json_t *obj, const char *key, char *ret, size_t size, struct err *err) {
    const char *s = NULL;
    int r = image__doc_string(obj, key, &s, err);
    if (r < 0) return r;
    if (!s || strlen(s) >= size)
        return err_set(err, -EINVAL, "\"%s\" is %s", key, s ? "too long" : "missing");
    memcpy(ret, s, strlen(s) + 1);
    return 0;
}

static int parse_health(const json_t *obj, struct image_config *c, struct err *err) {
    json_t *h = NULL;
    uint64_t retries = 0;
    int r = image__doc_object(obj, "Healthcheck", &h, err);
    if (r < 0 || !h) return r;
    r = image__doc_strv(h, "Test", &c->health_test, err);
    if (r == 0) r = image__doc_u64(h, "Interval", &c->health_interval_ms, err);
    if (r == 0) r = image__doc_u64(h, "Timeout", &c->health_timeout_ms, err);
    if (r == 0) r = image__doc_u64(h, "StartPeriod", &c->health_start_period_ms, err);
    if (r == 0) r = image__doc_u64(h, "Retries", &retries, err);
    if (r < 0) return r;
    if (retries > UINT32_MAX) return err_set(err, -EINVAL, "\"Retries\" is too large");
    c->health_retries = (uint32_t) retries;
    c->health_interval_ms /= NS_PER_MS; /* nanoseconds in the document */
    c->health_timeout_ms /= NS_PER_MS;
    c->health_start_period_ms /= NS_PER_MS;
    if (c->health_test.n && str_eq(c->health_test.v[0], "NONE")) strv_fini(&c->health_test);
    return 0;
}

static int parse_run(const json_t *doc, struct image_config *c, struct err *err) {
    json_t *o = NULL;
    int r = image__doc_object(doc, "config", &o, err);
    if (r == 0) r = image__doc_strv(o, "Entrypoint", &c->entrypoint, err);
    if (r == 0) r = image__doc_strv(o, "Cmd", &c->cmd, err);
    if (r == 0) r = image__doc_strv(o, "Env", &c->env, err);
    if (r == 0) r = image__doc_keys(o, "ExposedPorts", &c->exposed, err);
    if (r == 0) r = image__doc_keys(o, "Volumes", &c->volumes, err);
    if (r == 0) r = copy_string(o, "User", &c->user, err);
    if (r == 0) r = copy_string(o, "WorkingDir", &c->working_dir, err);
    if (r == 0) r = copy_string(o, "StopSignal", &c->stop_signal, err);
    if (r == 0) r = parse_health(o, c, err);
    c->has_entrypoint = c->entrypoint.n > 0;
    c->has_cmd = c->cmd.n > 0;
    return r;
}

static int parse_rootfs(const json_t *doc, struct strv *diff_ids, struct err *err) {
    json_t *o = NULL;
    const char *type = NULL;
    char hex[IMAGE_HEX_MAX];
    int r = image__doc_object(doc, "rootfs", &o, err);
    if (r == 0) r = image__doc_string(o, "type", &type, err);
    if (r == 0) r = image__doc_strv(o, "diff_ids", diff_ids, err);
    if (r < 0) return r;
    if (!type || !str_eq(type, "layers"))
        return err_set(err, -EINVAL, "\"rootfs\" must be of type \"layers\"");
    if (diff_ids->n > IMAGE_LAYERS_MAX)
        return err_set(err, -EINVAL, "more than %d layers", IMAGE_LAYERS_MAX);
    for (size_t i = 0; i < diff_ids->n; i++) {
        r = image_digest_parse(diff_ids->v[i], hex, err);
        if (r < 0) return r;
    }
    return 0;
}

static int config_from(const json_t *doc, struct image_config_doc *d, struct err *err) {
    const char *created = NULL;
    if (!json_is_object(doc)) return err_set(err, -EINVAL, "must be an object");
    int r = copy_short(doc, "architecture", d->arch, sizeof d->arch, err);
    if (r == 0) r = copy_short(doc, "os", d->os, sizeof d->os, err);
    if (r == 0) r = image__doc_string(doc, "created", &created, err);
    if (r < 0) return r;
    if (created && *created && image__time_parse(created, &d->created_unix_ms) < 0)
        return err_set(err, -EINVAL, "\"created\" is no time: \"%.40s\"", created);
    r = parse_rootfs(doc, &d->diff_ids, err);
    return r < 0 ? r : parse_run(doc, &d->config, err);
}

int image__config_parse(const char *data, size_t n, const char *what, struct image_config_doc *ret,
                        struct err *err) {
    auto_json json_t *doc = NULL;
    struct image_config_doc d = {0};
    int r = image__doc_load(data, n, what, &doc, err);
    if (r < 0) return r;
    r = config_from(doc, &d, err);
    if (r < 0) {
        image__config_doc_fini(&d);
        return err_wrap(err, r, "%s", what);
    }
    *ret = d;
    return 0;
}

int image__config_make(const char *diff_hex, const char *cmd, int64_t created_unix_s, char **ret) {
    char created[32] = "1970-01-01T00:00:00Z", diff_id[IMAGE_HEX_MAX + 8];
    time_t when = (time_t) created_unix_s;
    struct tm t;
    if (when > 0 && gmtime_r(&when, &t) && t.tm_year < 8000)
        (void) strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &t);
    (void) snprintf(diff_id, sizeof diff_id, "sha256:%s", diff_hex);
    auto_json json_t *run = json_pack(
        "{s:[s]}", "Env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (*cmd && json_object_set_new(run, "Cmd", json_pack("[s]", cmd)) < 0) return -ENOMEM;
    auto_json json_t *doc = json_pack("{s:s, s:s, s:s, s:O, s:{s:s, s:[s]}}", "created", created,
                                      "architecture", image__arch(), "os", "linux", "config", run,
                                      "rootfs", "type", "layers", "diff_ids", diff_id);
    if (!doc) return -ENOMEM;
    *ret = image__doc_text(doc);
    return *ret ? 0 : -ENOMEM;
}
