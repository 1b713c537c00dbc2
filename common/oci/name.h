/* Repository names, tags and references (distribution-spec "Pulling manifests", distribution reference grammar). Pure
 * values. Thread: any. */
#ifndef ENTREPOT_OCI_NAME_H
#define ENTREPOT_OCI_NAME_H

#include "common/core/digest.h"
#include "common/core/error.h"

#define REPO_MAX 255
#define TAG_MAX 128
#define HOST_MAX 255

/* The canonical name of a repository: the upstream it is from ("" for a hosted one) and its path there.
 * Shown and stored as "docker.io/library/nginx" or, hosted, "sample/hello". */
struct repo_name {
    char upstream[HOST_MAX + 1]; /* an upstream's configured name, "" for hosted */
    char path[REPO_MAX + 1];
};
/* Room for any canonical name and its NUL. */
#define REPO_STR_MAX (HOST_MAX + 1 + REPO_MAX + 1)

/* Path grammar `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by '/', at most REPO_MAX bytes. ERR_INVALID. */
int repo_path_check(const char *s, size_t len) must_check;
int tag_check(const char *s, size_t len) must_check;
/* A host as in an image's name or ?ns=: DNS-like name or [IPv6], and a port if any; at most HOST_MAX bytes.
 * ERR_INVALID. */
int host_check(const char *s, size_t len) must_check;
/* How long the host at the start of path is: its first component when more follow, and it holds '.' or ':' or is
 * "localhost"; else 0. It is not checked further. */
size_t path_host_len(const char *path, size_t len);
/* Writes the canonical name; returns out. */
char *repo_name_str(const struct repo_name *r, char out[REPO_STR_MAX]);
bool repo_name_eq(const struct repo_name *a, const struct repo_name *b);

/* What a manifest is asked by. */
struct reference {
    bool is_digest;
    struct digest digest;
    char tag[TAG_MAX + 1];
};
/* Digest if it holds ':', else tag. ERR_INVALID (bad tag, bad digest), ERR_UNSUPPORTED (digest algorithm we do not
 * have). */
int reference_parse(struct reference *ref, const char *s, size_t len) must_check;
char *reference_str(const struct reference *ref, char out[DIGEST_STR_MAX]);

/* "docker.io/library/app:v1", "app", "localhost:5000/x@sha256:…" as a person types it: name part (host included, not
 * resolved) and reference (tag "latest" when none is given; name:tag@digest keeps the digest). */
int image_ref_parse(const char *s, char name[REPO_STR_MAX], struct reference *ref, struct error *err) must_check;

#endif
