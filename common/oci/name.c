/* Checks and spellings of repository names, tags and references. Pure values. Thread: any. */
#include "common/oci/name.h"

#include "common/oci/resolve.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* One component: alphanumeric runs joined by one '.', one or two '_', or any number of '-'. */
static bool component_ok(const char *s, size_t len) {
    size_t i = 0;
    while (i < len) {
        size_t run = i;
        while (i < len && is_alnum(s[i]))
            i++;
        if (i == run) return false;
        if (i == len) return true;
        size_t sep = i;
        while (i < len && s[i] == s[sep] && memchr("._-", s[i], 3))
            i++;
        size_t n = i - sep;
        if (n == 0 || (s[sep] == '.' && n > 1) || (s[sep] == '_' && n > 2)) return false;
    }
    return false;
}

int repo_path_check(const char *s, size_t len) {
    if (len == 0 || len > REPO_MAX) return ERR_INVALID;
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && s[i] != '/') continue;
        if (!component_ok(s + start, i - start)) return ERR_INVALID;
        start = i + 1;
    }
    return 0;
}

int tag_check(const char *s, size_t len) {
    if (len == 0 || len > TAG_MAX) return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool word = is_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-'))) return ERR_INVALID;
    }
    return 0;
}

static int port_check(const char *s, size_t len) {
    if (len == 0 || len > 5) return ERR_INVALID;
    unsigned port = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') return ERR_INVALID;
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    return port >= 1 && port <= 65535 ? 0 : ERR_INVALID;
}

/* The length of a bracketed IPv6 address or a DNS-like name at the start of s; 0 if there is neither. */
static size_t host_part(const char *s, size_t len) {
    size_t i = 0;
    if (s[0] == '[') {
        for (i = 1; i < len && (isxdigit((unsigned char)s[i]) || s[i] == ':' || s[i] == '.');)
            i++;
        return i > 2 && i < len && s[i] == ']' ? i + 1 : 0;
    }
    char before = '.';
    for (; i < len && s[i] != ':'; i++) {
        bool alnum = isalnum((unsigned char)s[i]);
        if (!alnum && s[i] != '.' && s[i] != '-' && s[i] != '_') return 0;
        if (s[i] == '.' && before == '.') return 0;
        before = s[i];
    }
    return i && isalnum((unsigned char)s[0]) && isalnum((unsigned char)s[i - 1]) ? i : 0;
}

int host_check(const char *s, size_t len) {
    if (len == 0 || len > HOST_MAX) return ERR_INVALID;
    size_t host = host_part(s, len);
    if (host == 0) return ERR_INVALID;
    if (host == len) return 0;
    return s[host] == ':' ? port_check(s + host + 1, len - host - 1) : ERR_INVALID;
}

size_t path_host_len(const char *path, size_t len) {
    const char *slash = memchr(path, '/', len);
    if (!slash) return 0;
    size_t n = (size_t)(slash - path);
    bool host = memchr(path, '.', n) || memchr(path, ':', n) || (n == 9 && memcmp(path, "localhost", 9) == 0);
    return host ? n : 0;
}

char *repo_name_str(const struct repo_name *r, char out[REPO_STR_MAX]) {
    snprintf(out, REPO_STR_MAX, "%s%s%s", r->upstream, r->upstream[0] ? "/" : "", r->path);
    return out;
}

int reference_parse(struct reference *ref, const char *s, size_t len) {
    memset(ref, 0, sizeof(*ref));
    if (memchr(s, ':', len)) {
        ref->is_digest = true;
        return digest_parse(&ref->digest, s, len);
    }
    int r = tag_check(s, len);
    if (r == 0) memcpy(ref->tag, s, len);
    return r;
}

char *reference_str(const struct reference *ref, char out[DIGEST_STR_MAX]) {
    if (ref->is_digest) return digest_str(&ref->digest, out);
    snprintf(out, DIGEST_STR_MAX, "%s", ref->tag);
    return out;
}

/* The name part: a repository path, or a host and one. The hint says what a person most likely meant. */
static int check_typed_name(const char *s, size_t len, struct error *err) {
    size_t host = path_host_len(s, len);
    size_t skip = host ? host + 1 : 0;
    if (host && host_check(s, host) < 0)
        return error_set(err, ERR_INVALID, "\"%.*s\" is not a host name", (int)host, s);
    if (repo_path_check(s + skip, len - skip) == 0) return 0;
    error_set(err, ERR_INVALID, "\"%.*s\" is not a repository name", len > 300 ? 300 : (int)len, s);
    bool upper = false;
    for (size_t i = skip; i < len; i++)
        upper = upper || (s[i] >= 'A' && s[i] <= 'Z');
    if (len - skip > REPO_MAX)
        error_hint(err, "names have at most %d characters", REPO_MAX);
    else if (upper)
        error_hint(err, "repository names are written in lower case");
    else
        error_hint(err, "write it like docker.io/library/nginx:1.27 or sample/hello");
    return ERR_INVALID;
}

static int parse_digest_part(struct reference *ref, const char *s, struct error *err) {
    memset(ref, 0, sizeof(*ref));
    ref->is_digest = true;
    int r = digest_parse(&ref->digest, s, strlen(s));
    if (r == 0) return 0;
    error_set(err, r,
              r == ERR_UNSUPPORTED ? "the digest \"%.160s\" uses an algorithm that is not supported"
                                   : "\"%.160s\" is not a digest",
              s);
    error_hint(err, "a digest is sha256: and 64 hexadecimal digits in lower case (or sha512: and 128)");
    return r;
}

static int parse_tag_part(struct reference *ref, const char *s, size_t len, struct error *err) {
    int r = tag_check(s, len);
    if (r < 0) {
        error_set(err, r, "\"%.*s\" is not a tag", len > 160 ? 160 : (int)len, s);
        error_hint(err, "a tag has 1 to %d letters, digits, '_', '.' and '-', and begins with a letter, digit or '_'",
                   TAG_MAX);
        return r;
    }
    memset(ref, 0, sizeof(*ref));
    memcpy(ref->tag, s, len);
    return 0;
}

int image_ref_parse(const char *s, char name[REPO_STR_MAX], struct reference *ref, struct error *err) {
    memset(ref, 0, sizeof(*ref));
    name[0] = '\0';
    const char *scheme = strstr(s, "://");
    if (scheme) {
        error_set(err, ERR_INVALID, "\"%.200s\" is a URL, not an image", s);
        error_hint(err, "leave out \"%.*s\": %.150s", scheme - s > 60 ? 60 : (int)(scheme - s + 3), s, scheme + 3);
        return ERR_INVALID;
    }
    size_t len = strcspn(s, "@");
    const char *digest = s[len] == '@' ? s + len + 1 : NULL;
    size_t name_len = len;
    while (name_len > 0 && s[name_len - 1] != ':' && s[name_len - 1] != '/')
        name_len--;
    const char *tag = NULL;
    if (name_len > 0 && s[name_len - 1] == ':') {
        tag = s + name_len;
        name_len--;
    } else {
        name_len = len;
    }
    int r = check_typed_name(s, name_len, err);
    if (r < 0) return r;
    r = parse_tag_part(ref, tag ? tag : "latest", tag ? (size_t)(s + len - tag) : strlen("latest"), err);
    if (r < 0) return r;
    if (digest && (r = parse_digest_part(ref, digest, err)) < 0) return r;
    memcpy(name, s, name_len);
    name[name_len] = '\0';
    return 0;
}
