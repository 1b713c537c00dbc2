/* Repository names, tags and references (distribution-spec "Pulling manifests", distribution reference grammar). Pure
 * values. Thread: any. */
#ifndef ENTREPOT_OCI_NAME_H
#define ENTREPOT_OCI_NAME_H

#include "common/core/digest.h"
#include "common/core/error.h"

#define REPO_MAX 255
#define TAG_MAX 128
#define HOST_MAX 255

/* The canonical name of a repository: its upstream and its path there. Shown and stored as "docker.io/library/nginx"
 * or, if hosted, "sample/hello". */
struct repo_name {
    char upstream[HOST_MAX + 1]; /* an upstream's configured name, "" for hosted */
    char path[REPO_MAX + 1];
};
/* Room for any canonical name and its NUL. */
#define REPO_STR_MAX (HOST_MAX + 1 + REPO_MAX + 1)

/* Path grammar `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by '/', at most REPO_MAX bytes. ERR_INVALID. */
int repo_path_check(const char *s, size_t len) must_check;
/* Tag grammar `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. ERR_INVALID. */
int tag_check(const char *s, size_t len) must_check;
/* A host as written in an image's name or in ?ns=: a DNS-like name or [IPv6], optionally with a port; at most HOST_MAX
 * bytes. ERR_INVALID. */
int host_check(const char *s, size_t len) must_check;
/* Length of the host at the start of path, or 0 if there is none. The first component is a host if another follows and
 * it contains '.' or ':' or is "localhost". Does not check it further. */
size_t path_host_len(const char *path, size_t len);
/* Writes the canonical name; returns out. */
char *repo_name_str(const struct repo_name *r, char out[REPO_STR_MAX]);

/* How a request names a manifest: by digest or by tag. */
struct reference {
    bool is_digest;
    struct digest digest;
    char tag[TAG_MAX + 1];
};
/* Parses a digest if s contains ':', else a tag. ERR_INVALID: bad tag or digest. ERR_UNSUPPORTED: the digest algorithm
 * is not supported. */
int reference_parse(struct reference *ref, const char *s, size_t len) must_check;
/* Writes the tag or "alg:hex" and NUL; returns out. */
char *reference_str(const struct reference *ref, char out[DIGEST_STR_MAX]);

/* Parses an image reference as a person types it: "docker.io/library/app:v1", "app", "localhost:5000/x@sha256:…".
 * Writes the name with its host as typed, and the reference: tag "latest" if none is given; of name:tag@digest the
 * digest. ERR_INVALID, with a hint. */
int image_ref_parse(const char *s, char name[REPO_STR_MAX], struct reference *ref, struct error *err) must_check;

#endif
