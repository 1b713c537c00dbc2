/* What a well-formed address, host, URL or data folder is, for schema tables. Pure but for the data folder. Thread:
 * main. */
#include "common/config/config.h"
#include "common/core/alloc.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define HOST_TEXT_MAX 253
#define URL_TEXT_MAX 1024

/* Splits HOST:PORT, [V6]:PORT, :PORT. port -1: none given. False if it is none of them. */
static bool host_port_split(const char *s, char host[HOST_TEXT_MAX + 1], int *port) {
    const char *start = s, *colon;
    size_t len;
    if (*s == '[') {
        const char *close = strchr(s, ']');
        if (!close || (close[1] && close[1] != ':')) return false;
        start = s + 1;
        len = (size_t)(close - start);
        colon = close[1] ? close + 1 : NULL;
    } else {
        colon = strchr(s, ':');
        len = colon ? (size_t)(colon - s) : strlen(s);
    }
    if (len > HOST_TEXT_MAX) return false;
    memcpy(host, start, len);
    host[len] = '\0';
    *port = -1;
    if (!colon) return true;
    const char *digits = colon + 1;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 5 || digits[n]) return false;
    *port = (int)strtol(digits, NULL, 10);
    return *port <= 65535;
}

/* A DNS name or IPv4 address: labels of letters, digits, '-' and '_'. */
static bool name_ok(const char *s) {
    size_t label = 0;
    if (!*s || strlen(s) > HOST_TEXT_MAX) return false;
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
    char host[HOST_TEXT_MAX + 1];
    int port;
    bool ok = host_port_split(value, host, &port) && port >= 0;
    if (ok && *value == '[') ok = v6_ok(host);
    if (ok && *value != '[' && *host) ok = name_ok(host);
    if (ok) return 0;
    error_set(err, ERR_INVALID, "\"%.100s\" is not an address to listen on", value);
    error_hint(err, "write HOST:PORT, [IPV6]:PORT, or :PORT for every address");
    return ERR_INVALID;
}

int config_check_network(const char *value, struct error *err) {
    char address[INET6_ADDRSTRLEN], *end;
    unsigned char bytes[sizeof(struct in6_addr)];
    const char *slash = strchr(value, '/');
    size_t len = slash ? (size_t)(slash - value) : 0;
    int bits = 0;
    if (len > 0 && len < sizeof address) {
        memcpy(address, value, len);
        address[len] = '\0';
        bits = inet_pton(AF_INET, address, bytes) == 1 ? 32 : inet_pton(AF_INET6, address, bytes) == 1 ? 128 : 0;
    }
    if (bits && slash[1] >= '0' && slash[1] <= '9' && strtoul(slash + 1, &end, 10) <= (unsigned)bits && !*end) return 0;
    error_set(err, ERR_INVALID, "\"%.100s\" is not a network", value);
    error_hint(err, "write ADDRESS/BITS, as 10.1.0.0/16 or 2001:db8:1::/48");
    return ERR_INVALID;
}

int config_check_host(const char *value, struct error *err) {
    if (name_ok(value) || v6_ok(value)) return 0;
    return error_set(err, ERR_INVALID, "\"%.100s\" is not a host name or address", value);
}

int config_check_host_port(const char *value, struct error *err) {
    char host[HOST_TEXT_MAX + 1];
    int port;
    bool ok = host_port_split(value, host, &port) && port != 0;
    if (ok) ok = *value == '[' ? v6_ok(host) : name_ok(host);
    return ok ? 0 : error_set(err, ERR_INVALID, "\"%.100s\" is not a host name, alone or with :PORT", value);
}

int config_check_url(const char *value, struct error *err) {
    const char *rest = !strncmp(value, "https://", 8) ? value + 8 : !strncmp(value, "http://", 7) ? value + 7 : NULL;
    if (strchr(value, '@')) { /* not shown: it may hold a password */
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
    char authority[HOST_TEXT_MAX + 16];
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

bool config_listen_is_loopback(const char *listen) {
    char host[HOST_TEXT_MAX + 1];
    int port;
    struct in_addr v4;
    struct in6_addr v6;
    if (!host_port_split(listen, host, &port)) return false;
    if (!strcmp(host, "localhost")) return true;
    if (inet_pton(AF_INET, host, &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Every address contains each; 0.0.0.0 and [::] each of their family. */
static bool covers(const char *host, const char *other) {
    bool six = strchr(other, ':') != NULL;
    return !*host || strcmp(host, other) == 0 || (!six && strcmp(host, "0.0.0.0") == 0) ||
           (six && strcmp(host, "::") == 0);
}

bool config_listen_clash(const char *a, const char *b) {
    char host_a[HOST_TEXT_MAX + 1], host_b[HOST_TEXT_MAX + 1];
    int port_a, port_b;
    if (!host_port_split(a, host_a, &port_a) || !host_port_split(b, host_b, &port_b)) return false;
    return port_a > 0 && port_a == port_b && (covers(host_a, host_b) || covers(host_b, host_a));
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
