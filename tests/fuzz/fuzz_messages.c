// SPDX-License-Identifier: Apache-2.0
/* Every protobuf message that anybody of ours decodes, on either side of a wire or from a disk; the
 * first byte chooses. Within its budget it decodes or not; what decodes packs into bytes that decode
 * to the same, and the CLI can show it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent.pb-c.h"
#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "cli/render.h"
#include "keeper.pb-c.h"
#include "manifest.pb-c.h"
#include "proto/arena.h"
#include "raft.pb-c.h"
#include "runtime/base/mem.h"
#include "store.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const all[] = {
    /* api: requests, then answers */
    &orlop__empty__descriptor,
    &orlop__app_apply_request__descriptor,
    &orlop__app_remove_request__descriptor,
    &orlop__app_list_request__descriptor,
    &orlop__app_status_request__descriptor,
    &orlop__app_spec_request__descriptor,
    &orlop__app_scale_request__descriptor,
    &orlop__app_restart_request__descriptor,
    &orlop__task_list_request__descriptor,
    &orlop__task_inspect_request__descriptor,
    &orlop__node_inspect_request__descriptor,
    &orlop__why_request__descriptor,
    &orlop__events_request__descriptor,
    &orlop__logs_request__descriptor,
    &orlop__exec_request__descriptor,
    &orlop__exec_input__descriptor,
    &orlop__image_import_request__descriptor,
    &orlop__image_ref__descriptor,
    &orlop__volume_ref__descriptor,
    &orlop__version_answer__descriptor,
    &orlop__app_apply_answer__descriptor,
    &orlop__write_answer__descriptor,
    &orlop__app_list_answer__descriptor,
    &orlop__app_status_answer__descriptor,
    &orlop__app_spec_answer__descriptor,
    &orlop__task_list_answer__descriptor,
    &orlop__task_inspect_answer__descriptor,
    &orlop__task_info__descriptor,
    &orlop__node_list_answer__descriptor,
    &orlop__why_answer__descriptor,
    &orlop__event_batch__descriptor,
    &orlop__log_batch__descriptor,
    &orlop__exec_output__descriptor,
    &orlop__image_info__descriptor,
    &orlop__image_list_answer__descriptor,
    &orlop__image_remove_answer__descriptor,
    &orlop__volume_list_answer__descriptor,
    /* agent and scheduler */
    &orlop__agent_up__descriptor,
    &orlop__agent_down__descriptor,
    /* the wire itself */
    &orlop__envelope__descriptor,
    /* keeper and proxy */
    &orlop__keeper_request__descriptor,
    &orlop__keeper_message__descriptor,
    &orlop__proxy_want__descriptor,
    &orlop__proxy_reply__descriptor,
    /* manifest, log and store */
    &orlop__app__descriptor,
    &orlop__entry_batch__descriptor,
    &orlop__snapshot__descriptor,
    &orlop__store_batch__descriptor,
    &orlop__store_attempt__descriptor,
};

enum { BUDGET = 16 << 20 };

static void again(const ProtobufCMessage *m) {
    struct arena a;
    size_t n, n2;
    auto_free uint8_t *bytes = pb_pack(m, &n);
    ensure(bytes);
    arena_init(&a, 2 * BUDGET);
    const ProtobufCMessage *copy = arena_unpack(&a, m->descriptor, bytes, n);
    ensure(copy);
    auto_free uint8_t *bytes2 = pb_pack(copy, &n2);
    ensure(bytes2 && n == n2 && memcmp(bytes, bytes2, n) == 0);
    arena_fini(&a);
}

static void show(const ProtobufCMessage *m) {
    json_t *j = render_json_of(m);
    ensure(j);
    json_decref(j);
    if (m->descriptor != &orlop__task_info__descriptor) return;
    const Orlop__TaskInfo *t = (const void *) m;
    struct buf out;
    buf_init(&out, 1 << 20);
    render_status(t, &out);
    render_ports(t, &out);
    buf_fini(&out);
    j = render_task(t);
    ensure(j);
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 1 << 16) return 0;
    struct arena a;
    arena_init(&a, BUDGET);
    const ProtobufCMessage *m = arena_unpack(&a, all[data[0] % array_len(all)], data + 1, size - 1);
    if (m) {
        again(m);
        show(m);
    }
    arena_fini(&a);
    return 0;
}
