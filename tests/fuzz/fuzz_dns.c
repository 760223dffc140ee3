// SPDX-License-Identifier: Apache-2.0
/* Bytes as a task's question, as an upstream's answer to it, and as a resolv.conf. */
#include <stdint.h>
#include <string.h>

#include "agent/dns_message.h"
#include "agent/dns_table.h"
#include "agent/dns_upstream.h"
#include "runtime/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_table *table(void) {
    static struct dns_table *made;
    static char app[] = "shop", name[] = "web", task[] = "1.2.3";
    Orlop__ViewNetwork net, *nets[] = {&net};
    Orlop__Endpoint end, *ends[] = {&end};
    Orlop__ViewService service, *services[] = {&service};
    orlop__view_network__init(&net);
    orlop__endpoint__init(&end);
    orlop__view_service__init(&service);
    net.id = 1;
    net.subnet = 0x0a500000;
    net.prefix_len = 22;
    end.task = task;
    end.address = 0x0a500002;
    end.serving = true;
    service.app = app;
    service.service = name;
    service.network = 1;
    service.vip = 0x0a600001;
    service.endpoints = ends;
    service.n_endpoints = 1;
    if (!made) ensure(dns_table_new(nets, 1, services, 1, &made) == 0);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dns_query q;
    struct dns_reply reply;
    uint8_t out[DNS_UDP_MAX];
    struct sockaddr_storage servers[DNS_SERVERS_MAX];
    if (dns_parse_query(data, size, &q) == 0) {
        if (dns_table_answer(table(), 1, 0x0a500002, &q, &reply, out, q.udp_size) == DNS_ANSWER)
            ensure(dns_reply_end(&reply) <= q.udp_size);
        ensure(dns_build_query(&q, 1, out) <= DNS_QUERY_MAX);
        (void) dns_answers(data, size, &q, q.id);
        auto_free uint8_t *copy = mem_dup(data, size);
        if (copy) ensure(dns_truncate(copy, size, &q, DNS_UDP_MIN) <= DNS_UDP_MIN);
    }
    auto_free char *text = mem_strndup((const char *) data, size);
    if (text) ensure(dns_upstream_servers(text, servers, NULL, NULL) <= DNS_SERVERS_MAX);
    return 0;
}
