/* The read half of the registry API (distribution-spec 1.1, end-1 to end-3, end-8, end-12, and Docker's _catalog). It
 * is the same for both tiers, except where misses go. Thread: handlers run on serving loops; callbacks say their
 * thread. */
#ifndef ENTREPOT_SERVE_REGISTRY_H
#define ENTREPOT_SERVE_REGISTRY_H

#include "common/access/share.h"
#include "common/content/content.h"
#include "common/fill/fill.h"
#include "common/http/server.h"
#include "common/serve/director.h"
#include "common/serve/keeper.h"
#include "common/serve/policy.h"
#include "common/store/store.h"
#include "common/store/tag.h"

struct asker;
struct registry;

struct registry_config {
    const char *name; /* "entrepot-edge": in Cache-Status (RFC 9211) */
    struct store *store;
    struct fill_engine *fills;
    struct workpool *pool;        /* for long work */
    struct workpool *lists;       /* for lists; its threads are shared among callers */
    unsigned list_threads;        /* threads of lists */
    unsigned queue_of_one, queue; /* lists of one caller, and of all, that may wait (share.h) */
    struct workpool *reads;       /* for opening files that a client waits for */
    struct asker *asker;          /* for questions to sources */
    struct loop *fetch_loop;      /* owner of doubts */
    int64_t stale_for_s;          /* how long a tag is served after its last check if its source cannot be asked */
    /* Borrowed; they outlive the registry. */
    const struct policy *policy;
    struct content *content;         /* is told where tags point */
    const struct keeper *keeper;     /* NULL: all held content has another source */
    const struct director *director; /* NULL: every client is served here */
};

struct registry *registry_new(const struct registry_config *cfg);
/* Only when the loops have been joined and its questions have ended (asker_cancel). */
void registry_free(struct registry *g);
/* Serving loop. Answers one request whose target begins with /v2 (any other: 404). If another node doubts a blob
 * (doubt.h), the blob is read again first. */
void registry_handle(struct registry *g, struct http_req *req, const struct caller *caller);
/* Any thread. The canonical name of a repository as a client names it. */
int registry_canonical(const struct registry *g, const char *name, char out[REPO_STR_MAX]) must_check;
/* Fetch loop. Call when a manifest is held: tags that have moved to it now point to it. */
void registry_manifest_kept(struct registry *g, const struct digest *d);
/* For http_server_config.error_body: registry error documents under /v2/ and for unknown targets, else plain text. */
size_t registry_error_body(int status, const char *target, const char *msg, char *buf, size_t cap,
                           struct http_error_form *form);

/* What is known of a tag, after its source was asked if necessary. */
struct tag_answer {
    int code; /* 0, or ERR_NOT_FOUND, ERR_RATE_LIMITED, …, with end filled */
    struct tag_facts facts;
    bool has_last; /* the manifest of facts is not held, but the tag's earlier one is: */
    struct tag_facts last;
    bool has_failed; /* the manifest of facts could not be fetched a moment ago */
    struct fetch_end end;
};
/* Any loop. Calls done(answer, arg) later on the same loop, never before it returns. settings: the version under which
 * repo was decided. A fresh tag is answered from memory. Otherwise the source is asked once for all who wait; a stale
 * tag is given if the source does not answer within 3 s. deadline: when an answer is given in any case; NULL: as for a
 * request that has just arrived. */
void registry_resolve_tag(struct registry *g, const struct caller *caller, const struct repo_name *repo,
                          uint64_t settings, const char *tag, const char *request_id, const struct deadline *deadline,
                          void (*done)(const struct tag_answer *answer, void *arg), void *arg);

struct registry_stats {
    int64_t hits, misses, joined, hit_bytes, fill_bytes, stale, negative, redirected;
};
/* Any thread. How callers share the threads for lists, and the lists of tags that are being sent. */
void registry_lists(const struct registry *g, struct share_stats *made, struct share_stats *tag_lists);
void registry_stats(const struct registry *g, struct registry_stats *out);

#endif
