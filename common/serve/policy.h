/* What a name means, what is served where, and how long it is believed. The registry needs it; the part of a node that
 * knows the names gives it (central's configuration, the settings an edge has from central). Thread: any. */
#ifndef ENTREPOT_SERVE_POLICY_H
#define ENTREPOT_SERVE_POLICY_H

#include "common/core/loop.h"
#include "common/oci/resolve.h"

/* Where the rules come from another node, they may not be known, or have changed there. */
enum names_state {
    NAMES_SETTLED,
    NAMES_UNKNOWN,     /* nobody has told any: no name can be decided */
    NAMES_UNCONFIRMED, /* whether they still hold is being asked */
};
struct names_wait {
    void (*done)(struct names_wait *w);
    bool outdated; /* set before done: the rules in force are known not to hold, and the others cannot be had yet */
    /* The callee's. */
    void *callee;
    struct loop *loop;
    struct loop_task task;
    uint64_t since;
    struct names_wait *next;
};

struct policy {
    int64_t negative_ms; /* how long a "no" is remembered */
    /* A request waits so long for a source to agree to send, all its steps together; then it is a 504. Engines give up
     * on a head after 10 to 30 s. An edge waits longer than central, so that it can tell central's cause. */
    int64_t answer_within_ms;
    bool hide_deleted; /* a tag its source has deleted is a 404, not a marked answer */
    /* The rules in force; what it returned stays valid while the policy does. */
    const struct name_rules *(*rules)(void *arg);
    /* Whether the rules in force may decide. why: for a person, when they are not known. NULL: always. */
    enum names_state (*names)(char *why, size_t cap, void *arg);
    /* Serving loop, after NAMES_UNCONFIRMED: w->done is called on this loop, later, when names has another answer or
     * the last known rules have to do. w is the caller's until then. */
    void (*names_await)(struct names_wait *w, void *arg);
    /* The name of the scope (store.h) a repository's content is served in; in out, or longer-lived. */
    const char *(*scope)(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg);
    /* How long a tag of this repository is fresh, ms; INT64_MAX: always (hosted). */
    int64_t (*fresh_for_ms)(const struct repo_name *repo, void *arg);
    void *arg;
};

#endif
