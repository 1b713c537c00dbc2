/* The state of running requests: made, kept for reuse, and freed. Thread: serving loop; exchanges_prepare: control. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"

#include <pthread.h>

/* Kept by each serving loop: most requests are short. */
#define EXCHANGES_KEPT 64
static _Thread_local struct exchange *kept;
static _Thread_local unsigned n_kept;
static pthread_key_t kept_key; /* its destructor ends what an ending thread has kept */

static void end_kept(void *unused) {
    (void)unused;
    while (kept) {
        struct exchange *x = kept;
        kept = x->next_free;
        free(x);
    }
}

static void make_kept_key(void) {
    if (pthread_key_create(&kept_key, end_kept) != 0) abort();
}

void exchanges_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_kept_key);
}

struct exchange *exchange_new(void) {
    struct exchange *x = kept;
    if (x) {
        kept = x->next_free;
        n_kept--;
    } else {
        x = xmalloc(sizeof(*x));
    }
    x->waiting = x->is_manifest = x->is_head = x->has_last = x->decided_again = x->told_ns = x->restored = false;
    x->warning[0] = '\0';
    x->body = NULL;
    x->turn = NULL;
    x->age_s = -1;
    return x;
}

void exchange_free(struct exchange *x) {
    if (n_kept == EXCHANGES_KEPT) {
        free(x);
        return;
    }
    if (!kept) pthread_setspecific(kept_key, &kept);
    x->next_free = kept;
    kept = x;
    n_kept++;
}

struct deadline exchange_deadline(const struct exchange *x) {
    return deadline_after(http_req_began_ms(x->req), x->registry->cfg.policy->answer_within_ms);
}

bool exchange_back(struct exchange *x) {
    x->waiting = false;
    x->turn = NULL;
    if (x->req) return true;
    exchange_free(x);
    return false;
}
