/* Pruning, and how much content has gone: tests know what they have put, not how many blocks that took. */
#ifndef ENTREPOT_TESTS_PRUNE_H
#define ENTREPOT_TESTS_PRUNE_H

#include "common/store/report.h"

static inline int64_t bytes_of_content(const struct store *s) {
    struct store_usage u;
    store_usage(s, &u);
    return u.bytes + u.part_bytes;
}

/* Until blobs and part files take at most `target` of the disk. The bytes of content that went. */
static inline int64_t prune_to(struct store *s, int64_t target) {
    struct prune_report report;
    int64_t before = bytes_of_content(s);
    store_prune(s, target, &report);
    return before - bytes_of_content(s);
}

#endif
