/* Parses a request target under /v2/. The endpoint is found from the right, because a repository may have components
 * called "blobs" or "manifests". Pure. Thread: any. */
#include "common/oci/request.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/core/hex.h"

/* Bytes of the longest valid path: a repository, an endpoint and a sha512 digest. */
#define PATH_MAX_BYTES 1024
#define N_MAX 1000000000

struct part {
    const char *s;
    size_t len;
};

static int refuse(struct oci_refusal *no, int status, const char *code, const char *fmt, ...) printf_like(4, 5);
static int refuse(struct oci_refusal *no, int status, const char *code, const char *fmt, ...) {
    no->status = status;
    no->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(no->msg, sizeof(no->msg), fmt, ap);
    va_end(ap);
    return status == 404 ? ERR_NOT_FOUND : ERR_INVALID;
}

/* Decodes percent-encoding once. '+' stays '+', because no value here may contain a space, but media types contain a
 * plus. Control bytes and bytes above 0x7f are refused, so the result is visible ASCII. */
static int percent_decode(struct part in, char *out, size_t cap, size_t *out_len) {
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.s[i];
        if (c == '%') {
            int hi = in.len - i > 2 ? hex_any(in.s[i + 1]) : -1, lo = hi >= 0 ? hex_any(in.s[i + 2]) : -1;
            if (lo < 0) return ERR_INVALID;
            c = (unsigned char)(hi << 4 | lo);
            i += 2;
        }
        if (c <= 0x20 || c >= 0x7f) return ERR_INVALID;
        if (n + 1 >= cap) return ERR_TOO_BIG;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    *out_len = n;
    return 0;
}

/* Cuts the last component off *rest ("a/b" -> "b", "a"). */
static struct part cut_last(struct part *rest) {
    size_t i = rest->len;
    while (i > 0 && rest->s[i - 1] != '/')
        i--;
    struct part last = {rest->s + i, rest->len - i};
    rest->len = i ? i - 1 : 0;
    return last;
}

static bool part_is(struct part p, const char *word) {
    return p.len == strlen(word) && memcmp(p.s, word, p.len) == 0;
}

/* Empty components, "." and ".." are never valid here. A trailing slash is valid only after "uploads". */
static bool odd_components(struct part path) {
    struct part rest = path, last = cut_last(&rest);
    bool first = true;
    for (;; last = cut_last(&rest), first = false) {
        if ((last.len == 0 && !first) || part_is(last, ".") || part_is(last, "..")) return true;
        if (last.s == path.s) return false;
    }
}

static int take_repo(struct oci_request *out, struct part repo, struct oci_refusal *no) {
    size_t host = path_host_len(repo.s, repo.len), skip = host ? host + 1 : 0;
    /* The host before the path has its own length limit, because an edge adds it when it asks central. */
    bool ok = (!host || host_check(repo.s, host) == 0) && repo_path_check(repo.s + skip, repo.len - skip) == 0;
    if (!ok && repo.len - skip > REPO_MAX)
        return refuse(no, 400, "NAME_INVALID", "a repository name has at most %d characters, this one has %zu",
                      REPO_MAX, repo.len - skip);
    if (!ok)
        return refuse(no, 400, "NAME_INVALID", "\"%.*s\" is not a repository name",
                      repo.len > 150 ? 150 : (int)repo.len, repo.s);
    memcpy(out->path, repo.s, repo.len);
    out->path[repo.len] = '\0';
    return 0;
}

static int take_digest(struct oci_request *out, struct part p, struct oci_refusal *no) {
    out->ref.is_digest = true;
    int r = digest_parse(&out->ref.digest, p.s, p.len);
    if (r == 0) return 0;
    return refuse(no, 400, "DIGEST_INVALID",
                  r == ERR_UNSUPPORTED ? "the algorithm of \"%.*s\" is not supported: use sha256 or sha512"
                                       : "\"%.*s\" is not a digest",
                  p.len > 150 ? 150 : (int)p.len, p.s);
}

/* A malformed tag counts as unknown: the conformance suite asks for one and expects 404. */
static int take_reference(struct oci_request *out, struct part p, struct oci_refusal *no) {
    if (memchr(p.s, ':', p.len)) return take_digest(out, p, no);
    if (reference_parse(&out->ref, p.s, p.len) == 0) return 0;
    return refuse(no, 404, "MANIFEST_UNKNOWN", "\"%.*s\" is not a tag", p.len > 150 ? 150 : (int)p.len, p.s);
}

