/* What the store's tests share: a folder of their own, and blobs whose bytes follow from a number. */
#ifndef ENTREPOT_TESTS_STORE_FIXTURE_H
#define ENTREPOT_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/store/store.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/prune.h"
#include "tests/unit/support/put.h"

static inline char *fixture_dir(char out[256]) {
    const char *tmp = getenv("TMPDIR");
    snprintf(out, 256, "%s/entrepot-store-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}

static inline void fixture_remove(const char *dir) {
    assert_int_equal(folder_remove(dir), 0);
}

/* size bytes that depend on n; the caller frees. */
static inline char *fixture_bytes(unsigned n, size_t size, struct digest *d) {
    char *data = malloc(size + 1);
    assert_non_null(data);
    uint32_t x = n * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (char)(x >> 24);
    }
    digest_of(d, DIGEST_SHA256, data, size);
    return data;
}

static inline int fixture_put_flags(struct store *s, unsigned n, size_t size, unsigned flags, struct digest *d) {
    struct error err = {0};
    char *data = fixture_bytes(n, size, d);
    uint32_t scope = 0;
    int r = store_scope(s, "docker.io", &scope);
    struct commit_info info = {.size = (int64_t)size, .flags = flags, .scopes = &scope, .n_scopes = 1};
    if (r == 0) r = put_bytes(s, d, data, size, &info, &err);
    free(data);
    return r;
}

static inline struct digest fixture_put(struct store *s, unsigned n, size_t size) {
    struct digest d;
    assert_int_equal(fixture_put_flags(s, n, size, 0, &d), 0);
    return d;
}

static inline bool fixture_held(struct store *s, const struct digest *d) {
    struct blob_info info;
    return store_lookup(s, d, &info);
}

static inline struct store *fixture_open(const char *dir, int64_t limit) {
    struct error err = {0};
    struct store *s = NULL;
    struct store_config cfg = {.dir = dir, .limit = limit};
    if (store_open(&s, &cfg, &err) < 0) fail_msg("%s", err.msg);
    store_wait_reconciled(s);
    return s;
}

/* Waits for a part_commit. */
struct fixture_wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    int code;
};
#define FIXTURE_WAIT \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 }

static inline void fixture_done(int code, void *arg) {
    struct fixture_wait *w = arg;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->code = code;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static inline int fixture_wait(struct fixture_wait *w) {
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->code;
}

#endif
