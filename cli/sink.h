// SPDX-License-Identifier: Apache-2.0
/* cli/sink.h - a stream of the scheduler that goes to stdout as fast as that takes it, no faster:
 * for logs and events.
 *
 * Thread   one.
 */
#ifndef ORLOP_CLI_SINK_H
#define ORLOP_CLI_SINK_H

#include "client.h"
#include "fdio.h"

struct sink {
    struct outlet out;
    struct bus_stream *stream; /* NULL: over */
    size_t held;
    struct err err;
    void (*message)(struct sink *s, const uint8_t *body, size_t len); /* may sink_write */
    void (*last)(struct sink *s); /* the same, when nothing more comes; may be NULL */
};

/* Run the stream to its end and write everything out. 0 or an exit code, with the reason printed.
 */
must_use int sink_run(struct sink *s, struct client *c, uint32_t method,
                      const ProtobufCMessage *request,
                      void (*message)(struct sink *s, const uint8_t *body, size_t len),
                      void (*last)(struct sink *s));
void sink_write(struct sink *s, const void *data, size_t n);

#endif
