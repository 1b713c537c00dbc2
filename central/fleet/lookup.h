/* POST /fleet/v1/lookup: answers a batch of names and digests from the catalogue and, for tags, from whoever resolves
 * them. Thread: lookup_handle and lookup_run on a loop; the catalogue is read and the answer packed on the work pool.
 */
#ifndef ENTREPOT_FLEET_LOOKUP_H
#define ENTREPOT_FLEET_LOOKUP_H

#include "central/catalog/catalog.h"
#include "common/access/caller.h"
#include "common/wire/wire.h"

struct http_req;
struct lookup;

/* How a tag's resolution ended. Borrowed for the call. */
struct lookup_tag {
    int code;            /* 0; else ERR_NOT_FOUND, DENIED, RATE_LIMITED, INVALID, or anything for "not now" */
    const char *message; /* for a person; may be NULL */
    int64_t retry_after_s;
    const struct tag_facts *facts; /* when code is 0 */
};

struct lookup_config {
    struct catalog *catalog;
    struct workpool *pool;
    /* Called on the request's loop, once for each tag asked. done(done_arg, …) must be called exactly once, on any
     * thread, now or later. repo and tag are borrowed for the call, and have been checked. NULL: tags are UNAVAILABLE.
     */
    void (*resolve_tag)(void *arg, const struct caller *caller, const struct repo_name *repo, const char *tag,
                        const char *request_id, void (*done)(void *done_arg, const struct lookup_tag *found),
                        void *done_arg);
    void *arg;
    /* Sent to whoever has another version and asks nothing else. Immutable while the lookup lives; NULL: never sent. */
    const struct wire_settings *settings;
};
struct lookup *lookup_new(const struct lookup_config *cfg);
/* When no batch is under way any more. */
void lookup_free(struct lookup *l);

/* body: an encoded request. finish is called exactly once, on the calling loop and never before lookup_run returned,
 * with the encoded response (borrowed for the call), or code < 0 and words in err: INVALID, TOO_BIG, UNSUPPORTED (the
 * asker's fault), OUTDATED (it goes by other settings; a request without a query never does), BUSY, INTERNAL. */
typedef void lookup_finish_fn(void *arg, int code, const void *response, size_t len, const struct error *err);
/* caller: who asks. request_id: for the logs of whoever resolves, when the body carries none. */
void lookup_run(struct lookup *l, const struct caller *caller, const void *body, size_t len, const char *request_id,
                lookup_finish_fn *finish, void *arg);

/* Of the settings in force; 0: none. */
uint64_t lookup_settings_version(const struct lookup *l);
/* The HTTP handler: path and method have been matched, all else is checked here. */
void lookup_handle(struct lookup *l, struct http_req *r);

#endif
