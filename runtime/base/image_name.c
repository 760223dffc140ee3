// SPDX-License-Identifier: Apache-2.0
#include "image_name.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "mem.h"
#include "str.h"

static const char hub[] = "docker.io/";
static const char hub_library[] = "docker.io/library/";
enum { NAME_MAX_BYTES = 255, TAG_MAX_BYTES = 128, TEXT_MAX_BYTES = 512 };

bool image_is_hex(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
    return s[n] == 0;
}

int image_digest_parse(const char *text, char ret_hex[static IMAGE_HEX_MAX], struct err *err) {
    static const char prefix[] = "sha256:";
    const char *hex = text + sizeof prefix - 1;
    if (!str_starts(text, prefix))
        return err_set(err, -EINVAL, "\"%.80s\" is no sha256 digest; others are not supported",
                       text);
    if (strlen(hex) != IMAGE_HEX_LEN || !image_is_hex(hex, IMAGE_HEX_LEN))
        return err_set(err, -EINVAL, "\"%.80s\" is no digest: 64 hexadecimal digits are needed",
                       text);
    memcpy(ret_hex, hex, IMAGE_HEX_MAX);
    return 0;
}

static bool lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* One component of the path: [a-z0-9]+ joined by '.', '_', '__' or any number of '-'. */
static bool component_ok(const char *s, size_t n) {
    if (n == 0 || !lower_or_digit(s[0]) || !lower_or_digit(s[n - 1])) return false;
    for (size_t i = 0; i < n; i++) {
        if (lower_or_digit(s[i])) continue;
        size_t run = 1;
        while (i + run < n && s[i + run] == s[i]) run++;
        if (s[i] == '.' ? run > 1 : s[i] == '_' ? run > 2 : s[i] != '-') return false;
        i += run;
        if (!lower_or_digit(s[i])) return false; /* in range: the last one is a letter or digit */
    }
    return true;
}

static bool path_ok(const char *s, size_t n) {
    for (size_t start = 0;;) {
        const char *slash = memchr(s + start, '/', n - start);
        size_t end = slash ? (size_t) (slash - s) : n;
        if (!component_ok(s + start, end - start)) return false;
        if (!slash) return true;
        start = end + 1;
    }
}

/* host[:port]; IPv6 addresses in brackets are left to the registry client. */
static bool registry_ok(const char *s, size_t n) {
    size_t i = 0;
    bool label = false;
    for (; i < n && s[i] != ':'; i++) {
        bool alnum = isalnum((unsigned char) s[i]) != 0;
        if (!alnum && !(label && (s[i] == '-' || s[i] == '.'))) return false;
        label = alnum || s[i] == '-';
    }
    if (!label || s[i - 1] == '-') return false;
    if (i == n) return true;
    size_t digits = n - i - 1;
    for (size_t k = i + 1; k < n; k++)
        if (s[k] < '0' || s[k] > '9') return false;
    return digits >= 1 && digits <= 5;
}

static bool tag_ok(const char *s, size_t n) {
    if (n == 0 || n > TAG_MAX_BYTES || s[0] == '.' || s[0] == '-') return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char) s[i]) && !strchr("_.-", s[i])) return false;
    return true;
}

/* Length of the registry before the first '/', 0 = none is named. */
static size_t registry_len(const char *s, size_t n) {
    const char *slash = memchr(s, '/', n);
    if (!slash) return 0;
    size_t len = (size_t) (slash - s);
    if (len == 9 && memcmp(s, "localhost", 9) == 0) return len;
    for (size_t i = 0; i < len; i++)
        if (s[i] == '.' || s[i] == ':' || isupper((unsigned char) s[i])) return len;
    return 0;
}

static int bad(const char *text, const char *why, struct err *err) {
    return err_set(err, -EINVAL, "\"%.100s\" is no image name: %s", text, why);
}

/* NAME is what stands before the tag: registry and path. */
static char *full_name(const char *name, size_t n, const char *tag, size_t tag_n) {
    size_t reg = registry_len(name, n);
    const char *path = reg ? name + reg + 1 : name;
    size_t path_n = reg ? n - reg - 1 : n;
    bool is_hub = reg == 0 || (reg == 9 && memcmp(name, "docker.io", 9) == 0) ||
                  (reg == 15 && memcmp(name, "index.docker.io", 15) == 0);
    const char *library = is_hub && !memchr(path, '/', path_n) ? "library/" : "";
    return mem_printf("%.*s/%s%.*s:%.*s", is_hub ? 9 : (int) reg, is_hub ? hub : name, library,
                      (int) path_n, path, (int) tag_n, tag);
}

int image_name_parse(const char *text, char **ret, char *ret_hex, struct err *err) {
    size_t n = strnlen(text, TEXT_MAX_BYTES + 1);
    if (n == 0) return bad(text, "it is empty", err);
    if (n > TEXT_MAX_BYTES) return bad(text, "it is too long", err);
    const char *at = strchr(text, '@');
    char hex[IMAGE_HEX_MAX] = "";
    if (at && !ret_hex) return bad(text, "a digest is not allowed here", err);
    if (at) {
        int r = image_digest_parse(at + 1, hex, err);
        if (r < 0) return r;
        n = (size_t) (at - text);
    }
    const char *slash = memrchr(text, '/', n);
    const char *last = slash ? slash + 1 : text;
    const char *colon = memchr(last, ':', n - (size_t) (last - text));
    const char *tag = "latest";
    size_t tag_n = 6, name_n = n;
    if (colon) {
        name_n = (size_t) (colon - text);
        tag = colon + 1;
        tag_n = n - name_n - 1;
    }
    size_t reg = registry_len(text, name_n);
    if (!tag_ok(tag, tag_n)) return bad(text, "the tag behind ':' is not valid", err);
    if (reg && !registry_ok(text, reg)) return bad(text, "the registry is not valid", err);
    size_t skip = reg ? reg + 1 : 0;
    if (!path_ok(text + skip, name_n - skip))
        return bad(text, "use lower-case letters, digits and single separators", err);
    if (!reg && name_n == IMAGE_HEX_LEN && !colon && image_is_hex(text, IMAGE_HEX_LEN))
        return bad(text, "64 hexadecimal digits would be taken for a digest", err);
    char *full = full_name(text, name_n, tag, tag_n);
    if (!full) return err_set(err, -ENOMEM, "image name");
    if (strlen(full) - tag_n - 1 > NAME_MAX_BYTES) {
        mem_free(full);
        return bad(text, "it is too long", err);
    }
    *ret = full;
    if (ret_hex) memcpy(ret_hex, hex, sizeof hex);
    return 0;
}

const char *image_name_short(const char *full) {
    if (str_starts(full, hub_library)) return full + sizeof hub_library - 1;
    if (str_starts(full, hub)) return full + sizeof hub - 1;
    return full;
}
