/* The thread that owns an SQLite write connection. It takes all queued jobs, runs them in one transaction and tells
 * each the result. Thread: its own; submit and flush from any other. */
#include "common/db/writer.h"

#include "common/core/alloc.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/core/log.h"
#include "common/core/open_file.h"

#define WAITING_MAX 65536 /* jobs that may wait until the disk takes them; further ones fail */
#define FULL_PAUSE_S 1

struct writer {
    sqlite3 *db; /* the writer thread only, once started */
    pthread_t thread;
    char name[16];
    unsigned batch;
    int synced_changes;   /* writer thread only: changes that were synced by the last sync */
    int told;             /* writer thread only: how the last batch ended, so that a failure is logged once */
    unsigned n_waiting;   /* writer thread only: jobs that failed because the disk does not take them */
    atomic_int refusal;   /* why jobs wait; 0: none does */
    pthread_mutex_t lock; /* guards what follows; held for a few instructions */
    pthread_cond_t some;
    struct writer_job *first, **last;
    bool stopping;
    bool full; /* all queued jobs wait for the disk: try again after a pause */
    char path[];
};

/* Called with the lock held. */
static void pause_while_full(struct writer *w) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += FULL_PAUSE_S;
    for (int r = 0; w->full && !w->stopping && r == 0;)
        r = pthread_cond_timedwait(&w->some, &w->lock, &until);
}

static struct writer_job *take_batch(struct writer *w) {
    pthread_mutex_lock(&w->lock);
    pause_while_full(w);
    w->full = false;
    while (!w->first && !w->stopping)
        pthread_cond_wait(&w->some, &w->lock);
    struct writer_job *batch = w->first, **end = &w->first;
    for (unsigned n = 0; *end && n < w->batch; n++)
        end = &(*end)->next;
    w->first = *end;
    if (!w->first) w->last = &w->first;
    *end = NULL;
    pthread_mutex_unlock(&w->lock);
    return batch;
}

