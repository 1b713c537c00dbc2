/* reports.db: opening, reading, and taking reports. Thread: see book.h. */
#include "central/reports/book.h"

#include "central/reports/held_rows.h"
#include "common/core/alloc.h"
#include "common/core/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64 /* reports in a transaction */

struct report_book {
    struct writer *writer;
    struct holdings *holdings;
    struct held_rows *rows;
    struct pulls *pulls;
    char *path;
    unsigned pull_names;
};

/* --- taking a report: the writer --- */

static int take_whole(struct report_book *b, struct holder *e, const struct wire_holdings *w,
                      struct holdings_dirty *dirty) {
    uint64_t tiles[HOLDING_TILE_WORDS] = {0};
    struct holdings_keep *keep = holdings_keep_new();
    int code = 0;
    for (size_t i = 0; i < w->n_whole; i++) {
        const struct wire_digests *held = &w->whole[i].held;
        tiles[w->whole[i].tile / 64] |= 1ULL << (w->whole[i].tile % 64);
        int r = holdings_gain(b->holdings, e, held->bytes, held->n, dirty);
        if (r < 0) code = r;
        holdings_keep_add(b->holdings, keep, held->bytes, held->n);
    }
    holdings_keep_only(b->holdings, e, keep, tiles, dirty);
    holdings_keep_free(keep);
    return code;
}

static int take_changes(struct report_book *b, struct holder *e, const struct wire_holdings *w,
                        struct holdings_dirty *dirty) {
    holdings_lose(b->holdings, e, w->lost.bytes, w->lost.n, dirty);
    int code = holdings_gain(b->holdings, e, w->gained.bytes, w->gained.n, dirty);
    if (w->n_whole == 0) return code;
    int whole = take_whole(b, e, w, dirty);
    return code < 0 ? code : whole;
}

static void compare_tiles(struct report_book *b, const struct holder *e, const struct wire_holdings *w,
                          struct wire_report_response *answer) {
    uint64_t ours[WIRE_HELD_TILES];
    holdings_tiles(b->holdings, e, ours);
    for (unsigned t = 0; t < WIRE_HELD_TILES; t++)
        if (ours[t] != w->tiles[t]) answer->wanted[answer->n_wanted++] = (uint16_t)t;
}

static enum wire_holdings_state compare(struct report_book *b, const struct holder *e, const struct wire_holdings *w) {
    const struct set_digest theirs = set_digest_get(w->digest);
    const struct set_digest ours = e ? holdings_sum(b->holdings, e) : (struct set_digest){0};
    return set_digest_eq(&ours, &theirs) ? WIRE_HOLDINGS_EQUAL : WIRE_HOLDINGS_DIFFER;
}

static int take_pulls(struct report_book *b, sqlite3 *db, struct book_entry *entry) {
    int64_t id = held_rows_edge(b->rows, db, entry->edge, entry->site);
    if (!id) return ERR_INTERNAL;
    return pulls_take(b->pulls, db, id, entry->report.pulls, &entry->answer.pulls_taken, &entry->added);
}

static int take_holdings(struct report_book *b, sqlite3 *db, struct book_entry *entry) {
    const struct wire_holdings *w = entry->report.holdings;
    struct holder *e = holdings_edge(b->holdings, entry->edge, entry->site);
    struct holdings_dirty dirty = {0};
    int full = take_changes(b, e, w, &dirty);
    int code = held_rows_write(b->rows, db, e, &dirty);
    holdings_dirty_fini(&dirty);
    if (full == 0) {
        entry->answer.holdings = compare(b, e, w);
        if (w->tiles) compare_tiles(b, e, w, &entry->answer);
    }
    return code;
}

static void take_run(struct writer_job *job, sqlite3 *db) {
    struct book_entry *entry = container_of(job, struct book_entry, job);
    struct report_book *b = entry->book;
    if (entry->report.holdings) entry->code = take_holdings(b, db, entry);
    if (entry->code == 0 && entry->report.pulls) entry->code = take_pulls(b, db, entry);
}

static void take_told(struct loop_task *task) {
    struct book_entry *entry = container_of(task, struct book_entry, task);
    entry->done(entry);
}

static void take_done(struct writer_job *job, int code) {
    struct book_entry *entry = container_of(job, struct book_entry, job);
    if (code < 0) entry->code = code;
    if (code == 0) pulls_added(entry->book->pulls, entry->added);
    wire_report_fini(&entry->report);
    entry->task = (struct loop_task){.fn = take_told};
    loop_post(entry->loop, &entry->task);
}

static bool changes_nothing(const struct wire_report *m) {
    const struct wire_holdings *w = m->holdings;
    return !m->pulls && (!w || (w->gained.n + w->lost.n + w->n_whole == 0 && !w->tiles));
}

