/* Waits until central's book has read its file. */
#ifndef ENTREPOT_TESTS_BOOK_READ_H
#define ENTREPOT_TESTS_BOOK_READ_H

#include "central/reports/book.h"
#include "common/core/alloc.h"

static inline void book_read_done(struct book_entry *e) {
    loop_stop(e->loop);
}

/* The first batch of an edge waits for that; this one has no pulls. */
static inline void book_until_read(struct report_book *b, struct loop *loop) {
    struct book_entry e = {.edge = "nobody", .site = "nowhere", .loop = loop, .done = book_read_done};
    e.report.pulls = xcalloc(1, sizeof(*e.report.pulls));
    e.report.pulls->sequence = 1;
    if (!report_book_take(b, &e)) loop_run(loop);
}

#endif
