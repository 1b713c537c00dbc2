/* reports.db: opening, reading, and taking reports. Thread: see book.h. */
#include "central/reports/book.h"

#include "central/reports/held_rows.h"
#include "common/core/alloc.h"
#include "common/core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BATCH 64 /* reports in a transaction */
/* Bytes of reports that wait for the writer; of more nothing is taken, and the edges tell it again. An edge tells 57 KB at
 * a time, so without a limit a thousand that tell all they hold at once take more memory than what is known of them. The
 * writer has enough to do for a fifth of a second. */
#define WAITING_MAX (8 * MiB)

/* READING ends once, in end_reading: in TAKING, or in UNREADABLE, where reports are answered as by a central that keeps
 * none. */
enum book_state { READING, TAKING, UNREADABLE };

struct report_book {
    struct writer *writer; /* the reader's thread alone, while READING */
    struct holdings *holdings;
    struct held_rows *rows;
    struct pulls *pulls;
    char *path;
    bool (*is_gone)(const char *edge, void *arg);
    void *arg;
    pthread_t reader;
    bool reads;              /* the thread was begun */
    _Atomic int64_t waiting; /* bytes of reports that the writer has yet to take */
    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows; the writer's is taken under it */
    enum book_state state;
    struct writer_job *first, **last; /* reports that wait for the reader */
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
    atomic_fetch_sub(&entry->book->waiting, entry->bytes);
    wire_report_fini(&entry->report);
    entry->task = (struct loop_task){.fn = take_told};
    loop_post(entry->loop, &entry->task);
}

static int64_t bytes_of(const struct wire_report *m) {
    const struct wire_holdings *w = m->holdings;
    size_t digests = w ? w->gained.n + w->lost.n : 0;
    for (size_t i = 0; w && i < w->n_whole; i++)
        digests += w->whole[i].held.n;
    return (int64_t)(digests * NUMBERED_DIGEST + (m->pulls ? m->pulls->n * sizeof(*m->pulls->counts) : 0));
}

static bool changes_nothing(const struct wire_report *m) {
    const struct wire_holdings *w = m->holdings;
    return !m->pulls && (!w || (w->gained.n + w->lost.n + w->n_whole == 0 && !w->tiles));
}

/* An edge waits for the answer before it reports again, and central's DNS leaves out whom it does not hear. So while the
 * reader is at work a report is answered at once, and nothing of it is taken: the edge tells all again. That its last
 * batch of pulls is yet to come cannot be said of the first, which waits. */
static bool must_wait(const struct wire_report *m) {
    return m->pulls && m->pulls->sequence == 1;
}

static void answer_untaken(struct book_entry *entry) {
    if (entry->report.pulls) entry->answer.pulls_taken = entry->report.pulls->sequence - 1;
}

/* For the writer. False: too much waits for it, and the report is answered untaken. */
static bool submit(struct report_book *b, struct book_entry *entry) {
    if (atomic_load(&b->waiting) >= WAITING_MAX) {
        if (!must_wait(&entry->report)) {
            answer_untaken(entry);
            wire_report_fini(&entry->report);
            return false;
        }
        wire_report_drop_holdings(&entry->report);
    }
    entry->bytes = bytes_of(&entry->report);
    atomic_fetch_add(&b->waiting, entry->bytes);
    writer_submit(b->writer, &entry->job);
    return true;
}

/* True: the report waits for the reader. */
static bool waits_in_line(struct report_book *b, struct book_entry *entry, enum book_state *state) {
    pthread_mutex_lock(&b->lock);
    *state = b->state;
    bool waits = *state == READING && must_wait(&entry->report);
    if (waits) {
        *b->last = &entry->job;
        b->last = &entry->job.next;
    }
    pthread_mutex_unlock(&b->lock);
    return waits;
}

bool report_book_answer(struct report_book *b, const char *edge, const struct wire_report *m,
                        struct wire_report_response *out) {
    if (!changes_nothing(m)) return false;
    pthread_mutex_lock(&b->lock);
    bool takes = b->state == TAKING;
    pthread_mutex_unlock(&b->lock);
    out->holdings =
        m->holdings && takes ? compare(b, holdings_find(b->holdings, edge), m->holdings) : WIRE_HOLDINGS_NOT_TAKEN;
    out->pulls_taken = out->n_wanted = 0;
    return true;
}

bool report_book_take(struct report_book *b, struct book_entry *entry) {
    enum book_state state;
    entry->book = b;
    entry->code = 0;
    entry->added = entry->bytes = 0;
    entry->answer = (struct wire_report_response){0};
    entry->job = (struct writer_job){.run = take_run, .after_commit = take_done};
    if (report_book_answer(b, entry->edge, &entry->report, &entry->answer)) {
        wire_report_fini(&entry->report);
        return true;
    }
    if (waits_in_line(b, entry, &state)) return false;
    if (state != TAKING) {
        if (state == READING) answer_untaken(entry);
        wire_report_fini(&entry->report);
        return true;
    }
    return !submit(b, entry);
}

