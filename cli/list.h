// SPDX-License-Identifier: Apache-2.0
/* cli/list.h - the verbs that only list: app, image, node and volume `ls`.
 *
 * Role     options (--format), one call without arguments, a table or JSON.
 * Thread   one caller.
 */
#ifndef ORLOP_CLI_LIST_H
#define ORLOP_CLI_LIST_H

#include <protobuf-c/protobuf-c.h>

#include "args.h"
#include "cli.h"

struct list_verb {
    const struct usage *usage;
    uint32_t method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *answer; /* its first field is the list */
    void (*table)(const void *answer);
};

/* Returns the exit code. */
int list_run(struct cli *cli, const struct list_verb *verb, int argc, char **argv);

#endif
