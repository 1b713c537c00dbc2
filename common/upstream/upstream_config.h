/* What is known of an upstream registry: where it is, how it is asked. On central by its configuration, on an edge as
 * central has told it. Thread: any (immutable once made). */
#ifndef ENTREPOT_UPSTREAM_CONFIG_H
#define ENTREPOT_UPSTREAM_CONFIG_H

#include "common/core/base.h"

#define UPSTREAM_ENDPOINTS_MAX 16

struct upstream_config {
    char *name;       /* "docker.io", "localhost:5000"; aliases of docker.io are already "docker.io" */
    char **endpoints; /* http(s)://HOST[:PORT][/PATH], no '/' at the end; 1 to 16 */
    size_t n_endpoints;
    char *username, *password_file; /* both or neither */
    char *ca_file;                  /* NULL: the system's */
    int64_t fresh_for_ms;
    unsigned max_parallel;
    unsigned revalidate; /* tags a second that are checked without a request */
};

#endif
