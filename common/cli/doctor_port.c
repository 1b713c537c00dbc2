/* What `doctor` says of the registry port, asked as clients ask it: the name, TCP, TLS, the API and a pull. Thread:
 * main. */
#include "common/cli/doctor_checks.h"

#include "common/admin/control_client.h"
#include "common/cli/doctor_net.h"
#include "common/cli/print.h"
#include "common/cli/puller.h"
#include "common/core/clock.h"
#include "common/core/json.h"
#include "common/http/server.h"

#include <stdio.h>
#include <string.h>

#define CERTIFICATE_SOON_S (14 * 86400)

/* The other checks use the address, so that a missing DNS name does not hide other faults. */
void doctor_check_names(struct doctor *d, struct doctor_check *c) {
    char why[200];
    d->resolved = net_resolves(d->facts.host, why, sizeof(why));
    const char *name = d->resolved ? NULL : d->facts.host, *key = "address";
    for (size_t i = 0; i < d->node->n_registry_names && !name; i++) {
        if (net_resolves(d->node->registry_names[i], why, sizeof(why))) continue;
        name = d->node->registry_names[i];
        key = "registry.names";
    }
    if (name) {
        doctor_say(c, DOCTOR_FAIL, "%s cannot be resolved here: %s", name, why);
        doctor_todo(c, "add it to DNS (or /etc/hosts), or correct %s", key);
        return;
    }
    doctor_say(c, DOCTOR_OK, "%s%s resolve%s", d->facts.host, d->node->n_registry_names ? " and registry.names" : "",
               d->node->n_registry_names ? "" : "s");
}

void doctor_check_tcp(struct doctor *d, struct doctor_check *c) {
    char why[200];
    if (doctor_needs(c, d->resolved, "the node's name cannot be resolved") ||
        doctor_needs(c, d->status != NULL, "no daemon runs"))
        return;
    d->connected = net_connects(d->facts.host, why, sizeof(why));
    if (d->connected) {
        doctor_say(c, DOCTOR_OK, "%s accepts connections", d->facts.host);
        return;
    }
    doctor_say(c, DOCTOR_FAIL, "%s: %s", d->facts.host, why);
    doctor_todo(c, "look at registry.listen, address and this machine's firewall");
}

/* GET /v2/ by the address clients use. */
static int ask_v2(const struct doctor *d, bool insecure, struct error *err) {
    char base[CLIENT_HOST_MAX + 16];
    snprintf(base, sizeof(base), "%s://%s", d->facts.tls ? "https" : "http", d->facts.host);
    _cleanup_(control_closep) struct control *ctl = NULL;
    struct control_request rq = {.method = "GET", .path = "/v2/", .max_body = 4096, .timeout_ms = 10000};
    int r = control_open_url(&ctl, d->node, base, insecure, err);
    return r < 0 ? r : control_ask(ctl, &rq, NULL, err);
}

/* Reports a certificate that has expired or soon will, because clients refuse it then. */
static bool certificate_ends(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    char when[CLOCK_DATE_MAX];
    int64_t end = json_int(d->status, "certificate_not_after", 0), left = end - clock_wall_s();
    if (end <= 0 || left > CERTIFICATE_SOON_S) return false;
    int r = ask_v2(d, false, &err);
    d->insecure = r != 0 && r != ERR_DENIED;
    if (left <= 0)
        doctor_say(c, DOCTOR_FAIL, "the certificate ended on %s: clients refuse it", clock_date(end, when));
    else
        doctor_say(c, DOCTOR_WARN, "the certificate ends on %s, in %lld days", clock_date(end, when),
                   (long long)(left / 86400));
    doctor_todo(
        c, "put a new one into registry.cert_file and registry.key_file: it is taken within 10 s, without a restart");
    return true;
}

/* A list of texts as one, as far as it fits. */
static const char *texts(const json_t *list, char *out, size_t cap) {
    size_t i, len = 0;
    const json_t *one;
    out[0] = '\0';
    json_array_foreach(list, i, one) {
        const char *text = json_string_value(one);
        if (text && len < cap) len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? ", " : "", text);
    }
    return out;
}

/* A certificate of the fleet: what counts is whether it is there and bears what clients use, for this machine itself
 * need not trust it. False: it is none. */
static bool fleet_certificate(struct doctor *d, struct doctor_check *c) {
    const json_t *cert = json_object_get(d->status, "registry_certificate");
    const char *problem = json_text(cert, "problem", "");
    int64_t end = json_int(cert, "not_after", 0);
    char when[CLOCK_DATE_MAX], names[300];
    if (!cert) return false;
    d->insecure = true;
    d->tls_ok = end > 0;
    if (end <= clock_wall_s()) {
        if (end > 0)
            doctor_say(c, DOCTOR_FAIL, "the certificate ended on %s: clients refuse it; %s", clock_date(end, when),
                       problem);
        else
            doctor_say(c, DOCTOR_FAIL, "the port has no certificate, so nobody can pull: %s", problem);
        doctor_todo(c, "registry.tls is fleet: the edge must have joined, and reach central; see the line central");
    } else if (*problem) {
        doctor_say(c, DOCTOR_WARN, "the certificate is good until %s, but another could not be had: %s",
                   clock_date(end, when), problem);
    } else if (json_array_size(json_object_get(cert, "refused")) > 0) {
        doctor_say(c, DOCTOR_WARN,
                   "central does not grant this edge the name %s, so clients that use it refuse the port",
                   texts(json_object_get(cert, "refused"), names, sizeof(names)));
        doctor_todo(c,
                    "on central, add a name to registry.names, an address to the networks of the edge's site in sites");
    } else {
        doctor_say(c, DOCTOR_OK, "the fleet's certificate for %s is valid until %s",
                   texts(json_object_get(cert, "names"), names, sizeof(names)), clock_date(end, when));
    }
    return true;
}

