/* What a name means, what is served where, and how long it is believed. The registry needs it; the part of a node that
 * knows the names gives it (central's configuration, the settings an edge has from central). Thread: any. */
#ifndef ENTREPOT_SERVE_POLICY_H
#define ENTREPOT_SERVE_POLICY_H

#include "common/oci/resolve.h"

struct policy {
    int64_t negative_ms; /* how long a "no" is remembered */
    /* A request waits so long for a source to agree to send; then it is a 504. Engines give up on a head after 10 to 30
     * s. An edge waits longer than central, so that it can tell central's cause. */
    int64_t answer_within_ms;
    bool hide_deleted; /* a tag its source has deleted is a 404, not a marked answer */
    /* The rules in force; what it returned stays valid while the policy does. */
    const struct name_rules *(*rules)(void *arg);
    /* A name that is not known may be known soon; why, for a person. NULL: what the rules say is final. */
    bool (*names_unsettled)(char *why, size_t cap, void *arg);
    /* The name of the scope (store.h) a repository's content is served in; in out, or longer-lived. */
    const char *(*scope)(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg);
    /* How long a tag of this repository is fresh, ms; INT64_MAX: always (hosted). */
    int64_t (*fresh_for_ms)(const struct repo_name *repo, void *arg);
    void *arg;
};

#endif
