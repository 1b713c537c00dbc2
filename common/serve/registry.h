/* The read half of the registry API (distribution-spec 1.1, end-1 to end-3, end-8, end-12, and Docker's _catalog), the
 * same for both tiers; what differs is where misses go. Thread: handlers run on serving loops; callbacks say theirs. */
#ifndef ENTREPOT_SERVE_REGISTRY_H
#define ENTREPOT_SERVE_REGISTRY_H

#include "common/access/share.h"
#include "common/content/content.h"
#include "common/fill/fill.h"
#include "common/http/server.h"
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
    struct workpool *pool;        /* for what takes long */
    struct workpool *lists;       /* for lists; its threads are shared among callers */
    unsigned list_threads;        /* it has */
    unsigned queue_of_one, queue; /* lists that may wait, of a caller and of all (share.h) */
    struct workpool *reads;       /* for opening files that a client waits for */
    struct asker *asker;          /* for questions to sources */
    struct loop *fetch_loop;      /* where doubts are settled */
    int64_t stale_for_s;          /* tags are served so long after their last check when their source cannot be asked */
    /* Borrowed; they outlive the registry. */
    const struct policy *policy;
    struct content *content;     /* is told where tags point */
    const struct keeper *keeper; /* NULL: all that is held can be had again */
};

struct registry *registry_new(const struct registry_config *cfg);
/* The loops have been joined, and its questions have ended (asker_cancel). */
void registry_free(struct registry *g);
/* Serving loop: answers one request whose target begins with /v2 (or is anything else: 404). When another node of ours
 * doubts what it got (doubt.h), that is looked into. */
void registry_handle(struct registry *g, struct http_req *req, const struct caller *caller);
/* Any thread: the canonical name of what a client would call so. */
int registry_canonical(const struct registry *g, const char *name, char out[REPO_STR_MAX]) must_check;
/* Fetch loop: a manifest is held from now on. Tags that have moved to it point to it. */
void registry_manifest_kept(struct registry *g, const struct digest *d);
/* For http_server_config.error_body: registry error documents under /v2/ and where the target is not known, plain text
 * elsewhere. */
size_t registry_error_body(int status, const char *target, const char *msg, char *buf, size_t cap,
                           struct http_error_form *form);

/* What is known of a tag after asking where needed. */
struct tag_answer {
    int code; /* 0, or why not: ERR_NOT_FOUND, ERR_RATE_LIMITED, … with end */
    struct tag_facts facts;
    bool has_last; /* facts are of a manifest that is not here, and this one is, which the tag pointed to before: */
    struct tag_facts last;
    bool has_failed; /* the one of facts could not be had a moment ago */
    struct fetch_end end;
};
/* settings: the version repo was decided under. Any loop: calls done(answer, arg) later on the same loop (never before
 * it returns). Fresh answers come from memory, others cost one coalesced question to the source; a stale one is given
 * when the source does not answer within 3 s. deadline: whoever asks is told something by then; NULL: as for a request
 * that has just come. */
void registry_resolve_tag(struct registry *g, const struct caller *caller, const struct repo_name *repo,
                          uint64_t settings, const char *tag, const char *request_id, const struct deadline *deadline,
                          void (*done)(const struct tag_answer *answer, void *arg), void *arg);

struct registry_stats {
    int64_t hits, misses, joined, hit_bytes, fill_bytes, stale, negative;
};
/* Lists being made, and lists of tags on their way to clients: how both are shared among callers. Any thread. */
void registry_lists(const struct registry *g, struct share_stats *made, struct share_stats *tag_lists);
void registry_stats(const struct registry *g, struct registry_stats *out);

#endif