static int begin(struct writer *w) {
    return sqlite3_exec(w->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error_code(w->db);
}

/* On a full disk or an I/O error SQLite rolls back the whole transaction by itself: then the whole batch has failed. */
static int commit(struct writer *w) {
    if (!sqlite3_get_autocommit(w->db)) {
        if (sqlite3_exec(w->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK) return 0;
    }
    int code = db_error_code(w->db);
    if (!sqlite3_get_autocommit(w->db)) sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    return code ? code : -EIO;
}

/* Makes what was written since the last sync safe from a power cut: syncs the write-ahead log, which synchronous=NORMAL
 * does not do at each commit. */
static int sync_log(struct writer *w) {
    int changes = sqlite3_total_changes(w->db);
    if (changes == w->synced_changes) return 0;
    sqlite3_file *log = NULL;
    int rc = sqlite3_file_control(w->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (rc == SQLITE_OK && log && log->pMethods) rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    if (rc != SQLITE_OK) return -EIO;
    w->synced_changes = changes;
    return 0;
}

static void append(struct writer *w, struct writer_job *job) {
    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
}

/* True if the disk refuses now but may take it later: it is full, read-only, or fails. */
static bool may_pass(int code) {
    return code == ERR_NO_SPACE || code == -EROFS || code == -EACCES || disk_is_bad(code);
}

/* Puts a job that persists at the end of the queue when the disk does not take it, so that no other job waits behind
 * it. Each job writes what is true when it runs, so their order does not matter. */
static bool goes_again(struct writer *w, struct writer_job *job) {
    pthread_mutex_lock(&w->lock);
    bool again = job->persists && !w->stopping && (job->waits || w->n_waiting < WAITING_MAX);
    if (again) {
        if (!job->waits) w->n_waiting++;
        job->waits = true;
        if (!w->first) w->full = true;
        append(w, job);
    }
    pthread_mutex_unlock(&w->lock);
    return again;
}

static void finish(struct writer *w, struct writer_job *job, int code) {
    if (may_pass(code) && goes_again(w, job)) {
        atomic_store(&w->refusal, code);
        return;
    }
    if (job->waits && --w->n_waiting == 0) atomic_store(&w->refusal, 0);
    /* A job that waits for the disk may have been submitted before this one. */
    if (code == 0 && job->synced && w->n_waiting > 0) code = atomic_load(&w->refusal);
    if (job->after_commit) job->after_commit(job, code);
}

static void run_batch(struct writer *w, struct writer_job *batch) {
    bool sync = false;
    int synced = 0, code = begin(w);
    for (struct writer_job *j = batch; j && code == 0; j = j->next) {
        sync = sync || j->synced;
        j->run(j, w->db);
        j->said = db_error_code(w->db);
        if (sqlite3_get_autocommit(w->db)) code = j->said ? j->said : -EIO;
        if (!may_pass(j->said)) j->said = 0; /* run knows what to do with any other */
    }
    if (code == 0)
        code = commit(w);
    else
        sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL); /* if there still is a transaction */
    if (code == 0 && sync) synced = sync_log(w);
    if (synced) log_error("index_sync_failed", KV_S("path", w->path), KV_S("why", error_name(synced)));
    if (code && code != w->told) log_error("index_write_failed", KV_S("path", w->path), KV_S("why", error_name(code)));
    w->told = code;
    for (struct writer_job *j = batch, *next; j; j = next) {
        next = j->next;
        /* A statement of one job may have failed while those of the others are in the file. */
        int of_job = code == 0 && j->synced ? synced : code;
        finish(w, j, of_job == 0 ? j->said : of_job);
    }
}

static void *thread_main(void *arg) {
    struct writer *w = arg;
    pthread_setname_np(pthread_self(), w->name);
    for (struct writer_job *batch; (batch = take_batch(w));)
        run_batch(w, batch);
    return NULL;
}

static bool has_schema(sqlite3 *db) {
    sqlite3_stmt *st = NULL;
    sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_master", -1, &st, NULL);
    bool has = st && sqlite3_step(st) == SQLITE_ROW;
    sqlite3_finalize(st);
    return has;
}

static int prepare_db(struct writer *w, const char *schema_sql, struct error *err) {
    int r = db_open(&w->db, w->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (r < 0) return r;
    /* In WAL mode with NORMAL a killed process loses nothing. A power cut loses at most what was written after the last
     * writer_sync, and never damages the file. */
    const char *pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
                          "PRAGMA journal_size_limit=67108864; PRAGMA trusted_schema=OFF;";
    db_keep_log(w->db);
    if (sqlite3_exec(w->db, pragmas, NULL, NULL, NULL) == SQLITE_OK) {
        if (sqlite3_exec(w->db, schema_sql, NULL, NULL, NULL) == SQLITE_OK) return 0;
        /* On a full disk an existing schema is good enough. */
        if (db_error_code(w->db) == ERR_NO_SPACE && has_schema(w->db)) return 0;
    }
    r = db_error(w->db, err, "preparing the index");
    sqlite3_close(w->db);
    return r;
}

int writer_open(struct writer **out, const char *path, const char *thread, const char *schema_sql, unsigned batch,
                struct error *err) {
    struct writer *w = xcalloc(1, sizeof(*w) + strlen(path) + 1);
    memcpy(w->path, path, strlen(path) + 1);
    snprintf(w->name, sizeof(w->name), "%s", thread);
    w->batch = batch ? batch : 1;
    w->last = &w->first;
    int r = prepare_db(w, schema_sql, err);
    if (r < 0) {
        free(w);
        return r;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->some, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0) abort();
    *out = w;
    return 0;
}

int writer_refusal(const struct writer *w) {
    return atomic_load(&w->refusal);
}

void writer_submit(struct writer *w, struct writer_job *job) {
    pthread_mutex_lock(&w->lock);
    append(w, job);
    w->full = false;
    pthread_cond_signal(&w->some);
    pthread_mutex_unlock(&w->lock);
}

struct barrier {
    struct writer_job job;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool reached;
    int code;
};

static void barrier_run(struct writer_job *job, sqlite3 *db) {
    (void)job;
    (void)db;
}

static void barrier_reached(struct writer_job *job, int code) {
    struct barrier *b = container_of(job, struct barrier, job);
    pthread_mutex_lock(&b->lock);
    b->reached = true;
    b->code = code;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

static int wait_for_all(struct writer *w, bool synced) {
    assert(!pthread_equal(pthread_self(), w->thread));
    struct barrier b = {.job = {.run = barrier_run, .after_commit = barrier_reached, .synced = synced}};
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.cond, NULL);
    writer_submit(w, &b.job);
    pthread_mutex_lock(&b.lock);
    while (!b.reached)
        pthread_cond_wait(&b.cond, &b.lock);
    pthread_mutex_unlock(&b.lock);
    pthread_cond_destroy(&b.cond);
    pthread_mutex_destroy(&b.lock);
    return b.code;
}

void writer_flush(struct writer *w) {
    (void)wait_for_all(w, false);
}

int writer_sync(struct writer *w) {
    return wait_for_all(w, true);
}

int writer_reader(struct writer *w, sqlite3 **out, struct error *err) {
    return db_open(out, w->path, SQLITE_OPEN_READONLY, err);
}

void writer_close(struct writer *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->some);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    for (sqlite3_stmt *st; (st = sqlite3_next_stmt(w->db, NULL));)
        sqlite3_finalize(st);
    sqlite3_close(w->db);
    pthread_cond_destroy(&w->some);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
