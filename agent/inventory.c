// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/session.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/container/cgroup.h"

#define VERSION_TEXT "0.1.0"
enum { ADDRESSES_MAX = 64, PROC_MAX = 64 * 1024 };

static uint64_t meminfo(const char *key) {
    auto_free char *text = NULL;
    uint64_t kib = 0;
    if (fd_read_file(AT_FDCWD, "/proc/meminfo", PROC_MAX, &text, NULL) < 0) return 0;
    const char *at = strstr(text, key);
    if (at && sscanf(at + strlen(key), ": %" SCNu64, &kib) != 1) kib = 0;
    return kib * 1024;
}

uint64_t inventory_memory_used(void) {
    uint64_t total = meminfo("MemTotal"), free = meminfo("MemAvailable");
    return total > free ? total - free : 0;
}

uint32_t inventory_cpu_permille(void) {
    static uint64_t last_busy, last_all; /* [loop] */
    auto_free char *text = NULL;
    uint64_t v[8] = {0};
    if (fd_read_file(AT_FDCWD, "/proc/stat", 16 * PROC_MAX, &text, NULL) < 0) return 0;
    if (sscanf(text,
               "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64 " %" SCNu64,
               &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) != 8)
        return 0;
    uint64_t idle = v[3] + v[4], all = 0;
    for (size_t i = 0; i < array_len(v); i++) all += v[i];
    uint64_t busy = all - idle, d_all = all - last_all, d_busy = busy - last_busy;
    bool first = last_all == 0;
    last_all = all;
    last_busy = busy;
    return first || d_all == 0 || d_busy > d_all ? 0 : (uint32_t) (d_busy * 1000 / d_all);
}

/* Addresses under which others reach this machine: not loopback, not our own devices. */
static int add_addresses(struct arena *a, Orlop__Inventory *inv) {
    struct ifaddrs *list = NULL;
    inv->addresses = arena_alloc(a, ADDRESSES_MAX * sizeof *inv->addresses);
    if (!inv->addresses) return -ENOMEM;
    if (getifaddrs(&list) < 0) return 0; /* none known */
    int r = 0;
    for (struct ifaddrs *i = list; i && inv->n_addresses < ADDRESSES_MAX; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || i->ifa_flags & IFF_LOOPBACK ||
            str_starts(i->ifa_name, "olg") || str_starts(i->ifa_name, "olv"))
            continue;
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof in);
        char *copy =
            inet_ntop(AF_INET, &in.sin_addr, text, sizeof text) ? arena_strdup(a, text) : NULL;
        if (!copy) {
            r = -ENOMEM;
            break;
        }
        inv->addresses[inv->n_addresses++] = copy;
    }
    freeifaddrs(list);
    return r;
}

int inventory_fill(struct arena *a, Orlop__Inventory *inv) {
    struct utsname u;
    if (uname(&u) < 0) return -errno;
    orlop__inventory__init(inv);
    inv->hostname = arena_strdup(a, u.nodename);
    inv->arch = arena_strdup(a, str_eq(u.machine, "x86_64")    ? "amd64"
                                : str_eq(u.machine, "aarch64") ? "arm64"
                                                               : u.machine);
    inv->kernel = arena_strdup(a, u.release);
    inv->cgroup_mode = arena_strdup(a, cgroup_mode_name(cgroup_mode()));
    inv->version = arena_strdup(a, VERSION_TEXT);
    inv->memory_bytes = meminfo("MemTotal");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    inv->cpu_millis = cpus > 0 ? (uint64_t) cpus * 1000 : 1000;
    if (!inv->hostname || !inv->arch || !inv->kernel || !inv->cgroup_mode || !inv->version)
        return -ENOMEM;
    return add_addresses(a, inv);
}