static int match_endpoint(struct oci_request *out, struct part path, struct oci_refusal *no) {
    if (part_is(path, "")) {
        out->endpoint = OCI_BASE;
        return 0;
    }
    if (part_is(path, "_catalog")) {
        out->endpoint = OCI_CATALOG;
        return 0;
    }
    if (odd_components(path)) return refuse(no, 400, "NAME_INVALID", "empty or dotted component in the path");
    struct part repo = path, last = cut_last(&repo), before = cut_last(&repo);
    struct part longer = repo, third = cut_last(&longer);
    int r = ERR_NOT_FOUND;
    if (part_is(before, "uploads") && part_is(third, "blobs")) {
        out->endpoint = OCI_UPLOADS;
        return take_repo(out, longer, no);
    }
    if (last.len == 0) {
        r = ERR_NOT_FOUND;
    } else if (part_is(before, "blobs") && part_is(last, "uploads")) {
        out->endpoint = OCI_UPLOADS;
        r = 0;
    } else if (part_is(before, "tags") && part_is(last, "list")) {
        out->endpoint = OCI_TAGS;
        r = 0;
    } else if (part_is(before, "manifests")) {
        out->endpoint = OCI_MANIFEST;
        r = take_reference(out, last, no);
    } else if (part_is(before, "blobs")) {
        out->endpoint = OCI_BLOB;
        r = take_digest(out, last, no);
    } else if (part_is(before, "referrers")) {
        out->endpoint = OCI_REFERRERS;
        r = take_digest(out, last, no);
    }
    if (r == 0) return take_repo(out, repo, no);
    if (!no->status) r = refuse(no, 404, "UNSUPPORTED", "there is no such endpoint under /v2/");
    /* Report a bad name before a bad reference. */
    struct oci_refusal name = {0};
    if (no->code && strcmp(no->code, "UNSUPPORTED") != 0 && take_repo(out, repo, &name) < 0) {
        *no = name;
        return ERR_INVALID;
    }
    return r;
}

static int take_n(struct oci_request *out, struct part v, struct oci_refusal *no) {
    int64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.s[i] < '0' || v.s[i] > '9') return refuse(no, 400, "PAGINATION_NUMBER_INVALID", "n is not a number");
        n = n * 10 + (v.s[i] - '0');
        if (n > N_MAX) n = N_MAX;
    }
    out->n = v.len ? n : -1;
    return 0;
}

static int take_ns(struct oci_request *out, struct part v, struct oci_refusal *no) {
    char ns[HOST_MAX + 1];
    size_t len = 0;
    if (v.len == 0) return 0;
    if (percent_decode(v, ns, sizeof(ns), &len) < 0 || host_check(ns, len) < 0)
        return refuse(no, 400, "NAME_INVALID", "the ns in the request is not a host name");
    if (out->has_ns && strcmp(out->ns, ns) != 0)
        return refuse(no, 400, "NAME_INVALID", "the request names two registries with ns");
    out->has_ns = true;
    memcpy(out->ns, ns, len + 1);
    return 0;
}

static int take_pair(struct oci_request *out, struct part key, struct part value, struct oci_refusal *no) {
    size_t len;
    if (part_is(key, "ns")) return take_ns(out, value, no);
    if (part_is(key, "n")) return take_n(out, value, no);
    if (part_is(key, "last")) {
        if (percent_decode(value, out->last, sizeof(out->last), &len) < 0)
            return refuse(no, 400, "UNSUPPORTED", "last is not a tag or repository name");
        out->has_last = true;
    } else if (part_is(key, "artifactType")) {
        if (percent_decode(value, out->artifact_type, sizeof(out->artifact_type), &len) < 0)
            return refuse(no, 400, "UNSUPPORTED", "artifactType is not a media type");
    }
    return 0;
}

static int take_query(struct oci_request *out, const char *q, struct oci_refusal *no) {
    while (*q) {
        size_t len = strcspn(q, "&"), key_len = strcspn(q, "=&");
        struct part key = {q, key_len}, value = {q + len, 0};
        if (key_len < len) value = (struct part){q + key_len + 1, len - key_len - 1};
        int r = take_pair(out, key, value, no);
        if (r < 0) return r;
        q += len;
        if (*q) q++;
    }
    return 0;
}

bool oci_is_api(const char *target) {
    return target[0] == '/' && target[1] == 'v' && target[2] == '2' &&
           (!target[3] || target[3] == '/' || target[3] == '?');
}

int oci_request_parse(struct oci_request *out, const char *target, struct oci_refusal *no) {
    memset(out, 0, sizeof(*out));
    memset(no, 0, sizeof(*no));
    out->n = -1;
    char path[PATH_MAX_BYTES];
    size_t len = 0;
    struct part raw = {target, strcspn(target, "?#")};
    int r = percent_decode(raw, path, sizeof(path), &len);
    if (r == ERR_TOO_BIG) return refuse(no, 400, "NAME_INVALID", "the path is too long");
    if (r < 0) return refuse(no, 400, "NAME_INVALID", "the path holds a bad escape or byte");
    bool base = strcmp(path, "/v2") == 0;
    if (!oci_is_api(path)) return refuse(no, 404, "UNSUPPORTED", "only /v2/ is served here");
    size_t start = base ? 3 : 4;
    assert(len >= start);
    struct part rest = {path + start, len - start};
    r = match_endpoint(out, rest, no);
    if (r == 0 && target[raw.len] == '?') r = take_query(out, target + raw.len + 1, no);
    return r;
}
