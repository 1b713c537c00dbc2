/* The messages between edge and central (proto/catalog.proto) as plain values, and their encoding. Decoding checks
 * everything: names, digests, lengths and counts. Fields that a newer side added are ignored. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_WIRE_H
#define ENTREPOT_WIRE_WIRE_H

#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/oci/tag_facts.h"

#define WIRE_VERSION 1
/* 0, or ERR_UNSUPPORTED: a message of that version cannot be read here. */
static inline int wire_check_version(uint32_t version) {
    return version == 0 || version > WIRE_VERSION ? ERR_UNSUPPORTED : 0;
}
#define WIRE_CONTENT_TYPE "application/x-protobuf"
/* Path of a lookup on the fleet port, and of one that asks for settings only. */
#define WIRE_LOOKUP_PATH "/fleet/v1/lookup"
#define WIRE_SETTINGS_PATH WIRE_LOOKUP_PATH "?for=settings"
/* Path of a request that is answered when the settings change. */
#define WIRE_WATCH_PATH "/fleet/v1/watch"
#define WIRE_SNAPSHOT_PATH "/fleet/v1/snapshot"
/* Path of a request for "?bytes=N" bytes that mean nothing: GET, or POST with a body that is dropped. For doctor, which
 * measures the road by it. */
#define WIRE_ROAD_PATH "/fleet/v1/road"
#define WIRE_MAX_ROAD_ANSWER ((size_t)(256 * KiB))
#define WIRE_MAX_ROAD_REQUEST ((size_t)(64 * KiB))
#define WIRE_MAX_QUERIES 1000
#define WIRE_MAX_REQUEST ((size_t)MiB)
#define WIRE_MAX_RESPONSE ((size_t)(16 * MiB))
#define WIRE_MAX_PROOFS ((size_t)(8 * MiB)) /* bytes, of one blob: enough for 1 TiB with sha256 */

enum wire_query_kind {
    WIRE_QUERY_UNKNOWN, /* from a newer side, or malformed: answered with INVALID */
    WIRE_QUERY_TAG,
    WIRE_QUERY_BLOB,
};
struct wire_query {
    enum wire_query_kind kind;
    struct repo_name repo; /* path "" when a blob query names none */
    char tag[TAG_MAX + 1];
    struct digest digest;
    bool want_proofs;
    const char *refused; /* why the kind is UNKNOWN; static text */
};
struct wire_request {
    uint32_t version;
    char request_id[65]; /* "" when absent or odd */
    uint64_t settings_version;
    struct wire_query *queries;
    size_t n_queries;
};

enum wire_status {
    WIRE_UNSPECIFIED,
    WIRE_KNOWN,
    WIRE_NOT_FOUND,
    WIRE_UNAVAILABLE,
    WIRE_DENIED,
    WIRE_RATE_LIMITED,
    WIRE_INVALID,
    WIRE_TIMEOUT,
};
/* The status that tells an error code (0: WIRE_KNOWN), and the code of a status. A code that no status stands for is
 * told as WIRE_UNAVAILABLE; that, and a status of a newer side, mean ERR_UPSTREAM. */
enum wire_status wire_status_of(int code);
int wire_status_error(enum wire_status status);

struct wire_blob {
    struct digest digest;
    int64_t size; /* -1 unknown */
    bool held;
    bool claimed; /* the size is only what manifests say; central has never had the bytes */
};
struct wire_manifest {
    struct digest digest;
    int64_t size;
    struct manifest doc; /* media_type, is_index and children; artifact_type stays "" */
};
struct wire_tag {
    struct repo_name repo;
    char tag[TAG_MAX + 1];
    int64_t age_s; /* seconds; used instead of facts.checked_at because clocks differ */
    struct tag_facts facts;
};
/* The answer to one query. It owns blob, manifest, tag and proofs; those that are absent are NULL. */
struct wire_answer {
    enum wire_status status;
    char message[256];
    int64_t retry_after_s;
    struct wire_blob *blob;
    struct wire_manifest *manifest;
    struct wire_tag *tag;
    uint8_t *proofs;
    size_t proofs_len;
};

struct wire_upstream {
    char name[HOST_MAX + 1];
    int64_t fresh_for_ms;
    bool per_repository;
    char **endpoints; /* URLs: http(s)://HOST[:PORT][/PATH] */
    size_t n_endpoints;
};
/* Strings and arrays are owned. */
struct wire_settings {
    uint64_t version;
    struct wire_upstream *upstreams;
    size_t n_upstreams;
    char *default_upstream; /* NULL when there is none */
    char **hosted;
    size_t n_hosted;
    char **own_names;
    size_t n_own_names;
};
struct wire_response {
    uint32_t version;
    struct wire_answer *answers;
    size_t n_answers;
    struct wire_settings *settings; /* NULL when not sent */
    uint64_t sequence;
};

/* Decoders. ERR_INVALID: not this message, or a count or name out of bounds. ERR_TOO_BIG. ERR_UNSUPPORTED: unknown
 * version. A query that breaks the rules becomes WIRE_QUERY_UNKNOWN, so that the others of its batch are answered. The
 * caller calls x_fini in any case. */
int wire_request_decode(struct wire_request *rq, const void *data, size_t len, struct error *err) must_check;
void wire_request_fini(struct wire_request *rq);
int wire_response_decode(struct wire_response *rs, const void *data, size_t len, struct error *err) must_check;
void wire_response_fini(struct wire_response *rs);
void wire_answer_fini(struct wire_answer *a);
void wire_settings_fini(struct wire_settings *s);

/* Encoders. *out is malloc'ed; the caller frees it. ERR_TOO_BIG: over the limits above. The values are not changed. */
int wire_request_encode(const struct wire_request *rq, uint8_t **out, size_t *len, struct error *err) must_check;
int wire_response_encode(const struct wire_response *rs, uint8_t **out, size_t *len, struct error *err) must_check;
/* An upper bound of an answer's encoded size in bytes. */
size_t wire_answer_bound(const struct wire_answer *a);

#endif
