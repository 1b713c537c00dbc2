/* Handles a held blob whose file becomes unreadable while it is sent: the store drops it, so that it is fetched again.
 * Thread: serving loop, unless a function says otherwise. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/offload.h"

struct dropping {
    struct offload offload;
    struct exchange *x;
    struct store *store;
    struct digest digest;
    struct open_file *file;
    bool dropped;
};

/* Pool of reads. */
static void drop(struct offload *o) {
    struct dropping *t = container_of(o, struct dropping, offload);
    t->dropped = store_unreadable(t->store, &t->digest, t->file, open_file_failure(t->file));
}

static void dropped(struct offload *o) {
    struct dropping *t = container_of(o, struct dropping, offload);
    struct exchange *x = t->x;
    if (exchange_back(x)) body_resume(x, t->dropped);
    open_file_unref(t->file);
    free(t);
}

void serve_unreadable(struct exchange *x, struct open_file *file) {
    struct dropping *t = xcalloc(1, sizeof(*t));
    t->offload = (struct offload){.run = drop, .back = dropped, .whose = caller_number(&x->caller)};
    t->x = x;
    t->store = x->registry->cfg.store;
    t->digest = x->ref.digest;
    t->file = open_file_ref(file);
    x->waiting = true;
    offload_start(&t->offload, x->registry->cfg.reads, http_req_loop(x->req));
}
