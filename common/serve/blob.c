/* GET and HEAD of content by digest: from the store when it is held and may be served in this repository, else from
 * behind a fill. Thread: serving loop. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/offload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *media_of(const struct exchange *x, const struct blob_info *info) {
    return x->is_manifest && info->media_type ? info->media_type : "application/octet-stream";
}

static void follow(struct exchange *x) {
    if (!serve_restore(x)) body_follow(x);
}

static void ask_size(struct exchange *x);

/* It was held, but its file is gone. */
static void serve_lost(struct exchange *x) {
    if (x->is_head && !x->is_manifest)
        ask_size(x);
    else
        follow(x);
}

/* A HEAD needs the file only to be there. Takes over the file. */
static void send_file(struct exchange *x, struct open_file *file, const struct blob_info *info) {
    if (x->is_head) open_file_unref(file);
    body_send_held(x, x->is_head ? NULL : file, info->size, media_of(x, info));
}

/* A file that is opened on another thread, because that may wait for a disk. */
struct opening {
    struct offload offload;
    struct exchange *x;
    struct store *store;
    struct digest digest;
    enum store_use use;
    struct open_file *file;
    struct blob_info info;
};

static void open_run(struct offload *offload) {
    struct opening *o = container_of(offload, struct opening, offload);
    if (store_open_blob(o->store, &o->digest, o->use, &o->file, &o->info) < 0) o->file = NULL;
}

static void open_back(struct offload *offload) {
    struct opening *o = container_of(offload, struct opening, offload);
    struct exchange *x = o->x;
    if (!exchange_back(x))
        open_file_unref(o->file);
    else if (o->file)
        send_file(x, o->file, &o->info);
    else
        serve_lost(x);
    free(o);
}

static void open_elsewhere(struct exchange *x, enum store_use use) {
    struct opening *o = xcalloc(1, sizeof(*o));
    *o = (struct opening){.offload = {.run = open_run, .back = open_back, .whose = caller_number(&x->caller)},
                          .x = x,
                          .store = x->registry->cfg.store,
                          .digest = x->ref.digest,
                          .use = use};
    x->waiting = true;
    http_req_answer_is_held(x->req);
    offload_start(&o->offload, x->registry->cfg.reads, http_req_loop(x->req));
}

/* Answers from the store. A HEAD opens the file too: clients that are told it is here do not push it again. */
static bool send_held(struct exchange *x) {
    struct registry *g = x->registry;
    struct blob_info info;
    struct open_file *file = NULL;
    enum store_use use = x->is_head ? USE_LOOK : body_begins_later(x) ? USE_PART : USE_WHOLE;
    if (!store_lookup_in(g->cfg.store, &x->ref.digest, x->scope, &info)) return false;
    if (x->is_manifest && !info.media_type) return false; /* it was fetched as a plain blob */
    int r = store_open_blob_now(g->cfg.store, &x->ref.digest, use, &file, &info);
    if (r == -EAGAIN)
        open_elsewhere(x, use);
    else if (r == 0)
        send_file(x, file, &info);
    return r == 0 || r == -EAGAIN;
}

void serve_content(struct exchange *x) {
    if (!send_held(x)) follow(x);
}

/* A HEAD for a blob that is not held costs one question, not a download. */
static void on_blob_head(const struct ask_answer *a, void *arg) {
    struct exchange *x = arg;
    if (!exchange_back(x)) return;
    if (a->end.code != 0) {
        serve_fetch_end(x->req, &a->end, REGERR_BLOB_UNKNOWN);
        return;
    }
    body_head_unheld(x, a->source, a->total, "application/octet-stream");
}

static void ask_size(struct exchange *x) {
    struct registry *g = x->registry;
    if (serve_restore(x)) return;
    struct fetch_request rq = {
        .kind = FETCH_BLOB_HEAD, .repo = x->repo, .caller = x->caller, .settings = x->settings, .ref = x->ref};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    atomic_fetch_add_explicit(&g->misses, 1, memory_order_relaxed);
    x->waiting = true;
    struct deadline deadline = exchange_deadline(x);
    ask(g->cfg.asker, &rq, &deadline, on_blob_head, x);
}

enum { REDIRECTED_TARGET_MAX = 2048 };

/* The client's own address: the whole of it if the connection is its own, else what a trusted proxy has told, which is
 * then true. */
static bool is_proxied(const struct exchange *x, struct ip *client) {
    struct caller other_end;
    *client = x->caller.who;
    struct ip ip;
    if (!http_req_peer(x->req, &ip)) return true;
    caller_set(&other_end, CALLER_CLIENT, &ip);
    if (memcmp(&other_end.who, client, sizeof(*client)) != 0) return true;
    *client = ip;
    return false;
}

/* The scheme that the client has used. */
static const char *scheme_of(const struct exchange *x, bool proxied) {
    const char *told = proxied ? http_req_header(x->req, "X-Forwarded-Proto") : NULL;
    if (told) return strcasecmp(told, "https") == 0 ? "https" : "http";
    return http_req_is_tls(x->req) ? "https" : "http";
}

/* Redirects the client to a node that serves it better. The target stays: every node means the same by it. */
static bool send_elsewhere(struct exchange *x) {
    struct registry *g = x->registry;
    const struct director *d = g->cfg.director;
    const char *host = http_req_header(x->req, "Host");
    const char *target = http_req_target(x->req);
    char where[DIRECTED_MAX];
    struct ip client;
    if (!d || !host || x->is_head || x->caller.kind != CALLER_CLIENT || strlen(target) > REDIRECTED_TARGET_MAX)
        return false;
    bool proxied = is_proxied(x, &client);
    if (!d->elsewhere(&client, host, where, d->arg)) return false;
    atomic_fetch_add_explicit(&g->redirected, 1, memory_order_relaxed);
    serve_common_headers(x);
    http_reply_headerf(x->req, "Location", "%s://%s%s", scheme_of(x, proxied), where, target);
    http_reply(x->req, 307, NULL, NULL, 0);
    return true;
}

void serve_blob(struct exchange *x) {
    if (send_elsewhere(x)) return;
    if (!x->is_head)
        serve_content(x);
    else if (!send_held(x))
        ask_size(x);
}
