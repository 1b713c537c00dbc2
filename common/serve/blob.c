/* GET and HEAD of content by digest: from the store when it is held and may be served in this repository, else from
 * behind a fill. Thread: serving loop. */
#include "common/serve/serve_private.h"

#include <stdio.h>
#include <string.h>

void serve_content(struct exchange *x) {
    struct registry *g = x->registry;
    uint32_t scope = g->cfg.scope(&x->repo, g->cfg.arg);
    struct body_spec spec = {.size = -1, .media_type = "application/octet-stream"};
    struct blob_info info;
    if (store_lookup_in(g->cfg.store, &x->ref.digest, scope, &info) &&
        store_open_blob(g->cfg.store, &x->ref.digest, &spec.file, &info) == 0) {
        spec.size = info.size;
        if (x->is_manifest && info.media_type)
            snprintf(spec.media_type, sizeof(spec.media_type), "%s", info.media_type);
        body_send(x, &spec);
        return;
    }
    spec.fill =
        (struct fill_spec){.digest = x->ref.digest, .repo = x->repo, .manifest = x->is_manifest, .size = x->promised};
    body_send(x, &spec);
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
