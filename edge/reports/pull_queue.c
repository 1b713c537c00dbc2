/* Memory under a lock, the disk by a writer's jobs. Thread: see pull_queue.h. */
#include "edge/reports/pull_queue.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/map.h"
#include "common/db/pull_table.h"
#include "common/db/writer.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define MEMORY_NAMES_MAX 4096 /* names in memory; pulls of further ones are counted as others */
#define FLUSH_MS 100
#define JOBS_IN_ONE 16
/* Names in a batch, and the bytes that they may have: it shares a report with much else. */
#define BATCH_NAMES 400
#define BATCH_BYTES 16384
/* A central that takes no pulls is of an older version. */
#define OLD_CENTRAL_MS 60000

static const char schema[] =
    PULL_TABLE_SCHEMA("counts") PULL_TABLE_SCHEMA("batch") "CREATE TABLE IF NOT EXISTS place(id INTEGER PRIMARY KEY, "
                                                           "epoch BLOB NOT NULL, sequence INTEGER NOT NULL) STRICT;";

struct name {
    int64_t n; /* not on the disk yet */
    struct repo_name repo;
    char tag[TAG_MAX + 1];
};

enum statement { GET_PLACE, PUT_PLACE, MOST, DROP_COUNT, CLEAR_BATCH, SUM, READ_BATCH, STATEMENT_COUNT };

struct pull_queue {
    struct writer *writer;
    struct loop *loop;
    char *path;
    unsigned names_max;
    struct loop_task wake;
    struct timer flush;
    int64_t told_ms; /* of a batch that central did not take; 0: none */
    pthread_mutex_t lock;
    struct map *names; /* key -> struct name */
    int64_t other;     /* of names that have no place in memory */
    bool counting;     /* something waits for a flush that is not on its way */
    bool working;      /* a job of the writer is on its way */
    bool open, closing;
    struct wire_pulls *batch;
    struct pull_queue_stats stats;
    /* The writer's own: */
    struct pull_table counts, batches;
    sqlite3_stmt *st[STATEMENT_COUNT];
};

/* One job: writes what was counted, takes away the batch that central has, and makes the next. */
struct pull_job {
    struct writer_job job;
    struct pull_queue *queue;
    struct name *names; /* taken out of memory */
    size_t n_names;
    int64_t other;
    uint64_t taken;           /* by central; 0: nothing new */
    uint64_t sequence;        /* of the batch in memory; 0: none */
    struct wire_pulls *batch; /* made, or read */
    bool cleared;             /* the batch in memory is no more */
    int64_t queued, delivered, written;
    int rc;
};

static void batch_free(struct wire_pulls *b) {
    if (!b) return;
    free(b->counts);
    free(b);
}

/* --- counting: any thread --- */

#define KEY_MAX (sizeof(struct repo_name) + TAG_MAX + 1)

/* A warm hit passes here, so nothing is formatted. */
static size_t key_of(const struct repo_name *repo, const char *tag, char out[KEY_MAX]) {
    char *end = stpcpy(stpcpy(out, repo->upstream) + 1, repo->path) + 1;
    return (size_t)(stpcpy(end, tag) - out);
}

/* Under the lock. NULL: there is no place. */
static struct name *name_of(struct pull_queue *q, const struct repo_name *repo, const char *tag) {
    char key[KEY_MAX];
    size_t len = key_of(repo, tag, key);
    struct name *p = map_get(q->names, key, len);
    if (p || map_len(q->names) >= MEMORY_NAMES_MAX) return p;
    p = xcalloc(1, sizeof(*p));
    p->repo = *repo;
    snprintf(p->tag, sizeof(p->tag), "%s", tag);
    map_set(q->names, key, len, p);
    return p;
}

static void add(struct pull_queue *q, const struct repo_name *repo, const char *tag, int64_t n) {
    struct name *p = name_of(q, repo, tag);
    if (p)
        p->n += n;
    else
        q->other += n;
}

