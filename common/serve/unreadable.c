/* Handles a held blob whose file becomes unreadable while it is sent: the store drops it, so that it is fetched again.
 * Thread: serving loop, unless a function says otherwise. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/workpool.h"

struct dropping {
    struct work work;
    struct loop_task back;
    struct loop *loop;
    struct exchange *x;
    struct store *store;
    struct digest digest;
    struct open_file *file;
    bool dropped;
};

/* Pool of reads. */
static void run(struct work *w) {
    struct dropping *t = container_of(w, struct dropping, work);
    t->dropped = store_unreadable(t->store, &t->digest, t->file, open_file_failure(t->file));
    loop_post(t->loop, &t->back);
}

static void back(struct loop_task *task) {
    struct dropping *t = container_of(task, struct dropping, back);
    struct exchange *x = t->x;
    if (exchange_back(x)) body_resume(x, t->dropped);
    open_file_unref(t->file);
    free(t);
}

void serve_unreadable(struct exchange *x, struct open_file *file) {
    struct dropping *t = xcalloc(1, sizeof(*t));
    t->work.fn = run;
    t->work.whose = caller_number(&x->caller);
    t->back.fn = back;
    t->loop = http_req_loop(x->req);
    t->x = x;
    t->store = x->registry->cfg.store;
    t->digest = x->ref.digest;
    t->file = open_file_ref(file);
    x->waiting = true;
    workpool_submit(x->registry->cfg.reads, &t->work);
}
