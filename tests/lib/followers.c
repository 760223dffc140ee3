// SPDX-License-Identifier: Apache-2.0
/* followers SOCKET APP COUNT [SERVICE] - connects COUNT times, asks each time to follow the logs of
 * SERVICE in APP, and never gives credit for what comes: followers that stall. Prints "asked N" when
 * all have asked, a line "refused N TEXT" for the refusals so far at SIGUSR1 (TEXT: the last one's
 * sentence), and holds what it has until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "proto/bus/bus.h"

struct follower {
    struct bus_conn *conn;
    bool asked;
};

static Orlop__LogsRequest request = ORLOP__LOGS_REQUEST__INIT;
static unsigned long count, asked, refused, lost, batches;
static char sentence[ERR_TEXT_MAX];
static struct follower *followers;
static struct bus *bus;

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    (void) body;
    (void) len;
    batches++;
    bus_stream_hold(s);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    (void) ctx;
    (void) s;
    refused++;
    snprintf(sentence, sizeof sentence, "%s", err->text);
}

static const struct bus_stream_ops stream_ops = {.data = on_data, .closed = on_closed};

static void tell_when_all_asked(void) {
    if (asked != count) return;
    printf("asked %lu\n", asked);
    fflush(stdout);
}

static void on_up(void *ctx, struct bus_conn *c) {
    struct follower *f = ctx;
    struct bus_stream *s;
    if (f->asked) return;
    f->asked = true;
    asked++;
    if (bus_request_pb(c, ORLOP__METHOD__LOGS, &request.base, &stream_ops, f, &s) < 0) exit(2);
    tell_when_all_asked();
}

static void on_down(void *ctx, struct bus_conn *c, const struct err *why) {
    (void) ctx;
    (void) c;
    (void) why;
    lost++;
}

static const struct bus_conn_ops conn_ops = {.up = on_up, .down = on_down};

static void on_signal(uv_signal_t *h, int sig) {
    (void) h;
    printf("refused %lu lost %lu batches %lu %s\n", refused, lost, batches, sentence);
    fflush(stdout);
    if (sig == SIGTERM) exit(0);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: followers SOCKET APP COUNT [SERVICE]\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    count = strtoul(argv[3], NULL, 10);
    request.app = argv[2];
    request.follow = true;
    request.tail = -1;
    request.services = argv + 4;
    request.n_services = (size_t) argc - 4;
    uv_loop_t *loop = uv_default_loop();
    uv_signal_t signals[2];
    const int numbers[2] = {SIGTERM, SIGUSR1};
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
    char url[4096];
    snprintf(url, sizeof url, "ipc://%s", argv[1]);
    followers = calloc(count, sizeof *followers);
    if (!followers || bus_new(loop, &bus) < 0) return 2;
    for (unsigned long i = 0; i < count; i++)
        if (bus_dial(bus, url, &conn_ops, &followers[i], &followers[i].conn, NULL) < 0) return 2;
    return uv_run(loop, UV_RUN_DEFAULT);
}
