/* Checks of addresses, hosts, URLs and the data folder, for schema tables. Pure but for the data folder. Thread:
 * main. */
#include "common/config/config.h"
#include "common/core/host_port.h"
#include "common/core/alloc.h"
#include "common/core/network.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define URL_TEXT_MAX 1024

/* A DNS name or IPv4 address: labels of letters, digits, '-' and '_'. */
static bool name_ok(const char *s) {
    size_t label = 0;
    if (!*s || strlen(s) > HOST_PORT_HOST_MAX) return false;
    for (; *s; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_';
        if (*s == '.' ? label == 0 : !(letter || (*s == '-' && label > 0))) return false;
        label = *s == '.' ? 0 : label + 1;
        if (label > 63) return false;
    }
    return label > 0;
}

static bool v6_ok(const char *s) {
    struct in6_addr a;
    return inet_pton(AF_INET6, s, &a) == 1;
}

int config_check_listen(const char *value, struct error *err) {
    struct host_port hp;
    bool ok = host_port_parse(&hp, value) && hp.port >= 0;
    if (ok && hp.bracketed) ok = v6_ok(hp.host);
    if (ok && !hp.bracketed && hp.host[0]) ok = name_ok(hp.host);
    if (ok) return 0;
    error_set(err, ERR_INVALID, "\"%.100s\" is not an address to listen on", value);
    error_hint(err, "write HOST:PORT, [IPV6]:PORT, or :PORT for every address");
    return ERR_INVALID;
}

int config_check_network(const char *value, struct error *err) {
    if (network_parse(&(struct network){0}, value)) return 0;
    error_set(err, ERR_INVALID, "\"%.100s\" is not a network", value);
    error_hint(err, "write ADDRESS/BITS, as 10.1.0.0/16 or 2001:db8:1::/48");
    return ERR_INVALID;
}

int config_check_host(const char *value, struct error *err) {
    if (name_ok(value) || v6_ok(value)) return 0;
    return error_set(err, ERR_INVALID, "\"%.100s\" is not a host name or address", value);
}

int config_check_host_port(const char *value, struct error *err) {
    struct host_port hp;
    bool ok = host_port_parse(&hp, value) && hp.port != 0;
    if (ok) ok = hp.bracketed ? v6_ok(hp.host) : name_ok(hp.host);
    return ok ? 0 : error_set(err, ERR_INVALID, "\"%.100s\" is not a host name, alone or with :PORT", value);
}

int config_check_url(const char *value, struct error *err) {
    const char *rest = !strncmp(value, "https://", 8) ? value + 8 : !strncmp(value, "http://", 7) ? value + 7 : NULL;
    if (strchr(value, '@')) { /* not shown: it may contain a password */
        error_set(err, ERR_INVALID, "credentials do not belong in a URL");
        error_hint(err, "use username and password_file");
        return ERR_INVALID;
    }
    if (!rest) {
        error_set(err, ERR_INVALID, "\"%.100s\" must begin with https:// or http://", value);
        if (!strstr(value, "://") && *value) error_hint(err, "http://%.100s or https://%.100s", value, value);
        return ERR_INVALID;
    }
    if (strlen(value) > URL_TEXT_MAX) return error_set(err, ERR_INVALID, "a URL longer than %d bytes", URL_TEXT_MAX);
    char authority[HOST_PORT_HOST_MAX + 16];
    size_t len = strcspn(rest, "/?#");
    if (strpbrk(rest, "?#")) return error_set(err, ERR_INVALID, "\"%.100s\" must not have a query or fragment", value);
    for (const char *p = rest; *p; p++) {
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}", *p))
            return error_set(err, ERR_INVALID, "\"%.100s\" holds a character that does not belong in a URL", value);
    }
    if (len >= sizeof authority) return error_set(err, ERR_INVALID, "the host in \"%.100s\" is too long", value);
    memcpy(authority, rest, len);
    authority[len] = '\0';
    struct error inner = {0};
    if (config_check_host_port(authority, &inner) == 0) return 0;
    return error_set(err, ERR_INVALID, "\"%.100s\": %.300s", value, inner.msg);
}

/* True if listening on host includes other: "" includes every address; 0.0.0.0 and [::] include those of their
 * family. */
static bool covers(const char *host, const char *other) {
    bool six = strchr(other, ':') != NULL;
    return !*host || strcmp(host, other) == 0 || (!six && strcmp(host, "0.0.0.0") == 0) ||
           (six && strcmp(host, "::") == 0);
}

bool config_listen_clash(const char *a, const char *b) {
    struct host_port x, y;
    if (!host_port_parse(&x, a) || !host_port_parse(&y, b)) return false;
    return x.port > 0 && x.port == y.port && (covers(x.host, y.host) || covers(y.host, x.host));
}

int config_default_data(const char *node, char **out, struct error *err) {
    const char *state = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;
    if (state && *state == '/') {
        n = asprintf(out, "%.*s", (int)strcspn(state, ":"), state);
    } else if (geteuid() == 0) {
        n = asprintf(out, "/var/lib/entrepot/%s", node);
    } else if (xdg && *xdg == '/') {
        n = asprintf(out, "%s/entrepot/%s", xdg, node);
    } else {
        if (!home || *home != '/') {
            const struct passwd *pw = getpwuid(geteuid());
            home = pw ? pw->pw_dir : NULL;
        }
        if (!home || *home != '/') {
            *out = NULL;
            error_set(err, ERR_NOT_FOUND, "no home folder to keep data in");
            error_hint(err, "set data to an absolute path");
            return ERR_NOT_FOUND;
        }
        n = asprintf(out, "%s/.local/share/entrepot/%s", home, node);
    }
    if (n < 0) out_of_memory();
    return 0;
}
