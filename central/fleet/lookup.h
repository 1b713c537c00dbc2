/* POST /fleet/v1/lookup (docs/protocol.md "Edge to central"): answers a batch of digests from the catalogue, and of
 * tags through a resolver. Thread: lookup_handle and lookup_run on a loop; the catalogue is read and the answer packed
 * on the work pool. */
#ifndef ENTREPOT_FLEET_LOOKUP_H
#define ENTREPOT_FLEET_LOOKUP_H

#include "central/catalog/catalog.h"
#include "central/fleet/unread.h"
#include "common/access/caller.h"
#include "common/wire/wire.h"

struct http_req;
struct lookup;

/* How a tag's resolution ended. Borrowed for the call. */
struct lookup_tag {
    int code;            /* 0, ERR_NOT_FOUND, _DENIED, _RATE_LIMITED or _INVALID; any other code means "not now" */
    const char *message; /* for a person; may be NULL */
    int64_t retry_after_s;
    const struct tag_facts *facts; /* when code is 0 */
};

struct lookup_config {
    struct catalog *catalog;
    struct workpool *pool;
    /* Called on the request's loop, once for each tag. done(done_arg, …) must be called exactly once, on any thread,
     * now or later. repo and tag have been checked and are borrowed for the call. NULL: tags are answered with
     * UNAVAILABLE. */
    void (*resolve_tag)(void *arg, const struct caller *caller, const struct repo_name *repo, const char *tag,
                        const char *request_id, void (*done)(void *done_arg, const struct lookup_tag *found),
                        void *done_arg);
    void *arg;
    /* Sent to an edge that has another version and asks for nothing else. Immutable while the lookup lives; NULL: never
     * sent. */
    const struct wire_settings *settings;
    struct unread *unread; /* of lookup_handle's answers; NULL: they have no bound */
};
struct lookup *lookup_new(const struct lookup_config *cfg);
/* Call it only when no batch is running. */
void lookup_free(struct lookup *l);

/* Answers an encoded request. finish is called exactly once, on the calling loop, after lookup_run has returned. It
 * gets the encoded response (borrowed for the call), or a negative code with err filled: INVALID, TOO_BIG, UNSUPPORTED
 * (the edge's fault), OUTDATED (it uses other settings; never for a request without a query), BUSY, INTERNAL. */
typedef void lookup_finish_fn(void *arg, int code, const void *response, size_t len, const struct error *err);
/* caller: who asks. request_id: for the resolver's logs, if the body has none. */
void lookup_run(struct lookup *l, const struct caller *caller, const void *body, size_t len, const char *request_id,
                lookup_finish_fn *finish, void *arg);

/* The version of the current settings; 0: none. */
uint64_t lookup_settings_version(const struct lookup *l);
struct unread *lookup_unread(const struct lookup *l);
/* The HTTP handler. Path and method have been matched; it checks everything else. */
void lookup_handle(struct lookup *l, struct http_req *r);

#endif
