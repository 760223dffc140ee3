// SPDX-License-Identifier: Apache-2.0
#include "value.h"

#include <arpa/inet.h>
#include <errno.h>

#include "check.h"
#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/words.h"

enum { DNS_NAME_MAX = 253 };

/* --- what the kernel and the image know ------------------------------------------------------ */

int value_image(const char *s, struct err *err) {
    char hex[IMAGE_HEX_MAX];
    auto_free char *full = NULL;
    if (strlen(s) == IMAGE_HEX_LEN && image_is_hex(s, IMAGE_HEX_LEN)) return 0; /* an id */
    return image_name_parse(s, &full, hex, err);
}

int value_user(const char *s, struct err *err) {
    struct words_user w;
    return words_user(s, &w, err);
}

int value_signal(const char *s, struct err *err) {
    int r = words_signal(s, err);
    return r < 0 ? r : 0;
}

int value_capability(const char *s, struct err *err) {
    uint64_t bits;
    return words_capability(s, &bits, err);
}

int value_ulimit(const char *s, struct err *err) {
    int r = words_rlimit(s, err);
    return r < 0 ? r : 0;
}

int value_variable(const char *s, struct err *err) {
    if (*s && !strchr(s, '=')) return 0;
    return err_say(err, -EINVAL, "environment: \"%.80s\" is no variable's name", s);
}

/* --- names ----------------------------------------------------------------------------------- */

static int name(const char *what, const char *s, size_t max, struct err *err) {
    if (check_is_name(s, max)) return 0;
    return err_say(err, -EINVAL,
                   "%s \"%.80s\": letters, digits, - _ and ., at most %zu, a letter or digit first",
                   what, s, max);
}

int value_service(const char *s, struct err *err) {
    return name("service name", s, CHECK_NAME_MAX, err);
}

int value_container(const char *s, struct err *err) {
    return name("container_name", s, DNS_NAME_MAX, err);
}

int value_hostname(const char *s, struct err *err) {
    return name("hostname", s, CHECK_HOSTNAME_MAX, err);
}

int value_alias(const char *s, struct err *err) {
    return name("name", s, DNS_NAME_MAX, err);
}

int value_resource(const char *s, struct err *err) {
    return name("name", s, CHECK_RESOURCE_NAME_MAX, err);
}

/* --- paths and addresses --------------------------------------------------------------------- */

int value_path(const char *s, struct err *err) {
    if (*s == '/' && strlen(s) < CHECK_TEXT_MAX) return 0;
    return err_say(err, -EINVAL, "\"%.200s\" is not an absolute path of at most %d bytes", s,
                   CHECK_TEXT_MAX - 1);
}

int value_target(const char *s, struct err *err) {
    if (check_is_abs_path(s) && s[1]) return 0;
    return err_say(err, -EINVAL, "\"%.200s\" is not an absolute path below /, without \"..\"", s);
}

int value_address(const char *s, struct err *err) {
    unsigned char buf[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1) return 0;
    return err_say(err, -EINVAL, "\"%.80s\" is no IP address", s);
}

int value_ipv4(const char *s, struct err *err) {
    uint32_t address;
    if (str_to_ipv4(s, &address) == 0) return 0;
    return err_say(err, -EINVAL, "\"%.80s\" is no IPv4 address", s);
}

int value_subnet(const char *s, struct err *err) {
    uint32_t subnet, prefix_len;
    if (str_to_cidr4(s, &subnet, &prefix_len) == 0 && prefix_len >= 8 && prefix_len <= 29) return 0;
    return err_say(err, -EINVAL,
                   "subnet \"%.80s\" is not a.b.c.d/n with n of 8 to 29 and no host bits", s);
}

int value_host_address(const char *s, struct err *err) {
    return str_eq(s, "host-gateway") ? 0 : value_address(s, err);
}

static bool is_one_of(const char *s, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(s, words[i])) return true;
    return false;
}

int value_seccomp_action(const char *s, struct err *err) {
    static const char *const words[] = {
        "SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",  "SCMP_ACT_LOG"};
    if (is_one_of(s, words, array_len(words))) return 0;
    return err_say(err, -EINVAL, "seccomp action \"%.60s\" is not supported", s);
}

int value_seccomp_operator(const char *s, struct err *err) {
    static const char *const words[] = {"SCMP_CMP_NE",       "SCMP_CMP_LT", "SCMP_CMP_LE",
                                        "SCMP_CMP_EQ",       "SCMP_CMP_GE", "SCMP_CMP_GT",
                                        "SCMP_CMP_MASKED_EQ"};
    if (is_one_of(s, words, array_len(words))) return 0;
    return err_say(err, -EINVAL, "seccomp operator \"%.60s\" is not supported", s);
}
