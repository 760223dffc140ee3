// SPDX-License-Identifier: Apache-2.0
/* tests/unit/net/world.h - network namespaces: a host, tasks, the outside.
 *
 * Role     one process, many namespaces: a socket belongs to the namespace that it was made in, so
 *          servers and clients of all of them live in the test itself.
 * Thread   single-threaded programs only (setns).
 */
#ifndef ORLOP_TESTS_NET_WORLD_H
#define ORLOP_TESTS_NET_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IP(a, b, c, d)                                                                             \
    ((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 | (uint32_t) (d))

/* All of these abort the program with a message: a broken set-up is no test result. */
int world_netns(void); /* a new namespace with lo up; returns its descriptor */
void world_enter(int netns);

struct world_link {
    const char *host_name; /* made in the present namespace */
    uint32_t group;
    int netns; /* of the other end */
    const char *name;
    uint32_t address, prefix_len;
    uint32_t gateway; /* 0 = no default route */
};
/* A task's routed links, by attach itself. The present namespace is the host. */
void world_task_links(const struct world_link *l, size_t n);
/* An ordinary cable: HOST_ADDRESS with the same prefix on this end. */
void world_cable(const struct world_link *l, uint32_t host_address);
/* Neither up nor configured: what attach has between two of its steps. */
void world_half_link(const struct world_link *l);
void world_link_up(const char *name);
void world_local_address(uint32_t address); /* one more, on lo */
void world_sysctl(const char *path, const char *value);
char *world_read_sysctl(const char *path); /* static buffer */
void world_delete_route(uint32_t address);
void world_delete_link(const char *name);
void world_delete_addresses(const char *name);

int world_listen(int netns, int type, uint16_t port);
/* Connect from NETNS (and bound to SOURCE unless 0). The socket, or negative errno. */
enum { WORLD_PATIENCE_MS = 3000 }; /* what is dropped has not come by then */
int world_connect_from(int netns, int type, uint32_t source, uint32_t address, uint16_t port);
int world_connect(int netns, int type, uint32_t address, uint16_t port);
/* Something can be read from FD, now or soon. */
bool world_await(int fd);
/* Take the connection or datagram that waits at listener FD: true and who it is from. TCP: the
 * accepted socket in *ret_fd (NULL = close it). */
bool world_take(int fd, int type, uint32_t *ret_from, int *ret_fd);
unsigned world_count_links(const char *prefix);

#endif
