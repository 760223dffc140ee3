// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static const char *component = "orlop";
static enum log_level threshold = LOG_INFO;
static const char *const level_names[] = {"", "debug", "info", "warn", "error"};

void log_init(const char *comp) {
    component = comp;
    const char *want = getenv("ORLOP_LOG");
    for (int l = LOG_DEBUG; want && l <= LOG_ERROR; l++)
        if (strcmp(want, level_names[l]) == 0) threshold = (enum log_level) l;
}

void log_set_level(enum log_level level) {
    threshold = level;
}

void log_event(enum log_level level, const char *ev, const char *fmt, ...) {
    if (level < threshold) return;
    int saved = errno;
    char line[LINE_MAX_BYTES];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t) snprintf(line + n, sizeof line - n, ".%03ldZ lvl=%s comp=%s ev=%s ",
                           t.tv_nsec / 1000000, level_names[level], component, ev);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    size_t end = m < 0 ? n : n + (size_t) m;
    if (end > sizeof line - 1) end = sizeof line - 1;
    for (size_t i = n; i < end; i++)
        if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f) line[i] = ' ';
    line[end++] = '\n';
    (void) !write(STDERR_FILENO, line, end); /* nowhere to report that stderr is gone */
    errno = saved;
}
