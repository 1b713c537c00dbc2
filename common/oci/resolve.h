/* Decides which repository a request means (docs/protocol.md). Pure. Thread: any. */
#ifndef ENTREPOT_OCI_RESOLVE_H
#define ENTREPOT_OCI_RESOLVE_H

#include "common/oci/name.h"

/* The names by which requests are decided. Immutable once shared between threads. Strings are owned by whoever made
 * it. */
struct name_rules {
    const char *const *upstreams; /* configured names: "docker.io", "localhost:5000" */
    size_t n_upstreams;
    const char *default_upstream; /* one of upstreams; NULL: bare names are unknown */
    const char *const *hosted;    /* patterns: '*' within a component, "**" for one or more whole components */
    size_t n_hosted;
    const char *const *own_names; /* registry.names, host or host:port */
    size_t n_own_names;
    const char *const *addresses; /* "host:port" of this node; an upstream of the same name takes precedence */
    size_t n_addresses;
    uint64_t version; /* version of the settings these are from; 0: no settings yet */
};

/* Decides the repository. ns: the decoded value of ?ns=, or NULL. path: the repository as in the URL, decoded.
 * ERR_INVALID: not a repository name. ERR_NOT_FOUND: its upstream is not configured; *err names the key to add. */
int resolve_repo(const struct name_rules *rules, const char *ns, const char *path, size_t path_len,
                 struct repo_name *out, struct error *err) must_check;
/* True if ns is one of this node's own names, which count as no ns at all. */
bool resolve_is_own(const struct name_rules *rules, const char *ns);
/* True if a path matches one of the hosted patterns. */
bool hosted_match(const struct name_rules *rules, const char *path);
/* "docker.io" for its aliases "index.docker.io" and "registry-1.docker.io"; else host itself. */
const char *upstream_alias(const char *host);

#endif
