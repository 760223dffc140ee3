// SPDX-License-Identifier: Apache-2.0
/* Names, digests and the JSON documents of images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "runtime/base/buf.h"
#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/image/config.h"
#include "runtime/image/doc.h"
#include "runtime/image/limits.h"
#include "runtime/image/manifest.h"
#include "runtime/image/path.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_reference_is_read_as_docker_does(void **state) {
    (void) state;
    static const char *const cases[][3] = {
        /* text, full, short */
        {"nginx", "docker.io/library/nginx:latest", "nginx:latest"},
        {"nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"},
        {"docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
        {"index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"},
        {"me/app:v1.0_x-y", "docker.io/me/app:v1.0_x-y", "me/app:v1.0_x-y"},
        {"localhost/a", "localhost/a:latest", "localhost/a:latest"},
        {"localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"},
        {"ghcr.io/o/r", "ghcr.io/o/r:latest", "ghcr.io/o/r:latest"},
        {"host:80", "docker.io/library/host:80", "host:80"},
        {"REG/a", "REG/a:latest", "REG/a:latest"},
        {"a__b/c---d/e.f_g", "docker.io/a__b/c---d/e.f_g:latest", "a__b/c---d/e.f_g:latest"},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        auto_free char *full = NULL;
        assert_int_equal(image_name_parse(cases[i][0], &full, NULL, NULL), 0);
        assert_string_equal(full, cases[i][1]);
        assert_string_equal(image_name_short(full), cases[i][2]);
    }
}

static void test_reference_that_is_no_name_is_refused(void **state) {
    (void) state;
    static const char *const bad[] = {
        "",
        "Nginx",
        "a b",
        "a/",
        "/a",
        "a//b",
        "a:",
        "a:.x",
        "a:-x",
        "a@",
        "a@sha256",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a_-b",
        "../a",
        "a/../b",
        "x.y:port/a",
        "x.y:/a",
        "-x.y/a",
        "x..y/a/",
        "a\nb",
        "a:b/c:d:e",
        ("a:" HEX HEX HEX),
        HEX,
        "a.b:123456/c",
        "\xc3\xa9",
        "a@sha512:" HEX,
    };
    for (size_t i = 0; i < array_len(bad); i++) {
        char *full = NULL;
        char hex[65];
        struct err err = {0};
        if (image_name_parse(bad[i], &full, hex, &err) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_null(full);
        assert_true(strlen(err.text) > 10);
    }
}

/* Found by fuzzing: the limit is that of the full name, else it would not be a name itself. */
static void test_reference_full_name_is_a_name(void **state) {
    (void) state;
    char text[300];
    for (size_t n = 230; n < 260; n++) {
        auto_free char *full = NULL;
        auto_free char *again = NULL;
        memset(text, 'a', n);
        text[n] = 0;
        int r = image_name_parse(text, &full, NULL, NULL);
        assert_int_equal(r, n <= 255 - strlen("docker.io/library/") ? 0 : -EINVAL);
        if (r == 0) assert_int_equal(image_name_parse(full, &again, NULL, NULL), 0);
    }
}

static void test_reference_with_digest_gives_both(void **state) {
    (void) state;
    auto_free char *full = NULL;
    char hex[65] = "";
    assert_int_equal(image_name_parse("a:b@sha256:" HEX, &full, hex, NULL), 0);
    assert_string_equal(full, "docker.io/library/a:b");
    assert_string_equal(hex, HEX);
    char *other = NULL;
    assert_int_equal(image_name_parse("a@sha256:" HEX, &other, NULL, NULL), -EINVAL);
}

static void test_path_clean_makes_plain_or_refuses(void **state) {
    (void) state;
    static const char *const good[][2] = {
        {"a", "a"}, {"./a/b/", "a/b"}, {"/a", "a"},    {"a//./b", "a/b"},  {"./", ""},
        {"/", ""},  {"", ""},          {"...", "..."}, {"a/..b", "a/..b"},
    };
    static const char *const bad[] = {"..", "../a", "a/..", "a/../b", "/..", "./../x"};
    char out[IMAGE_PATH_BYTES_MAX + 1];
    for (size_t i = 0; i < array_len(good); i++) {
        assert_int_equal(image__path_clean(good[i][0], out, NULL), 0);
        assert_string_equal(out, good[i][1]);
    }
    for (size_t i = 0; i < array_len(bad); i++)
        assert_int_equal(image__path_clean(bad[i], out, NULL), -EINVAL);
}

static int load(const char *text, size_t n) {
    auto_json json_t *j = NULL;
    struct err err = {0};
    int r = image__doc_load(text, n, "test", &j, &err);
    assert_true(r == 0 || str_starts(err.text, "test: "));
    return r;
}

/* Size and depth are bounded before the parser runs. */
static void test_doc_hostile_text_is_refused(void **state) {
    (void) state;
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"a\":\"\\u0000\"}",
        "[\"\xff\"]",
        "{} x",
        "{\"a\":99999999999999999999}",
        "nul",
        "1",
    };
    for (size_t i = 0; i < array_len(bad); i++)
        assert_int_equal(load(bad[i], strlen(bad[i])), -EINVAL);
    struct buf b;
    buf_init(&b, IMAGE_JSON_MAX + 100);
    for (int i = 0; i < 100000; i++) buf_putc(&b, '[');
    assert_int_equal(load(b.data, b.len), -EINVAL);
    buf_reset(&b);
    while (b.len <= IMAGE_JSON_MAX) buf_puts(&b, "                ");
    assert_int_equal(load(b.data, b.len), -EFBIG);
    buf_reset(&b);
    for (int i = 0; i < IMAGE_JSON_DEPTH_MAX; i++) buf_putc(&b, '[');
    buf_puts(&b, "\"[[[[\\\"[[\"");
    for (int i = 0; i < IMAGE_JSON_DEPTH_MAX; i++) buf_putc(&b, ']');
    assert_int_equal(load(b.data, b.len), 0);
    buf_fini(&b);
}

