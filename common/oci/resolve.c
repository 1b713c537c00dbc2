/* Decides which repository a request means: the rules of docs/protocol.md "Registry API", tried in order. Pure. Thread:
 * any. */
#include "common/oci/resolve.h"

#include "common/oci/usual.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *upstream_alias(const char *host) {
    if (strcasecmp(host, "index." USUAL_HUB) == 0 || strcasecmp(host, USUAL_HUB_HOST) == 0) return USUAL_HUB;
    return host;
}

static const char *find_exact(const struct name_rules *rules, const char *host) {
    for (size_t i = 0; i < rules->n_upstreams; i++) {
        if (strcasecmp(rules->upstreams[i], host) == 0) return rules->upstreams[i];
    }
    return NULL;
}

/* The configured upstream for a host or alias. An alias that is itself configured means itself. */
static const char *find_upstream(const struct name_rules *rules, const char *host) {
    const char *u = find_exact(rules, host);
    return u ? u : find_exact(rules, upstream_alias(host));
}

/* Position of the colon before the port, or the end. Colons inside an IPv6 address do not count. */
static size_t without_port(const char *host) {
    const char *bracket = strrchr(host, ']');
    const char *colon = strchr(bracket ? bracket : host, ':');
    return colon ? (size_t)(colon - host) : strlen(host);
}

/* An own name without a port matches the host with any port, unless host and port are a configured upstream. */
bool resolve_is_own(const struct name_rules *rules, const char *ns) {
    bool by_host = false;
    size_t host = without_port(ns);
    for (size_t i = 0; i < rules->n_own_names; i++) {
        const char *own = rules->own_names[i];
        if (strcasecmp(own, ns) == 0) return true;
        by_host = by_host || (strlen(own) == host && strncasecmp(own, ns, host) == 0);
    }
    for (size_t i = 0; i < rules->n_addresses; i++)
        by_host = by_host || strcasecmp(rules->addresses[i], ns) == 0;
    return by_host && !find_upstream(rules, ns);
}

/* '*' matches any run of characters within the component. */
static bool component_match(const char *p, size_t p_len, const char *s, size_t s_len) {
    size_t pi = 0, si = 0, star = SIZE_MAX, from = 0;
    while (si < s_len) {
        if (pi < p_len && p[pi] == '*') {
            star = pi++;
            from = si;
        } else if (pi < p_len && p[pi] == s[si]) {
            pi++;
            si++;
        } else if (star != SIZE_MAX) {
            pi = star + 1;
            si = ++from;
        } else {
            return false;
        }
    }
    while (pi < p_len && p[pi] == '*')
        pi++;
    return pi == p_len;
}

/* The start of the next component, or the end. */
static const char *after(const char *component, size_t len) {
    return component[len] == '/' ? component + len + 1 : component + len;
}

/* Backtracks only to the last "**". That is sufficient, and keeps a long path from being slow. */
static bool path_match(const char *p, const char *s) {
    const char *retry_p = NULL, *retry_s = NULL;
    while (*s) {
        size_t pn = strcspn(p, "/"), sn = strcspn(s, "/");
        if (pn == 2 && p[0] == '*' && p[1] == '*') {
            retry_p = p = after(p, pn);
            retry_s = s = after(s, sn);
        } else if (pn && component_match(p, pn, s, sn)) {
            p = after(p, pn);
            s = after(s, sn);
        } else if (retry_p && *retry_s) {
            p = retry_p;
            retry_s = s = after(retry_s, strcspn(retry_s, "/"));
        } else {
            return false;
        }
    }
    return !*p;
}

bool hosted_match(const struct name_rules *rules, const char *path) {
    for (size_t i = 0; i < rules->n_hosted; i++) {
        if (path_match(rules->hosted[i], path)) return true;
    }
    return false;
}

static int refuse_name(struct error *err, const char *path, size_t len) {
    return error_set(err, ERR_INVALID, "\"%.*s\" is not a repository name", len > 300 ? 300 : (int)len, path);
}

/* What can be put between quotes in the configuration as it is. */
static bool can_be_quoted(const char *host) {
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
    return host[strspn(host, chars)] == '\0';
}

