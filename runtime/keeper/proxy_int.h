// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/proxy_int.h - the proxy's inside: the process and its agents (proxy.c), held
 * ports (proxy_ports.c), TCP connections (proxy_tcp.c), UDP sessions (proxy_udp.c).
 *
 * Thread   [proxy].
 */
#ifndef ORLOP_KEEPER_PROXY_INT_H
#define ORLOP_KEEPER_PROXY_INT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "keeper.pb-c.h"
#include "loop.h"
#include "outq.h"
#include "proxy.h"
#include "request.h"
#include "runtime/base/list.h"
#include "runtime/base/map.h"
#include "runtime/base/paths.h"

enum {
    PROXY_CONNECTIONS_MAX = 8192, /* fewer where descriptors are few: FDS_PER_CONNECTION each */
    PROXY_FDS_PER_CONNECTION = 6,
    PROXY_FDS_RESERVED = 256,
    PROXY_PIPE_BYTES = 64 * 1024,
    PROXY_STEPS = 8,               /* of PROXY_PIPE_BYTES, per connection and turn */
    PROXY_HALF_CLOSED_MS = 300000, /* without a byte: given up */
    PROXY_SESSIONS_MAX = 1024,
    PROXY_SESSION_BUCKETS = 256,
    PROXY_UDP_IDLE_MS = 60000,
    PROXY_UDP_BATCH = 32, /* datagrams per socket and turn */
    PROXY_SWEEP_MS = 5000,
    PROXY_PEERS_MAX = 8,
    PROXY_QUEUE_MAX = 1 << 20,
    PROXY_PACKET_BYTES = 192 * 1024,
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct proxy;

struct port_socket {
    struct loop_source source;
    struct port *port;
    bool v6;
};

struct port {
    struct proxy *proxy;
    char key[80]; /* "PROTOCOL HOST_IP PORT" */
    uint32_t protocol;
    bool wanted; /* named by the list that is being applied */
    struct port_socket sockets[2];
    struct sockaddr_in *targets;
    size_t n_targets;
    struct list sessions; /* UDP */
    struct loop_garbage garbage;
};

struct proxy {
    struct paths paths;
    struct loop loop;
    struct loop_source signals, listener;
    struct list peers;
    struct map ports;
    struct list connections; /* least recently active first */
    struct list ready;       /* have more to move */
    size_t n_connections, connections_max;
    bool paused;          /* no room: listeners wait */
    struct list sessions; /* least recently active first */
    struct list buckets[PROXY_SESSION_BUCKETS];
    size_t n_sessions;
    struct budget budget;
    int64_t now_ms, next_sweep_ms;
    uint64_t random;
    bool stop;
    char packet[PROXY_PACKET_BYTES];
    char datagram[65536];
};

/* proxy_ports.c */
void proxy__apply(struct proxy *p, const Orlop__ProxyWant *want, Orlop__ProxyReply *reply,
                  Orlop__ProxyRefusal *refusals, Orlop__ProxyRefusal **pointers);
const struct sockaddr_in *proxy__pick(struct proxy *p, const struct port *port); /* NULL = none */
void proxy__pause(struct proxy *p, bool pause); /* all TCP listeners */

/* proxy_tcp.c */
void proxy__tcp_accept(struct loop_source *s, uint32_t events);
void proxy__tcp_turn(struct proxy *p);
void proxy__tcp_sweep(struct proxy *p);

/* proxy_udp.c */
void proxy__udp_receive(struct loop_source *s, uint32_t events);
void proxy__udp_sweep(struct proxy *p);
void proxy__udp_drop(struct port *port); /* all its sessions */

#endif