/* --- asking --- */

int64_t report_book_pulls(const struct report_book *b) {
    return pulls_total(b->pulls);
}

int report_book_pulls_json(struct report_book *b, const char *repo, int max, json_t **out) {
    sqlite3 *db = NULL;
    struct error err = {0};
    int r = db_open(&db, b->path, SQLITE_OPEN_READONLY, &err);
    if (r == 0) r = pulls_json(db, repo, max, out);
    sqlite3_close(db);
    return r;
}

/* --- what is not needed any more --- */

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

/* --- opening --- */

static int open_file_of(struct report_book *b, struct error *err) {
    sqlite3 *db = NULL;
    _cleanup_(freep) char *schema = xasprintf("%s%s", held_rows_schema, pulls_schema);
    int r = writer_open(&b->writer, b->path, "reports-writer", schema, BATCH, err);
    if (r == 0) r = writer_reader(b->writer, &db, err);
    if (r == 0) r = pulls_read(b->pulls, db, err);
    sqlite3_close(db);
    return r;
}

/* Nothing was written yet, so no statement of the writer's connection was made. */
static int begin_anew(struct report_book *b, struct error *err) {
    writer_close(b->writer);
    b->writer = NULL;
    log_warn("reports_put_aside", KV_S("path", b->path), KV_S("why", err->msg),
             KV_S("then", "it is kept as reports.db.damaged; edges tell again what they hold; pulls are counted anew"));
    int r = db_put_aside(b->path, err);
    return r == 0 ? open_file_of(b, err) : r;
}

/* --- reading, on its thread --- */

static int read_file(struct report_book *b, struct holdings *into, struct error *err) {
    struct held_reading how = {.into = into, .is_gone = b->is_gone, .arg = b->arg, .stop = &b->stop};
    struct tidy *t = xcalloc(1, sizeof(*t));
    *t = (struct tidy){.job = {.run = tidy_run, .after_commit = tidy_done}, .book = b};
    int r = writer_reader(b->writer, &how.db, err);
    if (r == 0) r = held_rows_read(b->rows, &how, &t->dirty, err);
    sqlite3_close(how.db);
    if (r < 0) {
        tidy_done(&t->job, r);
        return r;
    }
    holdings_adopt(b->holdings, into);
    writer_submit(b->writer, &t->job);
    return 0;
}

/* code: for the reports that wait, where they cannot be taken. */
static void end_reading(struct report_book *b, enum book_state state, int code) {
    pthread_mutex_lock(&b->lock);
    b->state = state;
    for (struct writer_job *job = b->first, *next; job; job = next) {
        next = job->next;
        if (state == TAKING)
            writer_submit(b->writer, job);
        else
            take_done(job, code);
    }
    b->first = NULL;
    pthread_mutex_unlock(&b->lock);
}

static void *reader_main(void *arg) {
    struct report_book *b = arg;
    struct error err = {0};
    struct holdings *into = holdings_new_like(b->holdings);
    pthread_setname_np(pthread_self(), "reports-reader");
    int r = read_file(b, into, &err);
    if (r < 0) holdings_free(into);
    if (r == ERR_CORRUPT) {
        r = begin_anew(b, &err);
        if (r == 0) holdings_set_state(b->holdings, 0);
    }
    if (r < 0) holdings_set_state(b->holdings, r);
    if (r < 0 && r != -ECANCELED)
        log_error("reports_not_kept", KV_S("path", b->path), KV_S("why", err.msg),
                  KV_S("then", "what edges hold, and pulls, are not known until the next start"));
    end_reading(b, r == 0 ? TAKING : UNREADABLE, r == -ECANCELED ? r : 0);
    return NULL;
}

/* --- life --- */

int report_book_open(struct report_book **out, const char *path, struct holdings *h, unsigned pull_names,
                     bool (*is_gone)(const char *edge, void *arg), void *arg, struct error *err) {
    struct report_book *b = xcalloc(1, sizeof(*b));
    *b = (struct report_book){.path = xstrdup(path), .holdings = h, .is_gone = is_gone, .arg = arg, .last = &b->first};
    b->rows = held_rows_new(h);
    b->pulls = pulls_new(pull_names);
    pthread_mutex_init(&b->lock, NULL);
    int r = open_file_of(b, err);
    if (r == ERR_CORRUPT) r = begin_anew(b, err);
    holdings_set_state(h, r == 0 ? ERR_BUSY : r);
    if (r < 0) {
        error_wrap(err, "opening %s", path);
        report_book_close(b);
        return r;
    }
    if (pthread_create(&b->reader, NULL, reader_main, b) != 0) abort();
    b->reads = true;
    *out = b;
    return 0;
}

void report_book_close(struct report_book *b) {
    if (!b) return;
    atomic_store(&b->stop, true);
    if (b->reads) pthread_join(b->reader, NULL);
    writer_close(b->writer);
    held_rows_free(b->rows);
    pulls_free(b->pulls);
    pthread_mutex_destroy(&b->lock);
    free(b->path);
    free(b);
}