void pull_queue_count(struct pull_queue *q, const struct repo_name *repo, const char *tag) {
    pthread_mutex_lock(&q->lock);
    add(q, repo, tag, 1);
    q->stats.counted++;
    q->stats.unwritten++;
    bool first = !q->counting;
    q->counting = true;
    pthread_mutex_unlock(&q->lock);
    if (first) loop_post_once(q->loop, &q->wake);
}

struct gathering {
    struct name *to;
    size_t n;
    int64_t pulls;
};

static bool gather(const void *key, size_t len, void *value, void *arg) {
    (void)key, (void)len;
    struct gathering *g = arg;
    struct name *p = value;
    if (p->n > 0) g->to[g->n++] = *p;
    g->pulls += p->n;
    p->n = 0;
    return true;
}

/* Under the lock: all that was counted goes into the job. */
static void gather_all(struct pull_queue *q, struct pull_job *j) {
    struct gathering g = {.to = xcalloc(map_len(q->names) + 1, sizeof(struct name))};
    map_each(q->names, gather, &g);
    j->names = g.to;
    j->n_names = g.n;
    j->other = q->other;
    j->written = g.pulls + j->other;
    q->other = 0;
    q->counting = false;
    if (map_len(q->names) < MEMORY_NAMES_MAX) return;
    map_free(q->names);
    q->names = map_new(free);
}

/* --- the disk: the writer --- */

static sqlite3_stmt *statement(struct pull_queue *q, sqlite3 *db, enum statement which) {
    static const char *const sql[] = {
        [GET_PLACE] = "SELECT epoch, sequence FROM place WHERE id = 1",
        [PUT_PLACE] = "INSERT OR REPLACE INTO place(id, epoch, sequence) VALUES(1, ?, ?)",
        [MOST] = "SELECT repo, tag, n FROM counts ORDER BY n DESC LIMIT ?",
        [DROP_COUNT] = "DELETE FROM counts WHERE repo = ? AND tag = ?",
        [CLEAR_BATCH] = "DELETE FROM batch",
        [SUM] = "SELECT (SELECT total(n) FROM counts) + (SELECT total(n) FROM batch)",
        [READ_BATCH] = "SELECT repo, tag, n FROM batch",
    };
    return db_prepared(db, &q->st[which], sql[which]);
}

static int get_place(struct pull_queue *q, sqlite3 *db, struct wire_pulls *b) {
    sqlite3_stmt *st = statement(q, db, GET_PLACE);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == sizeof(b->epoch)) {
        memcpy(b->epoch, sqlite3_column_blob(st, 0), sizeof(b->epoch));
        b->sequence = (uint64_t)sqlite3_column_int64(st, 1);
    }
    db_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int put_place(struct pull_queue *q, sqlite3 *db, const struct wire_pulls *b) {
    sqlite3_stmt *st = statement(q, db, PUT_PLACE);
    sqlite3_bind_blob(st, 1, b->epoch, sizeof(b->epoch), SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)b->sequence);
    return db_run(st);
}

static int write_counts(struct pull_queue *q, sqlite3 *db, const struct pull_job *j) {
    int rc = j->other ? pull_table_add(&q->counts, db, "", "", j->other) : SQLITE_OK;
    for (size_t i = 0; i < j->n_names && rc == SQLITE_OK; i++) {
        char repo[REPO_STR_MAX];
        rc = pull_table_add(&q->counts, db, repo_name_str(&j->names[i].repo, repo), j->names[i].tag, j->names[i].n);
    }
    return rc == SQLITE_OK ? pull_table_bound(&q->counts, db, q->names_max) : rc;
}

