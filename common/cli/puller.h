/* Pulls an image as a client would, keeping nothing: every byte is checked against its digest and size. Reports
 * where the node had each object from. Thread: main; up to four threads of its own download blobs. */
#ifndef ENTREPOT_CLI_PULLER_H
#define ENTREPOT_CLI_PULLER_H

#include <jansson.h>

#include "common/core/digest.h"
#include "common/admin/control_client.h"
#include "common/cli/progress.h"

#define PULL_SOURCES_MAX 16

struct pull_options {
    const struct node_config *node;
    const char *base;                /* "http://HOST:PORT", or NULL: the control socket */
    bool insecure;                   /* with base https: certificates are not checked */
    const char *os, *arch, *variant; /* of an index, which to take; variant may be NULL */
    bool named;                      /* the platform was asked for: an image for another one is an error */
    bool all;                        /* every platform */
    struct progress *progress;
};

/* What came from one source: "store" (this node's disk), or the name that the node gives ("central", "docker.io").
 * Objects that joined a running download are counted separately, because their bytes are fetched once for all. */
struct pull_source {
    char source[128];
    int64_t bytes, objects;
    int64_t joined; /* 0, or all objects: their fills were already running */
};
struct pull_result {
    char digest[DIGEST_STR_MAX]; /* of what the reference named */
    int64_t bytes;
    int64_t ms;
    struct pull_source sources[PULL_SOURCES_MAX];
    size_t n_sources;
    char warning[512];      /* the node's, for a stale tag; "" */
    int64_t passed_through; /* objects that the node did not keep, for want of room; filled in by the command */
};

int pull_image(const struct pull_options *o, const char *ref, struct pull_result *out, struct error *err) must_check;
/* This machine's platform in OCI words; variant NULL if it has none. */
void pull_platform(const char **os, const char **arch, const char **variant);
/* What a Cache-Status header (RFC 9211) of a node says: "store" or the source; true if a running fill was joined. */
bool pull_cache_status(const char *header, char source[128]);

#endif
