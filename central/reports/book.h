/* What edges' reports say that must outlive this process, in DATA/reports.db: which blobs each holds, and how often each
 * tag was pulled. A report is taken in one transaction, by the book's own thread (`reports-writer`). It outlives the
 * process, not a power cut; what is lost by that is told again. What edges held is read at the start by another thread
 * (`reports-reader`); of reports that come meanwhile nothing is taken, so edges tell it again, but for an edge's first batch
 * of pulls, whose report waits. Nor is anything taken while too much waits for the book's thread. Thread: as each function
 * says. */
#ifndef ENTREPOT_CENTRAL_REPORTS_BOOK_H
#define ENTREPOT_CENTRAL_REPORTS_BOOK_H

#include "central/reports/holdings.h"
#include "central/reports/pulls.h"
#include "common/core/loop.h"
#include "common/db/writer.h"

struct report_book;

/* Control thread. Begins to read what is known into h, which is borrowed and says by its state when that has ended;
 * after a failure it says so, too. is_gone, on the reader's thread: whether an edge was removed; what is known of it is
 * dropped. pull_names: whose pulls are counted apart. A damaged file is put aside: the edges tell again what they hold,
 * and pulls are counted anew. */
int report_book_open(struct report_book **out, const char *path, struct holdings *h, unsigned pull_names,
                     bool (*is_gone)(const char *edge, void *arg), void *arg, struct error *err) must_check;
/* Control thread, when nothing is taken any more. Reports that still wait for the reader are done with -ECANCELED. */
void report_book_close(struct report_book *b);

/* A report on its way into the book. */
struct book_entry {
    char edge[MEMBER_NAME_MAX], site[MEMBER_NAME_MAX]; /* who reports */
    struct wire_report report;                         /* owned; freed before done */
    struct loop *loop;
    void (*done)(struct book_entry *e); /* on the loop; may free the entry */
    void *arg;
    /* What comes of it: */
    int code;                           /* 0: what is told below is in the file; negative: nothing is, for certain */
    struct wire_report_response answer; /* holdings, wanted and pulls_taken */
    /* book.c's own: */
    struct report_book *book;
    struct writer_job job;
    struct loop_task task;
    int64_t added, bytes; /* pulls; that it counts as while it waits for the writer */
};
/* Any thread. True: the report changes nothing, as most do, and out has the answer: holdings, wanted and pulls_taken. */
bool report_book_answer(struct report_book *b, const char *edge, const struct wire_report *m,
                        struct wire_report_response *out);
/* Any thread. True: the entry is answered already, as there is nothing to write, or nothing is taken now. False: done is
 * called later. */
bool report_book_take(struct report_book *b, struct book_entry *e);

/* Any thread. Pulls that are counted, of all names. */
int64_t report_book_pulls(const struct report_book *b);
/* Any thread that may block: as pulls_json. */
int report_book_pulls_json(struct report_book *b, const char *repo, int max, json_t **out) must_check;

#endif
