/* Each thread joins one edge after another, in a folder of its own. Thread: as the header says. */
#include "tests/sim/joiner.h"

#include "common/core/file.h"
#include "edge/link/join.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define THREADS 4

struct joiner {
    struct join_token token;
    const char *folder;
    size_t n;
    struct uplink **out;
    _Atomic size_t next;
};

struct one {
    struct joiner *all;
    char folder[4096];
    pthread_t thread;
    int code;
    struct error err;
};

static int join(struct one *o, size_t i) {
    struct join_result r;
    int code = join_run(&(struct join_order){.token = &o->all->token, .data = o->folder}, &r, &o->err);
    if (code < 0) return code;
    identity_joined(o->folder); /* the next has a key of its own */
    o->all->out[i] = uplink_new(r.url, NULL);
    uplink_use(o->all->out[i], &r.id, NULL);
    return 0;
}

static void *run(void *arg) {
    struct one *o = arg;
    o->code = dir_make_all(o->folder, 0700, &o->err);
    for (size_t i; o->code == 0 && (i = atomic_fetch_add(&o->all->next, 1)) < o->all->n;)
        o->code = join(o, i);
    return NULL;
}

int joiner_run(const char *token, size_t n, const char *folder, struct uplink **out, struct error *err) {
    struct joiner all = {.folder = folder, .n = n, .out = out};
    struct one threads[THREADS] = {0};
    int code = token_parse(&all.token, token, err);
    if (code < 0) return code;
    for (int i = 0; i < THREADS; i++) {
        threads[i].all = &all;
        snprintf(threads[i].folder, sizeof(threads[i].folder), "%.4000s/joining-%d", folder, i);
        if (pthread_create(&threads[i].thread, NULL, run, &threads[i]) != 0)
            return error_set(err, ERR_INTERNAL, "no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        if (threads[i].code == 0 || code < 0) continue;
        code = threads[i].code;
        *err = threads[i].err;
    }
    return code;
}
