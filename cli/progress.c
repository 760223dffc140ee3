// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "runtime/base/mem.h"

enum { SCREEN_MAX = 1 << 20, COLUMNS_DEFAULT = 80, TEXT_MAX = 512 };

void progress_begin(struct progress *p) {
    const char *term = getenv("TERM");
    *p = (struct progress){0};
    p->terminal = isatty(STDERR_FILENO) && term && !str_eq(term, "dumb");
    buf_init(&p->next, SCREEN_MAX);
}

static int columns(void) {
    struct winsize w = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col < 20) return COLUMNS_DEFAULT;
    return w.ws_col;
}

/* One line of the screen: never wider than it, or the redrawing would climb too little. */
static void add_line(struct progress *p, const char *before, const char *text, const char *after) {
    int most = columns() - 1, n = 0;
    buf_puts(&p->next, before);
    for (const char *s = text; *s && n < most; s++) {
        if (((unsigned char) *s & 0xc0) != 0x80) n++;
        buf_putc(&p->next, *s);
    }
    buf_puts(&p->next, after);
    buf_puts(&p->next, "\033[K\n");
    p->lines++;
}

static void start_round(struct progress *p) {
    if (p->next.len > 0) return;
    if (p->lines > 0) buf_printf(&p->next, "\033[%dA\r", p->lines);
    p->lines = 0;
}

void progress_title(struct progress *p, const char *fmt, ...) {
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_make_printable(text, "");
    if (!p->terminal) return;
    start_round(p);
    add_line(p, "", text, "");
}

static bool same_as_before(struct progress *p, const char *subject, const char *text) {
    char *before = map_get(&p->last, subject);
    if (before && str_eq(before, text)) return true;
    mem_free(before);
    ensure(map_set(&p->last, subject, need(mem_strdup(text))) == 0);
    return false;
}

void progress_line(struct progress *p, enum progress_mark mark, const char *subject,
                   const char *fmt, ...) {
    static const char *const colours[] = {"", "\033[32m", "\033[31m"};
    char text[TEXT_MAX], line[TEXT_MAX + 80];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_make_printable(text, "");
    bool same = same_as_before(p, subject, text);
    if (p->terminal) {
        start_round(p);
        snprintf(line, sizeof line, "  %-16s %s", subject, text);
        add_line(p, colours[mark], line, mark == PROGRESS_BUSY ? "" : "\033[0m");
    } else if (!same) {
        fprintf(stderr, "%s: %s\n", subject, text);
    }
}

void progress_show(struct progress *p) {
    if (!p->terminal || p->next.len == 0) return;
    buf_puts(&p->next, "\033[J");
    fwrite(buf_str(&p->next), 1, p->next.len, stderr);
    buf_reset(&p->next);
}

void progress_end(struct progress *p) {
    const char *subject;
    void *text;
    for (size_t i = 0; map_next(&p->last, &i, &subject, &text);) mem_free(text);
    map_fini(&p->last);
    buf_fini(&p->next);
}
