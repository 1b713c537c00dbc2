/* Handles hosted content that is not held: asks its keeper, which restores it if its bytes are there again, or says
 * that they are missing. Thread: serving loop, unless a function says otherwise. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/offload.h"

#include <stdio.h>

struct restoring {
    struct offload offload;
    struct exchange *x; /* waits: what was asked is not changed meanwhile */
    struct registry *registry;
    struct digest digest;
    char repo[REPO_STR_MAX];
    struct error err;
    int code;
};

/* Pool of reads. */
static void restore(struct offload *o) {
    struct restoring *t = container_of(o, struct restoring, offload);
    const struct keeper *k = t->registry->cfg.keeper;
    t->code = k->restore(t->repo, &t->digest, &t->err, k->arg);
}

static void restored(struct offload *o) {
    struct restoring *t = container_of(o, struct restoring, offload);
    struct exchange *x = t->x;
    if (!exchange_back(x)) {
        free(t);
        return;
    }
    if (t->code == 0 || t->code == ERR_NOT_FOUND) {
        /* Held now; or unknown, which the way of all misses says. */
        if (x->is_manifest)
            serve_content(x);
        else
            serve_blob(x);
    } else {
        http_req_note(x->req, "missing");
        serve_error_status(x->req, 503, REGERR_UNAVAILABLE, t->err.msg);
    }
    free(t);
}

bool serve_restore(struct exchange *x) {
    struct registry *g = x->registry;
    if (x->restored || !g->cfg.keeper || !serve_is_hosted(x)) return false;
    struct restoring *t = xcalloc(1, sizeof(*t));
    t->offload = (struct offload){.run = restore, .back = restored, .whose = caller_number(&x->caller)};
    t->x = x;
    t->registry = g;
    t->digest = x->ref.digest;
    snprintf(t->repo, sizeof(t->repo), "%s", x->repo_str);
    x->restored = x->waiting = true;
    offload_start(&t->offload, g->cfg.reads, http_req_loop(x->req));
    return true;
}
