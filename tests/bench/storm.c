// SPDX-License-Identifier: Apache-2.0
#include "storm.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REMOVERS = 4, POLL_MS = 2 };

int storm_count, storm_at_once;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int ended[STORM_MAX], n, taken;
    void (*remove)(int k);
} removal = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void *remover(void *arg) {
    (void) arg;
    for (;;) {
        pthread_mutex_lock(&removal.lock);
        while (removal.taken == removal.n && removal.n < storm_count)
            pthread_cond_wait(&removal.more, &removal.lock);
        int k = removal.taken < removal.n ? removal.ended[removal.taken++] : -1;
        pthread_mutex_unlock(&removal.lock);
        if (k < 0) return NULL;
        removal.remove(k);
    }
}

void storm_ended(int k) {
    pthread_mutex_lock(&removal.lock);
    removal.ended[removal.n++] = k;
    pthread_cond_broadcast(&removal.more);
    pthread_mutex_unlock(&removal.lock);
}

static pthread_t threads[REMOVERS];

void storm_removers(void (*remove)(int k)) {
    removal.n = removal.taken = 0;
    removal.remove = remove;
    for (int i = 0; i < REMOVERS; i++)
        if (pthread_create(&threads[i], NULL, remover, NULL) != 0) _exit(95);
}

/* Of this network namespace, whatever /sys shows. */
static int links(void) {
    DIR *d = opendir("/proc/sys/net/ipv4/conf");
    int n = 0;
    if (!d) _exit(95);
    for (struct dirent *e; (e = readdir(d));) n += strncmp(e->d_name, "ol", 2) == 0;
    closedir(d);
    return n;
}

void storm_removed(void) {
    for (int i = 0; i < REMOVERS; i++) pthread_join(threads[i], NULL);
    while (links() > 0) poll(NULL, 0, POLL_MS);
}

void storm_serve(struct storm_result (*storm)(void)) {
    for (char byte; read(0, &byte, 1) == 1;) {
        struct storm_result r = storm();
        printf("%.1f %.1f %.1f\n", storm_count * 1e9 / (double) r.started_ns,
               (double) r.cpu_ns / 1e3 / storm_count, (double) r.stopped_ns / 1e6);
        fflush(stdout);
    }
}
