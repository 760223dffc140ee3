// SPDX-License-Identifier: Apache-2.0
/* Doors of the host: TCP ports that an address answers on, abstract sockets, sockets with a name. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "attack.h"

/* A port of the ephemeral range may connect to itself. */
static bool own(int fd, const struct sockaddr_in *to) {
    struct sockaddr_in from = {.sin_family = AF_UNSPEC};
    socklen_t len = sizeof from;
    (void) getsockname(fd, (struct sockaddr *) &from, &len);
    return from.sin_port == to->sin_port && from.sin_addr.s_addr == to->sin_addr.s_addr;
}

static void scan_ports(const char *address) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1) return;
    for (unsigned port = 1; port < 65536; port++) {
        const struct timeval soon = {.tv_usec = 200000};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
        a.sin_port = htons((unsigned short) port);
        int r = connect(fd, (const struct sockaddr *) &a, sizeof a);
        if (r == 0 && !own(fd, &a)) printf("%s:%u answers\n", address, port);
        (void) close(fd);
        if (r < 0 && (errno == EINPROGRESS || errno == EAGAIN || errno == EHOSTUNREACH)) {
            printf("%s drops packets\n", address); /* 65535 times would take hours */
            return;
        }
    }
}

static void scan_unix(void) {
    char line[512];
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *name = strchr(line, '/');
        if (strchr(line, '@')) name = strchr(line, '@');
        if (name) printf("unix %s", name);
    }
    if (f) (void) fclose(f);
}

int attack_scan(int argc, char **argv) {
    scan_unix();
    for (int i = 1; i < argc; i++) scan_ports(argv[i]);
    return 0;
}
