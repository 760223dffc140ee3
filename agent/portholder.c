// SPDX-License-Identifier: Apache-2.0
/* /proc/net/{tcp,udp}{,6} tells the inode of the socket that is bound to a port, /proc/PID/fd tells
 * whose it is. Best effort, for a sentence: the answer may be outdated when it is read. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/ports.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { TABLE_MAX = 8 << 20, TCP_LISTENING = 0x0a, UDP_UNCONNECTED = 0x07, COMM_MAX = 32 };

/* Inode of a listening socket on PORT in TABLE; 0 = none. */
static uint64_t find_inode(const char *table, unsigned state, uint32_t port) {
    auto_free char *text = NULL;
    if (fd_read_file(AT_FDCWD, table, TABLE_MAX, &text, NULL) < 0) return 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned local_port, st;
        uint64_t inode;
        int n = sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %" SCNu64,
                       &local_port, &st, &inode);
        if (n == 3 && local_port == port && st == state && inode) return inode;
    }
    return 0;
}

static bool has_socket(const char *pid, const char *want) {
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *d = opendir(path);
    if (!d) return false;
    bool found = false;
    struct dirent *e;
    while (!found && (e = readdir(d)) != NULL) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        if (n <= 0) continue;
        link[n] = 0;
        found = str_eq(link, want);
    }
    closedir(d);
    return found;
}

static void describe(const char *pid, char ret[static PORTS_HOLDER_MAX]) {
    char path[64];
    auto_free char *comm = NULL;
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    if (fd_read_file(AT_FDCWD, path, COMM_MAX, &comm, NULL) < 0) comm = NULL;
    for (char *p = comm; p && *p; p++)
        if (!isprint((unsigned char) *p)) *p = 0;
    snprintf(ret, PORTS_HOLDER_MAX, "%.32s (pid %.20s)", comm ? comm : "?", pid);
}

static void find_process(uint64_t inode, char ret[static PORTS_HOLDER_MAX]) {
    char want[64];
    snprintf(want, sizeof want, "socket:[%" PRIu64 "]", inode);
    DIR *d = opendir("/proc");
    if (!d) return;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        if (!isdigit((unsigned char) *e->d_name) || !has_socket(e->d_name, want)) continue;
        describe(e->d_name, ret);
        break;
    }
    closedir(d);
}

void portholder_find(uint32_t protocol, const char *host_ip, uint32_t port,
                     char ret[static PORTS_HOLDER_MAX]) {
    (void) host_ip; /* whoever has the port at another address only is rarely the one; still the
                       best hint */
    bool tcp = protocol == IPPROTO_TCP;
    unsigned state = tcp ? TCP_LISTENING : UDP_UNCONNECTED;
    *ret = 0;
    uint64_t inode = find_inode(tcp ? "/proc/net/tcp" : "/proc/net/udp", state, port);
    if (!inode) inode = find_inode(tcp ? "/proc/net/tcp6" : "/proc/net/udp6", state, port);
    if (inode) find_process(inode, ret);
}
