// SPDX-License-Identifier: Apache-2.0
/* runtime/base/list.h - intrusive doubly linked ring.
 *
 * Thread   one owner. A node that is in no list points at itself (list_init) or is zeroed.
 */
#ifndef ORLOP_BASE_LIST_H
#define ORLOP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
    return l->next == l || !l->next;
}
static inline void list_add_tail(struct list *head, struct list *n) {
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void list_add_head(struct list *head, struct list *n) {
    list_add_tail(head->next, n);
}
/* Out of whatever list it is in; harmless when it is in none. */
static inline void list_del(struct list *n) {
    if (!n->next) return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* The body may delete IT. */
#define list_each_safe(it, head)                                                                   \
    for (struct list *it = (head)->next, *it##__next = it->next; it != (head);                     \
         it = it##__next, it##__next = it->next)

#endif
