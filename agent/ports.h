// SPDX-License-Identifier: Apache-2.0
/* agent/ports.h - published ports: the proxy's whole list, and what became of each.
 *
 * Role     sends the list at each change and after each connect; remembers which ports the proxy
 *          could not take, and finds out who has them. Asks again for refused ones each
 *          PORTS_RETRY_MS.
 * Thread   [loop]; the search through /proc runs in the pool.
 * Owns     the connection to proxy.sock.
 * Limits   PORTS_MAX ports.
 */
#ifndef ORLOP_AGENT_PORTS_H
#define ORLOP_AGENT_PORTS_H

#include "agent.pb-c.h"
#include "agent/agent.h"

enum { PORTS_MAX = 4096, PORTS_RETRY_MS = 2000, PORTS_HOLDER_MAX = 96 };

enum ports_answer { PORTS_HELD, PORTS_UNKNOWN, PORTS_REFUSED };

must_use int ports_new(struct agent *a, const char *socket, struct ports **ret);
void ports_close(struct ports *p);

/* The services of the view changed. */
void ports_update(struct ports *p);
/* The proxy has the newest list: it connects to no task that has left it. */
bool ports_settled(const struct ports *p);
/* Of all ports that SERVICE of APP publishes. REFUSED: the sentence names port and holder. */
enum ports_answer ports_ask(const struct ports *p, const char *app, const char *service,
                            char text[static ERR_TEXT_MAX]);

/* Who listens on PROTOCOL PORT at HOST_IP ("" = any)? "nginx (pid 123)"; "" = nobody found. [pool]
 */
void portholder_find(uint32_t protocol, const char *host_ip, uint32_t port,
                     char ret[static PORTS_HOLDER_MAX]);

#endif