#define DESCRIPTOR(type) "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" HEX "\",\"size\":7}"
#define CONFIG DESCRIPTOR(IMAGE_TYPE_CONFIG)
#define LAYER DESCRIPTOR(IMAGE_TYPE_LAYER)

static void test_manifest_good_is_read(void **state) {
    (void) state;
    static const char text[] = "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER
                               "," DESCRIPTOR(IMAGE_TYPE_LAYER_GZIP) "]}";
    struct image_manifest m = {0};
    assert_int_equal(image__manifest_parse(text, sizeof text - 1, "m", &m, NULL), 0);
    assert_int_equal(m.n_layers, 2);
    assert_string_equal(m.layers[1].hex, HEX);
    assert_int_equal(m.layers[1].size, 7);
    assert_string_equal(m.type, IMAGE_TYPE_MANIFEST);
    image__manifest_fini(&m);
}

static void test_manifest_doubtful_is_refused(void **state) {
    (void) state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"schemaVersion\":1,\"config\":" CONFIG ",\"layers\":[" LAYER "]}",
        "{\"schemaVersion\":2,\"layers\":[" LAYER "]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG "}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[1]}",
        "{\"schemaVersion\":2,\"config\":" LAYER ",\"layers\":[" LAYER "]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" CONFIG "]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER "],\"manifests\":[]}",
        "{\"schemaVersion\":2,\"mediaType\":\"" IMAGE_TYPE_INDEX "\",\"config\":" CONFIG
        ",\"layers\":[" LAYER "]}",
        "{\"schemaVersion\":2,\"mediaType\":5,\"config\":" CONFIG ",\"layers\":[" LAYER "]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG
        ",\"layers\":[" DESCRIPTOR("application/vnd.oci.image.layer.nondistributable.v1.tar") "]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"" IMAGE_TYPE_LAYER
        "\",\"digest\":\"sha256:../../../../etc/passwd\",\"size\":1}]}",
        "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"" IMAGE_TYPE_LAYER
        "\",\"digest\":\"sha256:" HEX "\",\"size\":-1}]}",
    };
    for (size_t i = 0; i < array_len(bad); i++) {
        struct image_manifest m = {0};
        struct err err = {0};
        if (image__manifest_parse(bad[i], strlen(bad[i]), "m", &m, &err) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
        assert_null(m.layers);
        assert_true(str_starts(err.text, "m: "));
    }
}

static void test_index_with_layers_is_refused(void **state) {
    (void) state;
    static const char *const bad[] = {
        "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
        "{\"schemaVersion\":2,\"manifests\":[],\"config\":{}}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"manifests\":[" LAYER ",null]}",
    };
    for (size_t i = 0; i < array_len(bad); i++) {
        struct image_index_doc d = {0};
        assert_int_equal(image__index_parse(bad[i], strlen(bad[i]), "i", &d, NULL), -EINVAL);
    }
}

