/* The interface to what a name means, in which scope its content is served, and how long a tag is fresh. The registry
 * needs it; a part of the node gives it (by central's configuration, or by the settings an edge has from central).
 * Thread: any. */
#ifndef ENTREPOT_SERVE_POLICY_H
#define ENTREPOT_SERVE_POLICY_H

#include "common/core/loop.h"
#include "common/oci/resolve.h"
#include "common/oci/tag_facts.h"

/* The state of the rules. An edge's rules come from central: it may not have them, or central may have others by
 * now. */
enum names_state {
    NAMES_SETTLED,
    NAMES_UNKNOWN,     /* there are no rules: no name can be decided */
    NAMES_UNCONFIRMED, /* central is being asked whether they still hold */
};
struct names_wait {
    void (*done)(struct names_wait *w);
    bool outdated; /* set before done: the current rules are outdated, and the new ones are not available yet */
    /* For the callee's use. */
    void *callee;
    struct loop *loop;
    struct loop_task task;
    uint64_t since;
    struct names_wait *next;
};

struct policy {
    int64_t negative_ms; /* how long a "not found" is remembered */
    /* How long a request waits for a source to agree to send, all its steps together; then it is answered 504. Engines
     * wait 10 to 30 s for a head. An edge waits longer than central, so that it can pass on central's error. */
    int64_t answer_within_ms;
    bool hide_deleted; /* a tag that its source has deleted is answered 404 instead of with a Warning */
    /* The current rules. The result stays valid as long as the policy. */
    const struct name_rules *(*rules)(void *arg);
    /* Whether the current rules may decide a name. why: a message if they are unknown. NULL: they always may. */
    enum names_state (*names)(char *why, size_t cap, void *arg);
    /* Serving loop, after NAMES_UNCONFIRMED. Calls w->done later on this loop: when `names` has another answer, or when
     * the last known rules have to be used. w is the caller's until then. */
    void (*names_await)(struct names_wait *w, void *arg);
    /* The name of the scope (store/store.h) a repository's content is served in; in out, or longer-lived. */
    const char *(*scope)(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg);
    /* How long a tag of this repository is fresh, ms; INT64_MAX: always (hosted). */
    int64_t (*fresh_for_ms)(const struct repo_name *repo, void *arg);
    /* Where a tag points, if that is known as well as if its source had just answered (an edge's replica while changes
     * arrive). settings: that repo was decided under. NULL: never. */
    bool (*tag_told)(const struct repo_name *repo, const char *tag, uint64_t settings, struct tag_facts *out,
                     void *arg);
    /* Where a tag pointed when its source was last heard, for when it cannot be asked; checked_at: that time. NULL: that
     * is known of no tag but those in the store. */
    bool (*tag_last)(const struct repo_name *repo, const char *tag, struct tag_facts *out, void *arg);
    /* Somebody, not this node itself, was told where a tag points. NULL: nobody wants to know. */
    void (*tag_asked)(const struct repo_name *repo, const char *tag, const struct tag_facts *facts, void *arg);
    void *arg;
};

#endif
