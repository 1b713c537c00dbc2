/* Which repository a request means: one pure function (design.md "Which repository a request means"). Thread: any. */
#ifndef ENTREPOT_OCI_RESOLVE_H
#define ENTREPOT_OCI_RESOLVE_H

#include "common/oci/name.h"

/* The names that decide. Immutable once shared between threads; strings owned by whoever made it. */
struct name_rules {
    const char *const *upstreams; /* configured names: "docker.io", "localhost:5000" */
    size_t n_upstreams;
    const char *default_upstream; /* one of upstreams, or NULL: bare names are unknown */
    const char *const *hosted;    /* patterns: '*' within a component, "**" for one or more whole components */
    size_t n_hosted;
    const char *const *own_names; /* registry.names, host or host:port */
    size_t n_own_names;
    const char *const *addresses; /* "host:port" this node is reached by; an upstream of the same name outranks it */
    size_t n_addresses;
    uint64_t version; /* of the settings they are from; 0: nobody has told any */
};

/* ns: the decoded value of ?ns=, or NULL. path: the repository as in the URL, decoded. 0 fills out.
 * ERR_INVALID: not a repository name. ERR_NOT_FOUND: an upstream that is not configured; *err names the key to add. */
int resolve_repo(const struct name_rules *rules, const char *ns, const char *path, size_t path_len,
                 struct repo_name *out, struct error *err) must_check;
/* Is it one of this node's own names, which as ns count as none? */
bool resolve_is_own(const struct name_rules *rules, const char *ns);
/* As typed by a person or stored: a canonical name is its own resolution. */
bool hosted_match(const struct name_rules *rules, const char *path);
/* docker.io and its aliases: "index.docker.io", "registry-1.docker.io" mean docker.io. */
const char *upstream_alias(const char *host);

#endif
