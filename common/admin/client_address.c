/* Finds the address by which clients reach this node. Thread: main or work pool; never blocks on the network (a UDP
 * connect only asks the routing table). */
#include "common/admin/engine_files.h"

#include "common/core/host_port.h"
#include "common/core/alloc.h"
#include "common/config/config.h"
#include "common/core/json.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Where the registry listens. The configuration has checked it. */
static struct host_port listens(const struct node_config *node) {
    struct host_port hp;
    if (!host_port_parse(&hp, node->registry_listen ? node->registry_listen : ":5050"))
        hp = (struct host_port){.port = 0};
    return hp;
}

/* The address from which the kernel would send to `far`, a documentation address to which nothing is sent. */
static bool source_towards(int family, const char *far, char out[INET6_ADDRSTRLEN]) {
    _cleanup_(closep) int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9)};
    bool is4 = family == AF_INET;
    if (inet_pton(family, far, is4 ? (void *)&four.sin_addr : (void *)&six.sin6_addr) != 1) return false;
    struct sockaddr *sa = is4 ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t len = is4 ? sizeof(four) : sizeof(six);
    if (connect(fd, sa, len) < 0 || getsockname(fd, sa, &len) < 0) return false;
    return inet_ntop(family, is4 ? (void *)&four.sin_addr : (void *)&six.sin6_addr, out, INET6_ADDRSTRLEN) != NULL;
}

/* For a machine without a default route: the first address of an interface that is up. */
static bool first_interface(char out[INET6_ADDRSTRLEN]) {
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0) return false;
    bool found = false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
        if (!(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK)) continue;
        struct sockaddr_in four;
        memcpy(&four, i->ifa_addr, sizeof(four));
        found = inet_ntop(AF_INET, &four.sin_addr, out, INET6_ADDRSTRLEN) != NULL;
    }
    freeifaddrs(all);
    return found;
}

static void primary_address(char out[INET6_ADDRSTRLEN]) {
    if (source_towards(AF_INET, "192.0.2.1", out)) return;
    if (source_towards(AF_INET6, "2001:db8::1", out)) return;
    if (!first_interface(out)) snprintf(out, INET6_ADDRSTRLEN, "127.0.0.1");
}

static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool is_any(const char *host) {
    return !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool has_port(const char *name) {
    struct host_port hp;
    return host_port_parse(&hp, name) && hp.port >= 0;
}

void client_facts_find(struct client_facts *f, const struct node_config *node) {
    memset(f, 0, sizeof(*f));
    char found[INET6_ADDRSTRLEN];
    const char *host;
    const struct host_port listen = listens(node);
    f->tls = node_config_tls(node);
    if (node->address && *node->address) {
        host = node->address;
    } else if (f->tls && node->n_registry_names > 0) {
        host = node->registry_names[0];
    } else if (is_loopback(listen.host)) {
        host = strcmp(listen.host, "::1") == 0 ? "::1" : "127.0.0.1";
    } else if (!is_any(listen.host)) {
        host = listen.host;
    } else {
        primary_address(found);
        host = found;
    }
    f->loopback = is_loopback(host);
    if (has_port(host)) {
        snprintf(f->host, sizeof(f->host), "%s", host);
    } else if (strchr(host, ':') && host[0] != '[') {
        snprintf(f->host, sizeof(f->host), "[%s]:%d", host, listen.port);
    } else {
        snprintf(f->host, sizeof(f->host), "%s:%d", host, listen.port);
    }
}

int client_facts_given(struct client_facts *f, const char *given, struct error *err) {
    const char *rest = given, *colon = strrchr(f->host, ':');
    struct host_port hp;
    bool tls = f->tls, has_scheme = true;
    if (strncmp(given, "http://", strlen("http://")) == 0) {
        rest += strlen("http://");
        tls = false;
    } else if (strncmp(given, "https://", strlen("https://")) == 0) {
        rest += strlen("https://");
        tls = true;
    } else {
        has_scheme = false;
    }
    size_t len = strlen(rest);
    bool bare_v6 = rest[0] != '[' && strchr(rest, ':') != strrchr(rest, ':');
    if (len && rest[len - 1] == '/') len--;
    _cleanup_(freep) char *name = xasprintf("%s%.*s%s", bare_v6 ? "[" : "", (int)len, rest, bare_v6 ? "]" : "");
    struct error why = {0};
    if (config_check_host_port(name, &why) < 0 || !host_port_parse(&hp, name) || !*hp.host) {
        error_set(err, ERR_INVALID, "\"%.100s\" is not the address of a registry", given);
        error_hint(
            err, "write how clients reach this node: NAME or NAME:PORT, with https:// before it if a proxy speaks TLS");
        return ERR_INVALID;
    }
    const char *open = strchr(hp.host, ':') ? "[" : "", *close = *open ? "]" : "";
    int own = colon ? atoi(colon + 1) : 0;
    int port = hp.port >= 0 ? hp.port : !has_scheme ? own : tls ? 443 : 80;
    /* A name without a dot or port would be a repository's first word, not a registry. */
    if (tls && port == 443 && strchr(hp.host, '.'))
        snprintf(f->host, sizeof(f->host), "%s%s%s", open, hp.host, close);
    else
        snprintf(f->host, sizeof(f->host), "%s%s%s:%d", open, hp.host, close, port);
    f->tls = tls;
    f->loopback = is_loopback(hp.host);
    return 0;
}

size_t client_own_addresses(const struct node_config *node, char *out[OWN_ADDRESSES_MAX]) {
    struct client_facts facts;
    const struct host_port listen = listens(node);
    size_t n = 0;
    client_facts_find(&facts, node);
    if (listen.port == 0) return 0;
    out[n++] = xstrdup(facts.host);
    static const char *const loopback[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(loopback) && (is_any(listen.host) || is_loopback(listen.host)); i++) {
        out[n++] = xasprintf("%s:%d", loopback[i], listen.port);
    }
    return n;
}

void client_facts_told(struct client_facts *f, const json_t *status) {
    const char *host = json_text(status, "client_address", "");
    const json_t *addresses = json_object_get(status, "addresses"), *tls = json_object_get(addresses, "tls"),
                 *loopback = json_object_get(status, "client_loopback");
    if (!*host || strlen(host) >= sizeof(f->host) || !json_is_boolean(tls) || !json_is_boolean(loopback)) return;
    snprintf(f->host, sizeof(f->host), "%s", host);
    f->tls = json_is_true(tls);
    f->loopback = json_is_true(loopback);
}
