// SPDX-License-Identifier: Apache-2.0
#include "list.h"

#include <string.h>

#include "client.h"
#include "render.h"
#include "runtime/base/mem.h"

/* The answer's repeated messages, whatever their type. */
static int print_json(const ProtobufCMessage *answer) {
    const ProtobufCFieldDescriptor *list = &answer->descriptor->fields[0];
    const char *at = (const char *) answer;
    size_t n;
    ProtobufCMessage *const *items;
    ensure(list->label == PROTOBUF_C_LABEL_REPEATED && list->type == PROTOBUF_C_TYPE_MESSAGE);
    memcpy(&n, at + list->quantifier_offset, sizeof n);
    memcpy(&items, at + list->offset, sizeof items);
    return render_json(render_json_list(n, items));
}

int list_run(struct cli *cli, const struct list_verb *verb, int argc, char **argv) {
    const char *format = NULL;
    bool json;
    struct args args;
    const struct opt opts[] = {{0, "format", "table|json", OPT_TEXT, &format, "how to print"}, {0}};
    int r = args_parse(cli, verb->usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    r = args_format(verb->usage, format, &json);
    if (r) return r;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    void *answer;
    r = client_open(cli, &c);
    if (!r) r = client_call(c, verb->method, verb->request, verb->answer, &a, &answer);
    if (!r && json)
        r = print_json(answer);
    else if (!r)
        verb->table(answer);
    arena_fini(&a);
    client_close(c);
    return r;
}