static void test_config_full_is_read(void **state) {
    (void) state;
    static const char text[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-02-03T04:05:06.789+02:"
        "00\","
        "\"config\":{\"Entrypoint\":[\"/e\"],\"Cmd\":null,\"Env\":[\"A=1\",\"B=2\"],"
        "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"Volumes\":{\"/data\":{}},"
        "\"User\":\"u:g\",\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGQUIT\","
        "\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":5000000000,\"Retries\":3}},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}}";
    struct image_config_doc c = {0};
    assert_int_equal(image__config_parse(text, sizeof text - 1, "c", &c, NULL), 0);
    assert_true(c.created_unix_ms == INT64_C(1706925906789));
    assert_true(c.config.has_entrypoint);
    assert_false(c.config.has_cmd);
    assert_string_equal(c.config.env.v[1], "B=2");
    assert_string_equal(c.config.exposed.v[0], "80/tcp");
    assert_string_equal(c.config.volumes.v[0], "/data");
    assert_string_equal(c.config.user, "u:g");
    assert_string_equal(c.config.stop_signal, "SIGQUIT");
    assert_int_equal(c.config.health_interval_ms, 5000);
    assert_int_equal(c.config.health_retries, 3);
    assert_string_equal(c.diff_ids.v[0], "sha256:" HEX);
    image__config_doc_fini(&c);
}

static void test_config_of_wrong_types_is_refused(void **state) {
    (void) state;
    static const char *const run[] = {
        "\"Entrypoint\":\"/e\"",
        "\"Cmd\":[1]",
        "\"Env\":{}",
        "\"User\":0",
        "\"ExposedPorts\":[]",
        "\"Volumes\":\"\"",
        "\"Healthcheck\":[]",
        "\"StopSignal\":[]",
        "\"Healthcheck\":{\"Retries\":4294967296}",
        "\"Healthcheck\":{\"Interval\":-1}",
    };
    char text[512];
    struct image_config_doc c = {0};
    for (size_t i = 0; i < array_len(run); i++) {
        int n = snprintf(text, sizeof text,
                         "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{%s},"
                         "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
                         run[i]);
        if (image__config_parse(text, (size_t) n, "c", &c, NULL) != -EINVAL)
            fail_msg("%s was taken", run[i]);
    }
    static const char *const whole[] = {
        "{\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
        "{\"architecture\":\"amd64\",\"os\":\"linux\"}",
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"x\",\"diff_ids\":[]}}",
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
        "\"diff_ids\":[\"sha256:../..\"]}}",
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"yesterday\","
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
    };
    for (size_t i = 0; i < array_len(whole); i++)
        if (image__config_parse(whole[i], strlen(whole[i]), "c", &c, NULL) != -EINVAL)
            fail_msg("%s was taken", whole[i]);
}

static void test_time_parse_is_strict(void **state) {
    (void) state;
    int64_t ms = 0;
    assert_int_equal(image__time_parse("1970-01-01T00:00:01Z", &ms), 0);
    assert_true(ms == 1000);
    assert_int_equal(image__time_parse("2000-02-29T23:59:59.5-01:30", &ms), 0);
    assert_true(ms == INT64_C(951874199500));
    static const char *const bad[] = {"",
                                      "1970-01-01",
                                      "1970-13-01T00:00:00Z",
                                      "1970-01-01 00:00:00Z",
                                      "1970-01-01T00:00:00",
                                      "1970-01-01T00:00:00+1:00",
                                      "x970-01-01T00:00:00Z"};
    for (size_t i = 0; i < array_len(bad); i++)
        assert_int_equal(image__time_parse(bad[i], &ms), -EINVAL);
}

static void test_config_parse_survives_every_failed_allocation(void **state) {
    (void) state;
    static const char text[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/e\"],"
        "\"Cmd\":[\"a\"],\"Env\":[\"A=1\"],\"ExposedPorts\":{\"80/tcp\":{}}},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}}";
    for (unsigned long nth = 1;; nth++) {
        struct image_config_doc c = {0};
        mem_fail_after(nth);
        int r = image__config_parse(text, sizeof text - 1, "c", &c, NULL);
        mem_fail_after(0);
        if (r == 0) {
            image__config_doc_fini(&c);
            assert_true(nth > 8);
            return;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_read_as_docker_does),
        cmocka_unit_test(test_reference_that_is_no_name_is_refused),
        cmocka_unit_test(test_reference_full_name_is_a_name),
        cmocka_unit_test(test_reference_with_digest_gives_both),
        cmocka_unit_test(test_path_clean_makes_plain_or_refuses),
        cmocka_unit_test(test_doc_hostile_text_is_refused),
        cmocka_unit_test(test_manifest_good_is_read),
        cmocka_unit_test(test_manifest_doubtful_is_refused),
        cmocka_unit_test(test_index_with_layers_is_refused),
        cmocka_unit_test(test_config_full_is_read),
        cmocka_unit_test(test_config_of_wrong_types_is_refused),
        cmocka_unit_test(test_time_parse_is_strict),
        cmocka_unit_test(test_config_parse_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