static int refuse_host(struct error *err, const char *host) {
    const char *name = upstream_alias(host);
    if (!can_be_quoted(name)) return error_set(err, ERR_NOT_FOUND, "the upstream \"%.80s\" is not configured", name);
    error_set(err, ERR_NOT_FOUND,
              "the upstream \"%.80s\" is not configured: add an entry `- name: \"%.255s\"` under `upstreams` in "
              "central.yaml",
              name, name);
    error_hint(err,
               "a list in the file replaces the built-in one, which `entrepot-central config-docs example` prints");
    return ERR_NOT_FOUND;
}

/* On docker.io a name of one component is in library/. */
static int in_upstream(struct repo_name *out, const char *upstream, const char *path, size_t len, struct error *err) {
    if (repo_path_check(path, len) < 0) return refuse_name(err, path, len);
    bool library = !memchr(path, '/', len) && strcmp(upstream_alias(upstream), USUAL_HUB) == 0;
    if (library && len + strlen("library/") > REPO_MAX) return refuse_name(err, path, len);
    snprintf(out->upstream, sizeof(out->upstream), "%s", upstream);
    snprintf(out->path, sizeof(out->path), "%s%.*s", library ? "library/" : "", (int)len, path);
    return 0;
}

static int by_ns(const struct name_rules *rules, const char *ns, const char *path, size_t len, struct repo_name *out,
                 struct error *err) {
    const char *upstream = find_upstream(rules, ns);
    return upstream ? in_upstream(out, upstream, path, len, err) : refuse_host(err, ns);
}

/* named: the path began with this node's own name. */
static int by_path(const struct name_rules *rules, const char *path, size_t path_len, bool named, struct repo_name *out,
                   struct error *err) {
    if (path_len > REPO_STR_MAX - 1) return refuse_name(err, path, path_len);

    char host[HOST_MAX + 1] = "";
    size_t host_len = path_host_len(path, path_len);
    if (host_len) {
        if (host_check(path, host_len) < 0) return refuse_name(err, path, path_len);
        memcpy(host, path, host_len);
        host[host_len] = '\0';
        const char *upstream = find_upstream(rules, host);
        if (upstream) return in_upstream(out, upstream, path + host_len + 1, path_len - host_len - 1, err);
        /* Clients show names with this node in front, and people copy them. Removed once only. */
        if (resolve_is_own(rules, host))
            return named ? refuse_host(err, host)
                         : by_path(rules, path + host_len + 1, path_len - host_len - 1, true, out, err);
    }

    if (repo_path_check(path, path_len) == 0) {
        char whole[REPO_MAX + 1];
        memcpy(whole, path, path_len);
        whole[path_len] = '\0';
        if (hosted_match(rules, whole)) {
            memcpy(out->path, whole, path_len + 1);
            return 0;
        }
    }
    /* An unknown host must not become the first component of a repository of the default upstream. */
    if (host_len) {
        if (repo_path_check(path + host_len + 1, path_len - host_len - 1) < 0) return refuse_name(err, path, path_len);
        return refuse_host(err, host);
    }
    if (repo_path_check(path, path_len) < 0) return refuse_name(err, path, path_len);
    const char *upstream = rules->default_upstream ? find_upstream(rules, rules->default_upstream) : NULL;
    if (upstream) return in_upstream(out, upstream, path, path_len, err);
    if (rules->default_upstream) return refuse_host(err, rules->default_upstream);
    error_set(err, ERR_NOT_FOUND,
              "\"%.*s\" names no registry and there is no default: set `default_upstream: HOST` in central.yaml",
              (int)path_len, path);
    error_hint(err, "name the registry too, or set default_upstream in central.yaml");
    return ERR_NOT_FOUND;
}

int resolve_repo(const struct name_rules *rules, const char *ns, const char *path, size_t path_len,
                 struct repo_name *out, struct error *err) {
    memset(out, 0, sizeof(*out));
    if (ns && *ns) {
        if (host_check(ns, strlen(ns)) < 0)
            return error_set(err, ERR_INVALID, "the ns in the request is not a host name");
        if (!resolve_is_own(rules, ns)) return by_ns(rules, ns, path, path_len, out, err);
    }
    return by_path(rules, path, path_len, false, out, err);
}