/* Reads rows of repo, tag, n into a batch, as far as it has room. */
static int read_rows(sqlite3_stmt *st, struct wire_pulls *b) {
    size_t bytes = 0;
    int rc;
    b->counts = xcalloc(BATCH_NAMES, sizeof(*b->counts));
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *repo = (const char *)sqlite3_column_text(st, 0), *tag = (const char *)sqlite3_column_text(st, 1);
        uint64_t n = (uint64_t)sqlite3_column_int64(st, 2);
        bytes += repo && tag ? strlen(repo) + strlen(tag) + 16 : 0;
        if (!repo || !tag || b->n == BATCH_NAMES || bytes > BATCH_BYTES) break;
        if (!repo[0]) {
            b->other = n;
            continue;
        }
        struct wire_pull *p = &b->counts[b->n++];
        snprintf(p->repository, sizeof(p->repository), "%s", repo);
        snprintf(p->tag, sizeof(p->tag), "%s", tag);
        p->count = n;
    }
    db_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int move_row(struct pull_queue *q, sqlite3 *db, const char *repo, const char *tag, uint64_t n) {
    sqlite3_stmt *drop = statement(q, db, DROP_COUNT);
    sqlite3_bind_text(drop, 1, repo, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(drop, 2, tag, -1, SQLITE_TRANSIENT);
    int rc = db_run(drop);
    return rc == SQLITE_OK ? pull_table_add(&q->batches, db, repo, tag, (int64_t)n) : rc;
}

/* Moves counts into a batch with the next number, if there are any. */
static int make_batch(struct pull_queue *q, sqlite3 *db, struct pull_job *j) {
    struct wire_pulls *b = xcalloc(1, sizeof(*b));
    sqlite3_stmt *most = statement(q, db, MOST);
    sqlite3_bind_int64(most, 1, BATCH_NAMES);
    int rc = read_rows(most, b);
    bool some = b->n > 0 || b->other > 0;
    if (rc == SQLITE_OK && some) rc = get_place(q, db, b);
    b->sequence++;
    if (rc == SQLITE_OK && some) rc = put_place(q, db, b);
    if (rc == SQLITE_OK && b->other) rc = move_row(q, db, "", "", b->other);
    for (size_t i = 0; i < b->n && rc == SQLITE_OK; i++)
        rc = move_row(q, db, b->counts[i].repository, b->counts[i].tag, b->counts[i].count);
    if (rc == SQLITE_OK && some)
        j->batch = b;
    else
        batch_free(b);
    return rc;
}

static int new_epoch(struct pull_queue *q, sqlite3 *db) {
    struct wire_pulls b = {.sequence = 0};
    if (getrandom(b.epoch, sizeof(b.epoch), 0) != (ssize_t)sizeof(b.epoch)) abort();
    return put_place(q, db, &b);
}

/* Central has the batch. If it has more of this epoch than was ever made, the file is an older copy: numbers begin anew,
 * or what comes next would be taken for what central has. */
static int clear_batch(struct pull_queue *q, sqlite3 *db, struct pull_job *j) {
    int rc = db_run(statement(q, db, CLEAR_BATCH));
    if (rc == SQLITE_OK && j->taken > j->sequence) rc = new_epoch(q, db);
    j->cleared = true;
    return rc;
}

static int sum(struct pull_queue *q, sqlite3 *db, int64_t *out) {
    sqlite3_stmt *st = statement(q, db, SUM);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(st, 0);
    db_reset(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* All or nothing, whatever else is in the transaction. */
static void job_run(struct writer_job *job, sqlite3 *db) {
    struct pull_job *j = container_of(job, struct pull_job, job);
    struct pull_queue *q = j->queue;
    int rc = sqlite3_exec(db, "SAVEPOINT pulls", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = write_counts(q, db, j);
    if (rc == SQLITE_OK && j->taken) rc = clear_batch(q, db, j);
    if (rc == SQLITE_OK && (!j->sequence || j->cleared)) rc = make_batch(q, db, j);
    if (rc == SQLITE_OK) rc = sum(q, db, &j->queued);
    j->rc = rc;
    if (rc != SQLITE_OK) rc = sqlite3_exec(db, "ROLLBACK TO pulls", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, "RELEASE pulls", NULL, NULL, NULL);
    if (j->rc == SQLITE_OK) j->rc = rc;
}

/* Under the lock. */
static void put_back(struct pull_queue *q, const struct pull_job *j) {
    for (size_t i = 0; i < j->n_names; i++)
        add(q, &j->names[i].repo, j->names[i].tag, j->names[i].n);
    q->other += j->other;
}

/* Under the lock. */
static void settle(struct pull_queue *q, struct pull_job *j) {
    q->stats.queued = j->queued;
    q->stats.unwritten -= j->written;
    q->stats.delivered += j->cleared ? j->delivered : 0;
    if (!j->cleared && !j->batch) return;
    batch_free(q->batch);
    q->batch = j->batch;
    j->batch = NULL;
}

static void job_done(struct writer_job *job, int code) {
    struct pull_job *j = container_of(job, struct pull_job, job);
    struct pull_queue *q = j->queue;
    bool good = code == 0 && j->rc == SQLITE_OK;
    pthread_mutex_lock(&q->lock);
    if (good)
        settle(q, j);
    else
        put_back(q, j);
    q->working = false;
    bool again = (!good || q->counting) && !q->closing;
    q->counting = q->counting || !good;
    pthread_mutex_unlock(&q->lock);
    if (!good) log_warn("pulls_not_written", KV_S("path", q->path), KV_S("why", error_name(code)));
    if (again) loop_post_once(q->loop, &q->wake);
    batch_free(j->batch);
    free(j->names);
    free(j);
}

/* taken: as in struct pull_job. False: another job is on its way. */
static bool submit(struct pull_queue *q, uint64_t taken) {
    struct pull_job *j = xcalloc(1, sizeof(*j));
    j->job = (struct writer_job){.run = job_run, .after_commit = job_done};
    j->queue = q;
    pthread_mutex_lock(&q->lock);
    bool free_now = !q->working;
    if (free_now) {
        q->working = true;
        gather_all(q, j);
        j->sequence = q->batch ? q->batch->sequence : 0;
        j->taken = taken;
        for (size_t i = 0; q->batch && i < q->batch->n; i++)
            j->delivered += (int64_t)q->batch->counts[i].count;
        j->delivered += q->batch ? (int64_t)q->batch->other : 0;
    }
    pthread_mutex_unlock(&q->lock);
    if (free_now)
        writer_submit(q->writer, &j->job);
    else
        free(j);
    return free_now;
}

/* --- the fetch loop --- */

static void on_wake(struct loop_task *task) {
    struct pull_queue *q = container_of(task, struct pull_queue, wake);
    timer_set(&q->flush, FLUSH_MS);
}

static void on_flush(void *arg) {
    submit(arg, 0); /* if one is on its way, that one's end wakes again */
}

struct wire_pulls *pull_queue_tell(struct pull_queue *q, int64_t now_ms) {
    if (q->told_ms && now_ms - q->told_ms < OLD_CENTRAL_MS) return NULL;
    pthread_mutex_lock(&q->lock);
    struct wire_pulls *b = q->working ? NULL : q->batch; /* a job may put another in its place */
    pthread_mutex_unlock(&q->lock);
    return b;
}

void pull_queue_answered(struct pull_queue *q, uint64_t taken, int64_t now_ms) {
    pthread_mutex_lock(&q->lock);
    uint64_t sequence = q->batch ? q->batch->sequence : 0;
    pthread_mutex_unlock(&q->lock);
    q->told_ms = taken ? 0 : now_ms;
    if (sequence && taken >= sequence) submit(q, taken); /* if it cannot be now, the batch is told once more */
}

void pull_queue_stats(struct pull_queue *q, struct pull_queue_stats *out) {
    pthread_mutex_lock(&q->lock);
    *out = q->stats;
    pthread_mutex_unlock(&q->lock);
}

/* --- life --- */

struct reading {
    struct writer_job job;
    struct pull_queue *queue;
    struct wire_pulls batch;
    int64_t queued;
    int rc;
};

static void read_run(struct writer_job *job, sqlite3 *db) {
    struct reading *r = container_of(job, struct reading, job);
    struct pull_queue *q = r->queue;
    r->rc = get_place(q, db, &r->batch);
    static const uint8_t none[sizeof(r->batch.epoch)];
    if (r->rc == SQLITE_OK && memcmp(r->batch.epoch, none, sizeof(none)) == 0) r->rc = new_epoch(q, db);
    if (r->rc == SQLITE_OK) r->rc = read_rows(statement(q, db, READ_BATCH), &r->batch);
    if (r->rc == SQLITE_OK) r->rc = sum(q, db, &r->queued);
}

/* The batch of an earlier life is told again under its number. */
static int read_all(struct pull_queue *q, struct error *err) {
    struct reading r = {.job = {.run = read_run}, .queue = q, .rc = SQLITE_ERROR};
    writer_submit(q->writer, &r.job);
    writer_flush(q->writer);
    q->stats.queued = r.queued;
    if (r.rc == SQLITE_OK && r.batch.n + r.batch.other > 0) {
        q->batch = xcalloc(1, sizeof(*q->batch));
        *q->batch = r.batch;
    } else {
        free(r.batch.counts);
    }
    if (r.rc == SQLITE_OK) return 0;
    return error_set(err, db_is_damage(r.rc) ? ERR_CORRUPT : ERR_INTERNAL, "reading %s: %s", q->path,
                     sqlite3_errstr(r.rc));
}

static int open_writer(struct pull_queue *q, struct error *err) {
    int r = writer_open(&q->writer, q->path, "reports-writer", schema, JOBS_IN_ONE, err);
    return r == 0 ? read_all(q, err) : r;
}

static void close_writer(struct pull_queue *q) {
    if (q->writer) writer_close(q->writer);
    q->writer = NULL;
    memset(q->st, 0, sizeof(q->st));
    q->counts = (struct pull_table){.name = "counts"};
    q->batches = (struct pull_table){.name = "batch"};
}

int pull_queue_open(struct pull_queue **out, const char *path, struct loop *loop, unsigned names_max,
                    struct error *err) {
    struct pull_queue *q = xcalloc(1, sizeof(*q));
    q->path = xstrdup(path);
    q->loop = loop;
    q->names_max = names_max;
    q->names = map_new(free);
    q->wake.fn = on_wake;
    pthread_mutex_init(&q->lock, NULL);
    timer_init(&q->flush, loop, on_flush, q);
    close_writer(q); /* for its names */
    int r = open_writer(q, err);
    if (r == ERR_CORRUPT) {
        close_writer(q);
        log_warn("reports_put_aside", KV_S("path", q->path), KV_S("why", err->msg),
                 KV_S("then", "it is kept as reports.db.damaged; pulls that central has not been told are lost"));
        r = db_put_aside(q->path, err);
        if (r == 0) r = open_writer(q, err);
    }
    if (r < 0) {
        pull_queue_close(q);
        return r;
    }
    q->open = true;
    loop_post_once(loop, &q->wake); /* counts of an earlier life become a batch */
    *out = q;
    return 0;
}

void pull_queue_close(struct pull_queue *q) {
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_mutex_unlock(&q->lock);
    if (q->open) {
        writer_flush(q->writer);
        loop_run_pending(q->loop); /* it was woken by what the writer has just ended */
        submit(q, 0);
    }
    close_writer(q);
    timer_fini(&q->flush);
    batch_free(q->batch);
    map_free(q->names);
    pthread_mutex_destroy(&q->lock);
    free(q->path);
    free(q);
}
