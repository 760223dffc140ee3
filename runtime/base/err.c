// SPDX-License-Identifier: Apache-2.0
#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *err_text(int code) {
    int e = code < 0 ? -code : code;
    const char *s = strerrordesc_np(e);
    return s ? s : "unknown error";
}

static void append(struct err *err, const char *s) {
    size_t have = strlen(err->text);
    size_t n = strnlen(s, sizeof err->text - have - 1);
    memcpy(err->text + have, s, n);
    err->text[have + n] = 0;
}

printf_like(3, 0) static int say(struct err *err, int code, const char *fmt, va_list ap) {
    if (err) {
        err->code = code;
        if (vsnprintf(err->text, sizeof err->text, fmt, ap) < 0) err->text[0] = 0;
    }
    return code;
}

int err_say(struct err *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_set(struct err *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say(err, code, fmt, ap);
    va_end(ap);
    if (err && code != -EINVAL && code != -EBADMSG) {
        append(err, ": ");
        append(err, err_text(code));
    }
    return code;
}

int err_wrap(struct err *err, int code, const char *fmt, ...) {
    if (!err) return code;
    char inner[ERR_TEXT_MAX];
    memcpy(inner, err->text, sizeof inner);
    if (err->code == 0) strncpy(inner, err_text(code), sizeof inner - 1);
    inner[sizeof inner - 1] = 0;
    va_list ap;
    va_start(ap, fmt);
    say(err, code, fmt, ap);
    va_end(ap);
    append(err, ": ");
    append(err, inner);
    return code;
}

void err_ensure_failed(const char *what, const char *file, int line) {
    dprintf(2, "orlop: bug: %s:%d: %s does not hold\n", file, line, what);
    abort();
}