bool report_book_take(struct report_book *b, struct book_entry *entry) {
    const struct wire_holdings *w = entry->report.holdings;
    entry->book = b;
    entry->code = 0;
    entry->added = 0;
    entry->answer = (struct wire_report_response){0};
    if (changes_nothing(&entry->report)) {
        if (w) entry->answer.holdings = compare(b, holdings_find(b->holdings, entry->edge), w);
        wire_report_fini(&entry->report);
        return true;
    }
    entry->job = (struct writer_job){.run = take_run, .after_commit = take_done};
    writer_submit(b->writer, &entry->job);
    return false;
}

/* --- asking --- */

int64_t report_book_pulls(const struct report_book *b) {
    return pulls_total(b->pulls);
}

int report_book_pulls_json(struct report_book *b, const char *repo, int max, json_t **out) {
    sqlite3 *db = NULL;
    struct error err = {0};
    int r = writer_reader(b->writer, &db, &err);
    if (r == 0) r = pulls_json(db, repo, max, out);
    sqlite3_close(db);
    return r;
}

/* --- life --- */

struct tidy {
    struct writer_job job;
    struct report_book *book;
    struct holdings_dirty dirty;
};

static int forget_pulls(int64_t edge, sqlite3 *db, void *arg) {
    return pulls_forget(arg, db, edge);
}

static void tidy_run(struct writer_job *job, sqlite3 *db) {
    struct tidy *t = container_of(job, struct tidy, job);
    int r = held_rows_write(t->book->rows, db, NULL, &t->dirty);
    if (r == 0) r = held_rows_forget(t->book->rows, db, forget_pulls, t->book->pulls);
    if (r < 0) log_warn("reports_tidy_failed", KV_S("path", t->book->path), KV_S("why", error_name(r)));
}

static void tidy_done(struct writer_job *job, int code) {
    struct tidy *t = container_of(job, struct tidy, job);
    (void)code; /* what is left is dropped at the next start */
    holdings_dirty_fini(&t->dirty);
    free(t);
}

static int open_file_of(struct report_book *b, bool (*is_gone)(const char *edge, void *arg), void *arg,
                        struct error *err) {
    sqlite3 *db = NULL;
    _cleanup_(freep) char *schema = xasprintf("%s%s", held_rows_schema, pulls_schema);
    int r = writer_open(&b->writer, b->path, "reports-writer", schema, BATCH, err);
    if (r == 0) r = writer_reader(b->writer, &db, err);
    if (r < 0) return r;
    struct tidy *t = xcalloc(1, sizeof(*t));
    *t = (struct tidy){.job = {.run = tidy_run, .after_commit = tidy_done}, .book = b};
    b->rows = held_rows_new(b->holdings);
    b->pulls = pulls_new(b->pull_names);
    r = held_rows_read(b->rows, db, is_gone, arg, &t->dirty, err);
    if (r == 0) r = pulls_read(b->pulls, db, err);
    sqlite3_close(db);
    if (r == 0)
        writer_submit(b->writer, &t->job);
    else
        tidy_done(&t->job, 0);
    return r;
}

static void close_file(struct report_book *b) {
    if (b->writer) writer_close(b->writer);
    held_rows_free(b->rows);
    pulls_free(b->pulls);
    b->pulls = NULL;
    b->writer = NULL;
    b->rows = NULL;
}

static int put_aside(const char *path, struct error *err) {
    _cleanup_(freep) char *aside = xasprintf("%s.damaged", path), *log = xasprintf("%s-wal", path);
    log_warn("reports_put_aside", KV_S("path", path), KV_S("kept_as", aside), KV_S("why", err->msg),
             KV_S("then", "edges tell again what they hold; pulls are counted anew"));
    if (rename(path, aside) < 0) return error_errno(err, "moving the damaged file %s aside", path);
    unlink(log);
    return 0;
}

int report_book_open(struct report_book **out, const char *path, struct holdings *h, unsigned pull_names,
                     bool (*is_gone)(const char *edge, void *arg), void *arg, struct error *err) {
    struct report_book *b = xcalloc(1, sizeof(*b));
    b->path = xstrdup(path);
    b->holdings = h;
    b->pull_names = pull_names;
    int r = open_file_of(b, is_gone, arg, err);
    if (r == ERR_CORRUPT) {
        close_file(b);
        r = put_aside(path, err);
        if (r == 0) r = open_file_of(b, is_gone, arg, err);
    }
    if (r < 0) {
        error_wrap(err, "opening %s", path);
        report_book_close(b);
        return r;
    }
    *out = b;
    return 0;
}

void report_book_close(struct report_book *b) {
    if (!b) return;
    close_file(b);
    free(b->path);
    free(b);
}
