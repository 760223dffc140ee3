// SPDX-License-Identifier: Apache-2.0
/* tests/lib/manifest_text.h - manifests from one line a part, for tests.
 *
 *   service NAME [replicas=N] [image=X] [needs=SVC:started|healthy|completed[:restart]]...
 *           [net=KEY]... [ip=A.B.C.D] [port=PUB:TARGET[/udp]]... [mount=VOLUME:/PATH]
 *           [memory=MIB] [cpu=MILLIS] [restart=no|always|on-failure[:MAX]] [health] [grace=MS]
 *   network KEY [name=N] [external] [internal] [subnet=CIDR]
 *   volume KEY
 */
#ifndef ORLOP_TEST_MANIFEST_TEXT_H
#define ORLOP_TEST_MANIFEST_TEXT_H

#include "manifest.pb-c.h"
#include "proto/arena.h"

enum { TEXT_PARTS_MAX = 64 };

struct manifest_text {
    struct arena arena;
    Orlop__App app;
    Orlop__Service *services[TEXT_PARTS_MAX];
    Orlop__Network *networks[TEXT_PARTS_MAX];
    Orlop__Volume *volumes[TEXT_PARTS_MAX];
};

void manifest_text_init(struct manifest_text *m);
void manifest_text_fini(struct manifest_text *m);
/* WORDS: the line's. Aborts on what it does not know: tests are ours. */
void manifest_text_add(struct manifest_text *m, char **words, size_t n);
/* The app as collected; networks' full names are made. Borrowed. */
Orlop__App *manifest_text_app(struct manifest_text *m, const char *name);

#endif
