/* GET and HEAD of content by digest: from the store when it is held and may be served in this repository, else from
 * behind a fill. Thread: serving loop. */
#include "common/serve/serve_private.h"

#include <stdio.h>
#include <string.h>

/* A HEAD needs no file. What it says of a blob whose file has been lost is true again after the GET that finds out. */
static bool send_held(struct exchange *x, uint32_t scope) {
    struct registry *g = x->registry;
    struct blob_info info;
    struct open_file *file = NULL;
    if (!(x->is_head ? store_use_in(g->cfg.store, &x->ref.digest, scope, &info)
                     : store_lookup_in(g->cfg.store, &x->ref.digest, scope, &info)))
        return false;
    if (!x->is_head && store_open_blob(g->cfg.store, &x->ref.digest, &file, &info) < 0) return false;
    const char *media = x->is_manifest && info.media_type ? info.media_type : "application/octet-stream";
    body_send_held(x, file, info.size, media);
    return true;
}

void serve_content(struct exchange *x) {
    struct registry *g = x->registry;
    if (send_held(x, g->cfg.scope(&x->repo, g->cfg.arg))) return;
    struct fill_spec spec = {.digest = x->ref.digest, .repo = x->repo, .manifest = x->is_manifest, .size = x->promised};
    body_follow(x, &spec);
}

/* A HEAD for a blob that is not held costs one question, not a download. */
static void on_blob_head(const struct ask_answer *a, void *arg) {
    struct exchange *x = arg;
    if (!exchange_back(x)) return;
    if (a->end.code != 0) {
        serve_fetch_end(x->req, &a->end, REGERR_BLOB_UNKNOWN);
        return;
    }
    char digest[DIGEST_STR_MAX];
    serve_common_headers(x);
    http_reply_header(x->req, "Docker-Content-Digest", digest_str(&x->ref.digest, digest));
    http_reply_headerf(x->req, "ETag", "\"%s\"", digest);
    http_reply_header(x->req, "Accept-Ranges", "bytes");
    http_reply_headerf(x->req, "Cache-Status", "%s; fwd=miss; detail=\"%s\"", x->registry->cfg.name, a->source);
    http_req_note(x->req, "miss");
    http_reply_begin(x->req, 200, "application/octet-stream", a->total);
    http_reply_end(x->req);
}

void serve_blob(struct exchange *x) {
    struct registry *g = x->registry;
    struct blob_info info;
    if (!x->is_head || store_lookup_in(g->cfg.store, &x->ref.digest, g->cfg.scope(&x->repo, g->cfg.arg), &info)) {
        serve_content(x);
        return;
    }
    struct fetch_request rq = {.kind = FETCH_BLOB_HEAD, .repo = x->repo, .ref = x->ref};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    atomic_fetch_add_explicit(&g->misses, 1, memory_order_relaxed);
    x->waiting = true;
    ask(g->asker, &rq, on_blob_head, x);
}
