// SPDX-License-Identifier: Apache-2.0
#include "duration.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/base/str.h"

static const int64_t SECOND = 1000000000;
static const int64_t MOST = (int64_t) 100 * 365 * 86400; /* seconds */

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},
             {"us", 1000},
             {"ms", 1000000},
             {"s", 1000000000},
             {"m", (int64_t) 60 * 1000000000},
             {"h", (int64_t) 3600 * 1000000000},
             {"d", (int64_t) 86400 * 1000000000}};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Digits, and those behind a point, as value = whole + fraction / 10^9. Returns where they end. */
static const char *decimal(const char *s, int64_t *ret_whole, int64_t *ret_fraction) {
    int64_t whole = 0, fraction = 0, scale = SECOND / 10;
    if (!is_digit(*s)) return NULL;
    for (; is_digit(*s); s++) {
        if (whole > MOST) return NULL;
        whole = whole * 10 + (*s - '0');
    }
    if (*s == '.') {
        if (!is_digit(*++s)) return NULL;
        for (; is_digit(*s); s++, scale /= 10) fraction += scale * (*s - '0');
    }
    *ret_whole = whole;
    *ret_fraction = fraction;
    return s;
}

static int64_t unit_of(const char **s) {
    size_t n = strcspn(*s, "0123456789");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == n && memcmp(units[i].name, *s, n) == 0) {
            *s += n;
            return units[i].ns;
        }
    return 0;
}

int duration_parse(const char *s, int64_t *ret_ns) {
    __int128 sum = 0;
    bool first = true;
    while (*s || first) {
        int64_t whole, fraction;
        s = decimal(s, &whole, &fraction);
        if (!s) return -EINVAL;
        int64_t unit = !*s && first ? SECOND : unit_of(&s);
        if (unit == 0) return -EINVAL;
        sum += (__int128) whole * unit + (__int128) fraction * unit / SECOND;
        first = false;
    }
    if (sum > (__int128) MOST * SECOND) return -ERANGE;
    *ret_ns = (int64_t) sum;
    return 0;
}

/* "Z", "+02:00", "-0730" or nothing. Seconds east of UTC. */
static bool zone(const char *s, bool *ret_local, long *ret_east) {
    *ret_local = !*s;
    *ret_east = 0;
    if (!*s || str_eq(s, "Z") || str_eq(s, "z")) return true;
    int hours, minutes, n = 0;
    if ((*s != '+' && *s != '-') || !is_digit(s[1]) ||
        sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2)
        return false;
    if (s[1 + n] || hours > 14 || minutes > 59 || minutes < 0) return false;
    *ret_east = (hours * 60L + minutes) * 60 * (*s == '-' ? -1 : 1);
    return true;
}

static int rfc3339(const char *s, int64_t *ret_ns) {
    struct tm t = {.tm_isdst = -1};
    int n = 0;
    if (sscanf(s, "%4d-%2d-%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &n) != 3 || n != 10)
        return -EINVAL;
    s += n;
    int64_t fraction = 0;
    if (*s == 'T' || *s == 't' || *s == ' ') {
        n = 0;
        if (sscanf(s + 1, "%2d:%2d%n", &t.tm_hour, &t.tm_min, &n) != 2 || n != 5) return -EINVAL;
        s += 1 + n;
        if (*s == ':') {
            int64_t seconds;
            s = decimal(s + 1, &seconds, &fraction);
            if (!s || seconds > 60) return -EINVAL;
            t.tm_sec = (int) seconds;
        }
    }
    bool local;
    long east;
    if (!zone(s, &local, &east) || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 ||
        t.tm_mday > 31 || t.tm_hour < 0 || t.tm_hour > 23 || t.tm_min < 0 || t.tm_min > 59 ||
        t.tm_year < 1970)
        return -EINVAL;
    t.tm_year -= 1900;
    t.tm_mon--;
    time_t sec = local ? mktime(&t) : timegm(&t);
    if (sec > MOST * 2) return -EINVAL;
    *ret_ns = ((int64_t) sec - east) * SECOND + fraction;
    return 0;
}

int duration_parse_time(const char *s, int64_t now_ns, int64_t *ret_ns) {
    int64_t whole, fraction, before;
    const char *end = decimal(s, &whole, &fraction);
    if (!end) return -EINVAL;
    if (*end == '-') return rfc3339(s, ret_ns);
    if (!*end && whole >= 1000000000) { /* nobody means 31 years ago */
        if (whole > MOST * 2) return -EINVAL;
        *ret_ns = whole * SECOND + fraction;
        return 0;
    }
    int r = duration_parse(s, &before);
    if (r < 0) return r;
    *ret_ns = before < now_ns ? now_ns - before : 0;
    return 0;
}

const char *duration_text(int64_t ms, char buf[static DURATION_TEXT_MAX]) {
    int64_t s = ms > 0 ? ms / 1000 : 0;
    int64_t n = s < 120 ? s : s < 7200 ? s / 60 : s < 172800 ? s / 3600 : s / 86400;
    const char *unit = s < 120 ? "second" : s < 7200 ? "minute" : s < 172800 ? "hour" : "day";
    snprintf(buf, DURATION_TEXT_MAX, "%lld %s%s", (long long) n, unit, n == 1 ? "" : "s");
    return buf;
}

const char *duration_stamp(int64_t unix_ns, char buf[static DURATION_STAMP_MAX]) {
    time_t sec = (time_t) (unix_ns / SECOND);
    struct tm t = {0};
    gmtime_r(&sec, &t);
    size_t n = strftime(buf, DURATION_STAMP_MAX, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(buf + n, DURATION_STAMP_MAX - n, ".%09lldZ", (long long) (unix_ns % SECOND));
    return buf;
}