void doctor_check_tls(struct doctor *d, struct doctor_check *c) {
    struct error err = {0}, without = {0};
    if (doctor_needs(c, d->connected, "the registry port was not reached")) return;
    d->tls_ok = true;
    if (fleet_certificate(d, c)) return;
    if (!d->facts.tls) {
        doctor_say(c, DOCTOR_OK, "off: clients must be told that this registry speaks plain HTTP%s",
                   d->facts.loopback ? " (not for loopback)" : "; client-config does so");
        return;
    }
    if (certificate_ends(d, c)) return;
    int r = ask_v2(d, false, &err);
    if (r == 0 || r == ERR_DENIED) {
        char until[CLOCK_DATE_MAX];
        doctor_say(c, DOCTOR_OK, "the certificate is valid for %s until %s", d->facts.host,
                   clock_date(json_int(d->status, "certificate_not_after", 0), until));
        return;
    }
    r = ask_v2(d, true, &without);
    if (r == 0 || r == ERR_DENIED) {
        d->insecure = true;
        doctor_say(c, DOCTOR_WARN, "this machine does not trust the certificate: %s", err.msg);
        doctor_todo(
            c, "with a CA of your own every client needs its certificate (see client-config); else renew it, with the "
               "name "
               "clients use in it");
        return;
    }
    d->tls_ok = false;
    doctor_say(c, DOCTOR_FAIL, "no TLS session with %s: %s", d->facts.host, err.msg);
    doctor_todo(c, "look at registry.cert_file and registry.key_file");
}

/* True if the node has refused the connection because this address has too many, or all together. This machine's own
 * programs are counted by the address that doctor, too, comes from. */
static bool over_limit(struct doctor_check *c, const struct error *err) {
    if (!strstr(err->msg, TOO_MANY_CONNECTIONS)) return false;
    doctor_todo(
        c,
        "the node works, but its clients have all connections that they may have: raise limits.connections_per_address "
        "(or limits.connections), or name a proxy that many clients come through in registry.trusted_proxies");
    return true;
}

void doctor_check_v2(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    if (doctor_needs(c, d->tls_ok, "the registry port was not reached, or speaks no TLS")) return;
    int r = ask_v2(d, d->insecure, &err);
    d->v2_ok = r == 0 || r == ERR_DENIED;
    if (d->v2_ok) {
        doctor_say(c, DOCTOR_OK, "the registry API answers at %s", d->facts.host);
        return;
    }
    doctor_say(c, DOCTOR_FAIL, "GET /v2/ at %s: %s", d->facts.host, err.msg);
    if (over_limit(c, &err)) return;
    doctor_todo(c, "is it this node that listens there, or another program or proxy? Look at the daemon's log");
}

void doctor_check_auth(struct doctor *d, struct doctor_check *c) {
    struct error err = {0};
    if (doctor_needs(c, d->v2_ok, "the registry API does not answer")) return;
    if (ask_v2(d, d->insecure, &err) == ERR_DENIED) {
        doctor_say(c, DOCTOR_OK, "clients must log in");
    } else {
        doctor_say(c, DOCTOR_OK, "none asked for: anyone who reaches this node may pull");
    }
}

void doctor_check_pull(struct doctor *d, struct doctor_check *c) {
    const json_t *named = json_object_get(d->doctor, "test_image");
    if (doctor_needs(c, d->v2_ok, "the registry API does not answer")) return;
    if (json_is_null(named)) {
        doctor_say(c, DOCTOR_SKIP, "this node has no sample image");
        return;
    }
    const char *image = json_is_string(named) ? json_string_value(named) : "sample/hello:latest";
    char base[CLIENT_HOST_MAX + 16], size[SIZE_TEXT_MAX];
    snprintf(base, sizeof(base), "%s://%s", d->facts.tls ? "https" : "http", d->facts.host);
    struct pull_options o = {.node = d->node, .base = base, .insecure = d->insecure};
    pull_platform(&o.os, &o.arch, &o.variant);
    struct pull_result r;
    struct error err = {0};
    int code = pull_image(&o, image, &r, &err);
    if (code == 0) {
        doctor_say(c, DOCTOR_OK, "%s, %s in %lld ms", image, size_text(r.bytes, size), (long long)r.ms);
    } else if (code == ERR_NOT_FOUND) {
        doctor_say(c, DOCTOR_WARN, "%s: %s", image, err.msg);
        doctor_todo(c,
                    "`%s pull REF` of any image tells as much; to have this one, load a layout on central: "
                    "`entrepot-central load LAYOUT sample/hello:latest`",
                    d->node->program);
    } else {
        doctor_say(c, DOCTOR_FAIL, "%s: %s", image, err.msg);
        if (over_limit(c, &err)) return;
        doctor_todo(c, "%s", err.hint[0] ? err.hint : "repair what failed above, then look at the daemon's log");
    }
}
