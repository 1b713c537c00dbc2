/* One function for each kind. Thread: main. */
#include "common/cli/client_dns.h"

#include <string.h>

/* Each address as printed by fmt, which has %s for it and, if with_port, %d for the port. */
static int each_server(struct buf *out, const struct client_dns *d, const char *before, const char *between,
                       const char *after) {
    int r = 0;
    for (size_t i = 0; i < d->n_servers && r == 0; i++)
        r = buf_printf(out, "%s%s%s%d%s", before, d->servers[i], between, d->port, after);
    return r;
}

static int unbound(const struct client_dns *d, struct buf *out) {
    int r =
        buf_printf(out,
                   "# /etc/unbound/unbound.conf.d/entrepot.conf, then: unbound-control reload\n"
                   "server:\n"
                   "    # The zone is not signed, and its answers are private addresses.\n"
                   "    domain-insecure: \"%s\"\n"
                   "    private-domain: \"%s\"\n"
                   "    # Tells central each client's network; without it the resolver's own address counts, which is\n"
                   "    # as good where the resolver stands in the branch: then leave these lines out.\n"
                   "    module-config: \"subnetcache validator iterator\"\n"
                   "    client-subnet-always-forward: yes\n",
                   d->zone, d->zone);
    for (size_t i = 0; i < d->n_servers && r == 0; i++)
        r = buf_printf(out, "    send-client-subnet: %s\n", d->servers[i]);
    if (r == 0)
        r = buf_printf(out, "    # Answers that have expired name edges that may be gone.\n    serve-expired: no\n");
    if (r == 0) r = buf_printf(out, "stub-zone:\n    name: \"%s\"\n", d->zone);
    return r < 0 ? r : each_server(out, d, "    stub-addr: ", "@", "\n");
}

static int dnsmasq(const struct client_dns *d, struct buf *out) {
    int r = buf_printf(out, "# /etc/dnsmasq.d/entrepot.conf, then restart dnsmasq\n");
    for (size_t i = 0; i < d->n_servers && r == 0; i++)
        r = buf_printf(out, "server=/%s/%s#%d\n", d->zone, d->servers[i], d->port);
    if (r < 0) return r;
    return buf_printf(
        out,
        "rebind-domain-ok=/%s/\n"
        "# Tells every server each client's network. Leave it out where this machine stands in the branch.\n"
        "add-subnet=24,56\n"
        "# Do not set use-stale-cache: it serves answers that have expired.\n",
        d->zone);
}

/* A static stub asks as a resolver does, but on port 53 only. */
static int bind9(const struct client_dns *d, struct buf *out) {
    int r = buf_printf(out, "# /etc/bind/named.conf.local, then: rndc reconfig\nzone \"%s\" {\n", d->zone);
    if (r == 0 && d->port == 53) {
        r = buf_printf(out, "    type static-stub;\n    server-addresses {");
        for (size_t i = 0; i < d->n_servers && r == 0; i++)
            r = buf_printf(out, " %s;", d->servers[i]);
    } else if (r == 0) {
        r = buf_printf(out, "    type forward;\n    forward only;\n    forwarders {");
        if (r == 0) r = each_server(out, d, " ", " port ", ";");
    }
    if (r < 0) return r;
    return buf_printf(
        out,
        " };\n};\n"
        "# and in the block options: the zone is not signed, and expired answers name edges that may be gone\n"
        "#     validate-except { \"%s\"; };\n"
        "#     stale-answer-enable no;\n"
        "# named tells no client subnet: its own address decides the site\n",
        d->zone);
}

static int coredns(const struct client_dns *d, struct buf *out) {
    int r = buf_printf(out,
                       "# A block of its own in the Corefile (in Kubernetes: the ConfigMap coredns in kube-system)\n"
                       "%s:53 {\n    errors\n    forward .",
                       d->zone);
    for (size_t i = 0; i < d->n_servers && r == 0; i++) {
        bool six = strchr(d->servers[i], ':') != NULL;
        r = buf_printf(out, " %s%s%s:%d", six ? "[" : "", d->servers[i], six ? "]" : "", d->port);
    }
    if (r < 0) return r;
    return buf_printf(out,
                      "\n    cache %lld  # without serve_stale\n}\n"
                      "# CoreDNS tells no client subnet: the address that its queries come from decides the site\n",
                      (long long)d->ttl_s);
}

static int windows(const struct client_dns *d, struct buf *out) {
    int r = buf_printf(out,
                       "# PowerShell on the DNS server, as administrator\n"
                       "Add-DnsServerConditionalForwarderZone -Name \"%s\" -MasterServers ",
                       d->zone);
    for (size_t i = 0; i < d->n_servers && r == 0; i++)
        r = buf_printf(out, "%s%s", i ? "," : "", d->servers[i]);
    if (r < 0) return r;
    return buf_printf(out, "\n"
                           "# with Active Directory, for all its servers: add -ReplicationScope Forest\n"
                           "# The server tells no client subnet: its own address decides the site\n");
}

static int resolved(const struct client_dns *d, struct buf *out) {
    int r = buf_printf(out, "# /etc/systemd/resolved.conf.d/entrepot.conf, then: systemctl restart systemd-resolved\n"
                            "[Resolve]\nDNS=");
    for (size_t i = 0; i < d->n_servers && r == 0; i++) {
        bool six = strchr(d->servers[i], ':') != NULL;
        r = buf_printf(out, "%s%s%s%s:%d", i ? " " : "", six ? "[" : "", d->servers[i], six ? "]" : "", d->port);
    }
    if (r < 0) return r;
    return buf_printf(out, "\n# only names of this zone go there\nDomains=~%s\n", d->zone);
}

static int hosts(const struct client_dns *d, struct buf *out) {
    return buf_printf(
        out,
        "# A line of /etc/hosts, for machines of one branch whose resolver cannot be changed. It names one node\n"
        "# for ever: nobody is sent elsewhere when that is down.\n"
        "%s registry.%s\n",
        d->node, d->zone);
}

static const struct {
    const char *kind;
    int (*lines)(const struct client_dns *d, struct buf *out);
    bool port_53_only;
} kinds[] = {
    {"unbound", unbound, false}, {"dnsmasq", dnsmasq, false}, {"bind", bind9, false},
    {"coredns", coredns, false}, {"windows", windows, true},  {"systemd-resolved", resolved, false},
    {"hosts", hosts, false},
};

int client_dns_lines(const char *kind, const struct client_dns *dns, struct buf *out, struct error *err) {
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].kind, kind) != 0) continue;
        if (kinds[i].port_53_only && dns->port != 53) {
            error_set(err, ERR_UNSUPPORTED,
                      "a DNS server of Windows asks port 53 only, and the zone's servers listen on %d", dns->port);
            error_hint(err, "let central listen on port 53 (dns.listen), or redirect the port in its firewall");
            return ERR_UNSUPPORTED;
        }
        int r = kinds[i].lines(dns, out);
        return r < 0 ? error_set(err, r, "the lines are too long") : 0;
    }
    error_set(err, ERR_NOT_FOUND, "there is no DNS kind \"%.60s\"", kind);
    error_hint(err, "it is one of " CLIENT_DNS_KINDS);
    return ERR_NOT_FOUND;
}
